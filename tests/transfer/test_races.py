"""Races of a matrix: the best source of each target from some of its rows, kept apart from whole cells."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from command import kill, started, succeeds

from prompt_hub.backbones import load_backbone
from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.grid import Grid
from prompt_hub.tasks import get_task, load_split, row_hashes
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt
from prompt_hub.transfer import Racing, best_sources, load_table, race_table, run_matrix
from prompt_hub.transfer.cost import estimate
from prompt_hub.transfer.matrix import prepare_matrix
from prompt_hub.transfer.measured import measured_scores
from prompt_hub.transfer.verdicts import load_verdicts, verdict_notes

TASKS = ["sst2", "rotten_tomatoes", "rte"]
TRAINED = {"mini/film": 60, "mini/conduct_home": 60, "mini/paraphrase_trips": 60}
SHORT = {"max_steps": 2, "prompt_len": 4}
TARGETS = ["mini/kitchen", "mini/hotel"]


@pytest.fixture(scope="module")
def mini_prompts(tmp_path_factory) -> Path:
    """Prompts of mini-roberta on tasks of three types: they differ on a target of one of them."""
    folder = tmp_path_factory.mktemp("mini") / "prompts"
    backbone = load_backbone("mini-roberta", device="cpu")
    for name, steps in TRAINED.items():
        place = folder / name.replace("/", "-")
        args = PromptTrainingArguments(
            output_dir=str(place), prompt_len=16, max_steps=steps, hold_out=0, seed=7, use_cpu=True,
            disable_tqdm=True,
        )  # fmt: skip
        train_prompt(backbone, get_task(name), load_split(get_task(name), "train", limit=1000), args, place)
    return folder


def mini(prompts: Path, folder: Path, **more):
    return run_matrix("mini-roberta", TARGETS, folder, prompts=prompts, device="cpu", batch_size=64, **more)


def finished(folder: Path) -> dict[str, tuple[str, str]]:
    with Grid.open(folder, create=False) as grid:
        return {done.key: (done.kind, done.finished_at) for done in grid.results()}


def rows_scored(folder: Path) -> int:
    """By all samples in the grid."""
    with Grid.open(folder, create=False) as grid:
        return sum(len(done.work["rows"]) for done in grid.results("sample"))


@pytest.fixture(scope="module")
def raced(mini_prompts, tmp_path_factory) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("raced") / "m"
    mini(mini_prompts, folder, racing=Racing())
    return folder


def test_a_race_finds_the_full_matrixs_best_source_with_a_third_of_its_examples(
    raced, mini_prompts, tmp_path
):
    whole = best_sources(mini(mini_prompts, tmp_path / "whole"))
    races = race_table(raced)
    assert list(races["best"]) == list(whole["source"]) and set(races["reason"]) == {"settled"}
    assert set(whole["source"]) == {"mini/film"} and list(races["target"]) == TARGETS
    every = load_table(tmp_path / "whole")
    full = every.loc[every["kind"] == "prompt", "n"].sum()
    assert races["full"].sum() == full and 3 * races["examples"].sum() <= full
    assert rows_scored(raced) == races["examples"].sum()


def test_a_raced_cell_is_partial_and_in_no_mean_or_figure_of_whole_cells(raced):
    table = load_table(raced)
    prompts = table[table["kind"] == "prompt"]
    assert set(prompts["status"]) == {"partial"}
    assert prompts["score"].notna().all() and prompts["low"].isna().all() and prompts["gain"].isna().all()
    rows = dict(zip(prompts["source"] + prompts["target"], prompts["n"], strict=True))
    for verdict in load_verdicts(raced):
        assert rows[verdict.best + verdict.target] == verdict.rows < verdict.all_rows
    assert best_sources(load_table(raced, over_seeds=True)).empty
    with pytest.raises(UserError, match="holds no score"):
        measured_scores(raced)
    open_floors = table[table["source"] == "no_prompt"]
    assert set(open_floors["status"]) == {"open"}


def test_a_whole_matrix_afterwards_computes_whole_cells_and_a_race_after_it_nothing(
    raced, mini_prompts, tmp_path
):
    folder = tmp_path / "m"
    shutil.copytree(raced, folder)
    before = rows_scored(folder)
    table = mini(mini_prompts, folder)
    assert set(table["status"]) == {"done"} and not load_verdicts(folder)
    whole = finished(folder)
    mini(mini_prompts, folder, racing=Racing(confidence=0.99))
    assert finished(folder) == whole and rows_scored(folder) == before
    assert [verdict.best for verdict in load_verdicts(folder)] == ["mini/film", "mini/film"]
    assert set(load_table(folder)["status"]) == {"done"}


@pytest.fixture
def tiny_race(tiny_folder, data, prompts, tmp_path):
    """``tiny_race(tasks, racing, ...)``: races of untrained prompts, which are all about as good."""

    def run(tasks: list[str] = TASKS, racing: Racing | None = None, output: str = "m", **options):
        chosen = {"prompts": prompts, "data_dir": data, "device": "cpu", **options}
        run_matrix(str(tiny_folder("gpt2")), tasks, tmp_path / output, racing=racing or Racing(), **chosen)
        return tmp_path / output

    return run


def test_sources_that_are_alike_are_not_settled_within_the_budget_and_a_larger_one_goes_on(tiny_race):
    folder = tiny_race(["sst2"], Racing(budget=0.5))
    (few,) = load_verdicts(folder)
    assert few.reason == "budget" and set(few.left) == {"rotten_tomatoes", "rte"}
    assert few.in_words.startswith("not settled: ") and few.rows == 12 and few.examples == 24
    tiny_race(["sst2"], Racing(budget=1.0))
    (all_of_them,) = load_verdicts(folder)
    assert all_of_them.reason in ("rows", "settled") and all_of_them.examples <= all_of_them.full == 48
    assert rows_scored(folder) == all_of_them.examples, "no row was scored twice"


def test_scores_are_means_over_seeds_on_rows_that_no_source_was_trained_on(
    tiny_race, tiny_folder, data, prompts, make_prompt
):
    for task in ("rte", "sst2"):
        make_prompt("gpt2", task, seed=2).save_pretrained(prompts / f"{task}-2")
    folder = tiny_race(["rotten_tomatoes"], Racing(tolerance=0.001))
    (verdict,) = load_verdicts(folder)
    # Four rows of rotten_tomatoes are training rows of sst2.
    assert verdict.all_rows == 20 and verdict.full == 4 * 20
    split = load_split(get_task("rotten_tomatoes"), "validation", data)
    trained_on = SoftPrompt.from_pretrained(prompts / "sst2").train_rows.numpy()
    seen = np.isin(row_hashes(split.examples), trained_on)
    with Grid.open(folder, create=False) as grid:
        scored = {row for done in grid.results("sample") for row in done.work["rows"]}
    assert scored.isdisjoint(np.flatnonzero(seen)) and len(scored) == verdict.rows
    if verdict.rows == verdict.all_rows:
        means = load_table(folder, over_seeds=True)
        best = means[(means["source"] == verdict.best) & (means["kind"] == "prompt")]
        assert verdict.score == pytest.approx(best["score"].item())


def test_a_source_that_fails_takes_no_part_and_says_why(tiny_race, prompts, make_prompt):
    make_prompt("gpt2", "mrpc").save_pretrained(prompts / "mrpc")
    make_prompt("gpt2", "rte", prompt_len=95).save_pretrained(prompts / "rte")
    (verdict,) = load_verdicts(tiny_race(["sst2"]))
    assert set(verdict.failed) == {"rte"} and "no room" in verdict.failed["rte"]
    assert verdict.best in ("rotten_tomatoes", "mrpc") and verdict.full == 48
    table = load_table(tiny_race(["sst2"]))
    assert table.loc[table["source"] == "rte", "status"].item() == "failed"


def test_without_two_sources_that_can_be_scored_there_is_no_race_and_the_others_are_run(
    tiny_race, prompts, make_prompt
):
    make_prompt("gpt2", "rte", prompt_len=95).save_pretrained(prompts / "rte")
    first, second = load_verdicts(tiny_race(["sst2", "rte"]))
    assert first.best is None and "only 1" in first.problem and "no room" in first.failed["rte"]
    assert second.best is not None and second.problem is None


def test_where_the_metric_is_no_mean_over_rows_sources_are_raced_on_accuracy(tiny_race):
    folder = tiny_race(["mrpc", "cola", "squad"])
    verdicts = load_verdicts(folder)
    assert [verdict.metric for verdict in verdicts] == ["accuracy", "accuracy", "exact_match"]
    assert [verdict.instead_of for verdict in verdicts] == [None, "matthews", None]
    assert any("matthews, its own metric, is no mean over rows" in line for line in verdict_notes(verdicts))


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_trained_sources_are_trained_first_and_the_same_again_computes_nothing(tiny_race, seeds):
    options = dict(prompts=None, train=True, seeds=seeds, training=SHORT)
    folder = tiny_race(**options)
    before, verdicts = finished(folder), load_verdicts(folder)
    assert {kind for kind, _ in before.values()} == {"train", "sample"}
    assert len(verdicts) == 3 and all(verdict.best for verdict in verdicts)
    tiny_race(**options)
    assert finished(folder) == before and load_verdicts(folder) == verdicts


def test_the_first_look_counts_at_most_the_budget(tiny_folder, data, prompts, tmp_path):
    planned = prepare_matrix(
        str(tiny_folder("gpt2")), TASKS, tmp_path / "m", prompts=prompts, data_dir=data, device="cpu",
        racing=Racing(budget=0.5),
    )  # fmt: skip
    cost = estimate(planned)
    assert (cost.trainings, cost.cells, cost.floors, cost.rows) == (0, 6, 0, 72) and cost.seconds > 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"budget": 0}, "--budget 0"),
        ({"budget": 1.5}, "--budget 1.5"),
        ({"budget": float("nan")}, "--budget nan"),
        ({"confidence": 1}, "--confidence 1"),
        ({"tolerance": -0.1}, "--tolerance -0.1"),
    ],
)
def test_values_outside_their_range_are_named(settings, says):
    with pytest.raises(UserError, match=says):
        Racing(**settings)


@pytest.mark.parametrize(
    ("tasks", "more", "says"),
    [
        (["sst2", "stsb"], {}, "stsb is scored by pearson"),
        (["sst2", "rte"], {"prompts": None, "train": True, "training": SHORT}, "On sst2 there is 1 source"),
        (["sst2"], {"racing": Racing(budget=0.01)}, r"--budget 0.01 of the 24 rows .* 0.042 to 1"),
    ],
)
def test_what_cannot_be_raced_is_refused_before_anything_is_done(tiny_race, tmp_path, tasks, more, says):
    with pytest.raises(UserError, match=says):
        tiny_race(tasks, **more)
    assert not (tmp_path / "m").exists()


@pytest.fixture
def command(tiny_folder, data):
    def arguments(output: Path, *more: str) -> list[str]:
        return [
            "matrix", "--backbone", str(tiny_folder("gpt2")),
            "--tasks", ",".join(TASKS), "--train", "--prompt-len", "4", "--max-steps", "3",
            "--hold-out", "0", "--batch-size", "8", "--data-dir", str(data), "--device", "cpu",
            "--output", str(output), "--budget", "1", *more,
        ]  # fmt: skip

    return arguments


@pytest.mark.slow
def test_killed_and_resumed_and_with_several_workers_the_verdicts_are_the_same_and_no_row_scored_twice(
    command, tmp_path
):
    succeeds(*command(tmp_path / "whole"))
    expected, keys = load_verdicts(tmp_path / "whole"), set(finished(tmp_path / "whole"))
    chooser, folder = random.Random(1), tmp_path / "killed"
    process = started(*command(folder))
    while not (folder / "grid.sqlite").exists() or len(finished(folder)) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(chooser.random() * 0.2)
    kill(process)
    succeeds(*command(folder))
    succeeds(*command(tmp_path / "jobs", "--jobs", "2"))
    for other in (folder, tmp_path / "jobs"):
        assert load_verdicts(other) == expected and set(finished(other)) == keys
        with Grid.open(other, create=False) as grid:
            assert {done.computed for done in grid.results()} == {1}
    with Grid.open(tmp_path / "jobs", create=False) as grid:
        assert len({done.worker for done in grid.results()}) == 2, "workers stay over all rounds"
