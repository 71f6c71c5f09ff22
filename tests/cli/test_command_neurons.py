"""``prompt-hub neurons``: what it finds, captures, compares, masks and draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import refuses, succeeds, write_jsonl

from prompt_hub.neurons.overlap import MEASURES


@pytest.mark.parametrize(
    ("kind", "stacks"), [("bert", ["encoder"] * 2), ("t5", ["encoder"] * 2 + ["decoder"] * 2)]
)
def test_sites_lists_the_feed_forward_layers(tiny_folder, kind, stacks):
    found = succeeds("neurons", "sites", "--backbone", tiny_folder(kind), "--device", "cpu", "--json").json
    assert [site["stack"] for site in found["sites"]] == stacks
    assert {site["width"] for site in found["sites"]} == {64}
    table = succeeds("neurons", "sites", "--backbone", tiny_folder(kind)).stdout
    assert "encoder" in table and "64" in table


def test_sites_can_be_named_by_hand(tiny_folder):
    arguments = ("neurons", "sites", "--backbone", tiny_folder("gpt2"))
    by_hand = succeeds(*arguments, "--site", "h.*.mlp.c_proj,h.*.mlp.c_fc", "--json").json["sites"]
    assert [site["down"] for site in by_hand] == ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"]
    refuses(*arguments, "--site", "h.*.mlp.wo", says=("h.*.mlp.wo", "transformer.h.*.mlp.c_proj"))
    refuses("neurons", "sites", says=("--backbone",))


def test_capture_of_a_prompt_alone_stores_layers_by_neurons(trained, tmp_path):
    stored = tmp_path / "neurons.npz"
    found = succeeds("neurons", "capture", trained("llama"), "--output", stored, "--json").json
    arrays = np.load(stored)
    assert set(arrays) == {"before", "gate", "after"} and arrays["after"].shape == (2, 64)
    assert found["shape"] == [2, 64] and found["stack"] == "decoder"
    assert found["layers"]["active"] == pytest.approx((arrays["after"] > 0).mean(1).tolist())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with rows of two tasks of one type and one of another."""
    folder = tmp_path_factory.mktemp("data")
    for task, extra in (("sst2", {}), ("rotten_tomatoes", {}), ("qqp", {"text_b": "the dog"})):
        (folder / task).mkdir()
        for split, opening in (("train", "was"), ("validation", "runs")):
            rows = [
                {"text_a": f"{subject} {opening} {word}", "label": label, **extra}
                for subject in ("the film", "the plot", "the cat", "the house")
                for label, word in ((0, "awful"), (1, "great"))
            ]
            write_jsonl(folder / task / f"{split}.jsonl", rows)
    return folder


def test_capture_over_a_tasks_rows_stores_means_shares_and_predictivity(trained, data, tmp_path):
    stored = tmp_path / "rows.npz"
    arguments = ("neurons", "capture", trained("bert"), "--task", "sst2", "--data-dir", data, "--quiet")
    found = succeeds(*arguments, "--skill", "--output", stored, "--json").json
    arrays = np.load(stored)
    assert set(arrays) == {"mean", "fires", "predictivity"} and found["task"] == "sst2"
    assert arrays["fires"].min() >= 0 and arrays["fires"].max() <= 1
    assert arrays["predictivity"].min() >= 0.5
    assert "best predictivity" in succeeds(*arguments, "--skill").stdout


@pytest.fixture(scope="module")
def second(tiny_folder, data, short, tmp_path_factory) -> Path:
    """Another prompt of the bert, trained on sst2."""
    output = tmp_path_factory.mktemp("second") / "sst2"
    succeeds(
        "train", "--backbone", tiny_folder("bert"), "--task", "sst2", "--data-dir", data, *short, "--output",
        output, "--lr", "0.5",
    )  # fmt: skip
    return output


def test_overlap_compares_prompts_pair_by_pair_in_every_measure(trained, second):
    found = succeeds("neurons", "overlap", trained("bert"), second, second, "--k", "20", "--json").json
    first, own = found["pairs"][0]["measures"], found["pairs"][2]["measures"]
    assert len(found["pairs"]) == 3 and set(first) == set(MEASURES)
    assert all(own[name]["all"] == pytest.approx(1) for name in MEASURES)
    assert 0 < first["on"]["all"] < 1 and len(first["on"]["by_layer"]) == 2
    assert list(first["on"]["by_window"]) == ["0-1"]


def test_overlap_weighted_by_skill_looks_at_the_prompts_own_tasks(second, data):
    found = succeeds("neurons", "overlap", second, second, "--measure", "on", "--skill", "--data-dir", data,
                     "--quiet", "--json").json  # fmt: skip
    measures = found["pairs"][0]["measures"]
    assert set(measures) == {"on", "skill_on"} and measures["skill_on"]["all"] == pytest.approx(1)


def test_plot_draws_prompts_of_one_backbone(trained, second, tmp_path):
    drawn = tmp_path / "neurons.png"
    found = succeeds("neurons", "plot", trained("bert"), second, "--output", drawn, "--json").json
    assert drawn.stat().st_size > 5000 and len(found["on_by_layer"]["sst2"]) == 2


def test_mask_scores_own_and_other_tasks_beside_controls_and_goes_on_where_it_was(
    trained, second, data, tmp_path
):
    folder = tmp_path / "mask"
    arguments = (
        "neurons", "mask", second, "--task", "sst2", "--data-dir", data, "--ratios", "0.1,0.3",
        "--draws", "2", "--other", trained("bert"), "--on-task", "rotten_tomatoes", "--on-task", "qqp",
        "--output", folder, "--quiet", "--json",
    )  # fmt: skip
    outcome = succeeds(*arguments)
    found = outcome.json
    relations = {cell["target"]: cell["relation"] for cell in found["cells"]}
    assert relations == {"sst2": "own", "rotten_tomatoes": "same type", "qqp": "other"}
    assert len(found["cells"]) == 3 * (1 + 2 * 7)
    assert found["choices"] == ["top", "random", "random-active", "bottom", "other-task"]
    record = json.loads((folder / "mask.json").read_text())
    assert record["status"] == "done" and record["result"]["cells"] == found["cells"]
    assert (folder / "mask.png").stat().st_size > 5000
    assert "45/45" in outcome.stderr
    again = succeeds(*arguments)
    assert again.json["cells"] == found["cells"] and "/45 " not in again.stderr


def test_mask_leaves_out_rows_of_another_task_that_the_prompt_was_trained_on(second, data, tmp_path):
    trained_on = (data / "sst2" / "train.jsonl").read_text().splitlines()
    fresh = (data / "rotten_tomatoes" / "validation.jsonl").read_text().splitlines()
    for task in ("sst2", "rotten_tomatoes"):
        (tmp_path / task).mkdir()
        (tmp_path / task / "validation.jsonl").write_text("\n".join(trained_on[:3] + fresh))
    outcome = succeeds(
        "neurons", "mask", second, "--task", "sst2", "--on-task", "rotten_tomatoes", "--data-dir", tmp_path,
        "--choices", "top", "--output", tmp_path / "mask", "--quiet", "--json",
    )  # fmt: skip
    cells = {(cell["target"], cell["choice"]): cell for cell in outcome.json["cells"]}
    for choice in ("unmasked", "top"):
        other, own = cells["rotten_tomatoes", choice], cells["sst2", choice]
        assert (other["n"], other["removed_overlap"]) == (len(fresh), 3)
        assert (own["n"], own["removed_overlap"]) == (len(fresh) + 3, 0)
        assert sum(other["predicted"].values()) == len(fresh)
    assert "rotten_tomatoes: 3 rows were left out because the prompt was trained on" in outcome.words
    assert "sst2: 3 of 11 texts were also in the prompt's training data" in outcome.words


def test_mask_can_induce_neurons_and_use_another_prompt_on_its_own_task(trained, second, data, tmp_path):
    found = succeeds(
        "neurons", "mask", second, "--task", "sst2", "--data-dir", data, "--choices", "top,common,specific",
        "--other", trained("bert"), "--on-prompt", second, "--hold-at", "mean", "--output", tmp_path / "m",
        "--quiet", "--json",
    ).json  # fmt: skip
    assert found["hold_at"] == "mean" and found["targets"] == ["sst2", "sst2, own prompt"]
    scores = {cell["choice"]: cell for cell in found["cells"] if cell["target"] == "sst2"}
    assert set(scores) == {"unmasked", "top", "common", "specific"} and scores["top"]["neurons"] == 26


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mask", "{bert}", "--ratio", "1.5"), ("above 0 and at most 1", "1.5")),
        (("mask", "{bert}", "--ratios", "0.1,many"), ("--ratios", "many")),
        (("mask", "{bert}", "--choices", "other-task"), ("--other",)),
        (("mask", "{bert}", "--hold-at", "high"), ("--hold-at", "high")),
        (("mask", "{bert}", "--stack", "decoder"), ("no decoder",)),
        (("capture", "{bert}", "--positions", "first"), ("--positions", "first")),
        (("capture", "{bert}", "--positions", "99"), ("no position 99",)),
        (("capture", "{bert}", "--value", "middle"), ("middle", "before")),
        (("capture", "{bert}", "--skill"), ("--task",)),
        (("capture", "{bert}", "--output", "x.txt"), (".npz",)),
        (("overlap", "{bert}"), ("two prompts",)),
        (("overlap", "{bert}", "{llama}"), ("do not fit",)),
        (("overlap", "{bert}", "{bert}", "--measure", "dice"), ("dice", "jaccard")),
        (("overlap", "{bert}", "{bert}", "--k", "1000"), ("k must be 1 to 128",)),
        (("plot", "{bert}", "--output", "x.doc"), (".png",)),
    ],
)
def test_what_makes_no_sense_is_refused(trained, files, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    named = [part.format(bert=trained("bert"), llama=trained("llama")) for part in arguments]
    rows = ("--eval", files.eval) if named[0] == "mask" else ()
    refuses("neurons", *named, *rows, says=says)


def test_mask_does_not_write_over_other_files(second, data, tmp_path):
    (tmp_path / "mask.json").write_text("mine")
    arguments = ("neurons", "mask", second, "--task", "sst2", "--data-dir", data, "--output")
    refuses(*arguments, tmp_path, says=("mask.json", "not replaced"))
    refuses(*arguments, tmp_path / "mask.json", says=("is a file",))
    refuses(*arguments, second, says=("holds other files",))


def test_an_empty_task_is_refused(second, data, tmp_path):
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "validation.jsonl").write_text("")
    refuses("neurons", "mask", second, "--task", "sst2", "--data-dir", tmp_path, says=("sst2",))
