"""``prompt-hub warm-start``: tables on stdout, a record, runs that are kept, refusals before any work."""

from __future__ import annotations

import json

import pytest
from command import refuses, succeeds, write_csv


@pytest.fixture
def options(files, own_columns, tmp_path):
    """A comparison of seconds on rows that no prompt of these tests was trained on."""
    texts = [(f"a lovely {index} house was {word}", stars) for index in range(12) for stars, word in
             ((1, "sad"), (2, "happy"))]  # fmt: skip
    rows = write_csv(tmp_path / "target.csv", texts)
    return (
        "--train", rows, "--eval", files.other, *own_columns, "--max-steps", "4", "--eval-every", "2",
        "--batch-size", "8", "--device", "cpu", "--quiet", "--output", tmp_path / "out",
    )  # fmt: skip


def test_it_prints_scores_and_speed_ups_and_keeps_every_run(trained, options, tmp_path):
    source = trained("gpt2")
    outcome = succeeds("warm-start", "--source", source, "--seeds", "1,2", *options)
    for word in (
        "cold",
        "warm",
        "untrained",
        "accuracy",
        "to its best result",
        "to convergence",
        "seeds 1, 2",
    ):
        assert word in outcome.stdout
    assert "other" not in outcome.stdout
    for name in ("cold", "warm", "untrained"):
        for seed in (1, 2):
            assert (tmp_path / "out" / "runs" / name / f"seed-{seed}" / "prompt_hub.json").is_file()
    assert (tmp_path / "out" / "learning_curves.png").is_file()
    assert json.loads((tmp_path / "out" / "warm_start.json").read_text())["status"] == "done"


def test_json_is_the_stored_result_and_a_second_call_trains_nothing(trained, options, tmp_path):
    line = ("warm-start", "--source", trained("bert"), "--seeds", "1", *options, "--json")
    first = succeeds(*line).json
    stored = json.loads((tmp_path / "out" / "warm_start.json").read_text())["result"]
    assert first == stored and first["seeds"] == [1] and first["n"] == 16
    run = tmp_path / "out" / "runs" / "warm" / "seed-1" / "train.json"
    before = run.stat().st_mtime_ns
    assert succeeds(*line).json == first and run.stat().st_mtime_ns == before


def test_the_prompts_own_rows_are_refused_as_the_target(trained, files, own_columns, tmp_path):
    refuses(
        "warm-start", "--source", trained("gpt2"), "--train", files.train, "--eval", files.other,
        *own_columns, "--device", "cpu", "--quiet", "--output", tmp_path / "out",
        says=("0 train rows remain after 32",),
    )  # fmt: skip
    assert not (tmp_path / "out").exists()
    kept = succeeds(
        "warm-start", "--source", trained("gpt2"), "--train", files.train, "--eval", files.other,
        "--keep-seen", *own_columns, "--device", "cpu", "--quiet", "--output", tmp_path / "out",
        "--max-steps", "2", "--eval-every", "1", "--seeds", "1", "--json",
    )  # fmt: skip
    assert kept.json["kept_overlap"] == 32 and "32 of 32 training rows" in kept.words


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--seeds", "1,x"), ("'1,x'", "whole numbers")),
        (("--seeds", "1,1"), ("names one twice",)),
        (("--seeds", ","), ("No seeds",)),
        (("--seeds", "-1"), ("0 and 4294967295",)),
        (("--eval-every", "5"), ("more than all steps",)),
        (("--hold-out", "0"), ("held-out training rows",)),
        (("--backbone", "bert"), ("masked_lm", "gpt2")),
        (("--max-steps", "4", "--epochs", "1"), ("Give one",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_cannot_be_compared_is_refused_before_any_run(
    trained, tiny_folder, options, tmp_path, change, says
):
    if change[0] == "--backbone":
        change = ("--backbone", tiny_folder("bert"))
    refuses("warm-start", "--source", trained("gpt2"), *options, *change, says=says)
    assert not (tmp_path / "out" / "runs").exists()


def test_it_needs_a_source_validation_rows_and_a_folder_of_its_own(
    trained, files, options, own_columns, tmp_path
):
    refuses("warm-start", *options, says=("--source",))
    refuses(
        "warm-start", "--source", trained("gpt2"), "--train", files.other, *own_columns, says=("--eval FILE",)
    )  # fmt: skip
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refuses(
        "warm-start", "--source", trained("gpt2"), *options, "--output", tmp_path / "full",
        says=("other files",),
    )  # fmt: skip
