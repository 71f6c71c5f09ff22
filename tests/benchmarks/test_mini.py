"""The benchmark of the embedded backbones: computed once, shared by processes, reported from its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASKS = ("mini/film", "mini/hotel", "mini/qa_people")


@pytest.fixture(scope="module")
def benchmark() -> Any:
    threads = torch.get_num_threads()
    sys.path.insert(0, str(BENCHMARKS))
    with pytest.MonkeyPatch.context() as patch:
        import mini

        for name, value in {"STEPS": 2, "PROMPT_LEN": 4, "HOLD_OUT": 20}.items():
            patch.setattr(mini, name, value)
        yield mini
    sys.path.remove(str(BENCHMARKS))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run(benchmark, tiny_folder, tmp_path_factory):
    """``run("train", ...)``: the script's exit code, with few tasks and seeds on a tiny backbone."""
    output = tmp_path_factory.mktemp("mini")

    def call(command: str, *options: str, tasks: tuple[str, ...] = TASKS) -> int:
        shared = ["--output", str(output)]
        if command != "report":
            shared += ["--backbone", str(tiny_folder("gpt2")), "--tasks", ",".join(tasks), "--seeds", "1,2"]
        return benchmark.main([command, *shared, *options])

    call.output = output
    return call


@pytest.fixture(scope="module")
def cells(run) -> Path:
    """The folder of everything: two calls that share the tasks, then the transfer."""
    assert run("train", tasks=TASKS[:1]) == 0
    assert run("train", tasks=TASKS[1:]) == 0
    assert run("transfer", "--targets", ",".join(TASKS)) == 0
    return run.output / "gpt2"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_a_file_a_task_and_seed_holds_the_test_scores_and_their_floors(cells):
    files = sorted(path.name for path in (cells / "train").iterdir())
    assert files == [f"{task.replace('/', '-')}-seed-{seed}.json" for task in TASKS for seed in (1, 2)]
    cell = read(cells / "train" / "mini-film-seed-1.json")
    assert cell["test"]["n"] == 500 and cell["test"]["data"]["split"] == "test"
    assert set(cell["test"]["floors"]) == {"majority", "no_prompt", "random_prompt"}
    assert cell["hyperparameters"]["prompt_len"] == 4 and cell["asked"]["steps"] == 2


def test_every_prompt_is_used_on_every_other_target(cells):
    cell = read(cells / "transfer" / "mini-film-seed-2.json")
    assert [(pair["target"], pair["same_type"]) for pair in cell["pairs"]] == [
        ("mini/hotel", True),
        ("mini/qa_people", False),
    ]
    own = read(cells / "train" / "mini-hotel-seed-2.json")["test"]["metrics"]["accuracy"]
    assert cell["pairs"][0]["own"] == own


def test_nothing_is_computed_twice(cells, run, benchmark, monkeypatch):
    def compute(*arguments: Any, **options: Any) -> None:
        raise AssertionError("computed again")

    for name in ("_train", "_pairs", "bag_of_words"):
        monkeypatch.setattr(benchmark, name, compute)
    assert run("train") == run("transfer", "--targets", ",".join(TASKS)) == 0


def test_other_settings_are_not_mixed_with_what_is_there(cells, run, benchmark, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "STEPS", 3)
    assert run("train") == 2
    assert "another steps" in capsys.readouterr().err


def test_transfer_needs_what_train_makes(cells, run, capsys):
    assert run("transfer") == 2
    assert "not trained with seed 1" in capsys.readouterr().err


def test_the_report_shows_the_numbers_of_the_files(cells, run, capsys):
    assert run("report") == 0
    printed = capsys.readouterr().out
    scores = [
        read(cells / "train" / f"mini-hotel-seed-{seed}.json")["test"]["metrics"]["accuracy"]
        for seed in (1, 2)
    ]
    words = read(run.output / "bag_of_words" / "mini-hotel.json")["score"]
    row = next(line for line in printed.splitlines() if line.startswith("| hotel |"))
    assert f"| {words:.3f} |" in row
    assert f"| {sum(scores) / 2:.3f} | {min(scores):.3f} to {max(scores):.3f} |" in row
    pairs = [
        pair for path in (cells / "transfer").iterdir() for pair in read(path)["pairs"] if pair["same_type"]
    ]
    by_target = {pair["target"]: [] for pair in pairs}
    for pair in pairs:
        by_target[pair["target"]].append(pair)
    means = [sum(p["score"] for p in found) / sum(p["own"] for p in found) for found in by_target.values()]
    row = next(line for line in printed.splitlines() if line.startswith("| score / own | same type | 2 |"))
    # No interval: of two tasks no others could have been drawn.
    assert f"| {sum(means) / 2:.3f} |" in row
    assert "| **mean** |" in printed and "Zero-shot transfer" in printed


def test_a_report_without_results_says_what_to_do(benchmark, tmp_path, capsys):
    assert benchmark.main(["report", "--output", str(tmp_path)]) == 2
    assert "Run train first" in capsys.readouterr().err


def test_the_interval_comes_from_drawing_tasks_not_pairs(benchmark):
    from mini_report import _bootstrap

    from prompt_hub.evaluation.cross_task import Pair

    names = ("a", "b", "c", "d")
    pairs = [
        Pair(source, target, True, "accuracy", 9, score, [0, 1], 1.0, [1, 1], {"majority": 0.5})
        for source in names
        for target, score in zip(names, (0.2, 0.4, 0.6, 0.8), strict=True)
        if source != target
    ]
    low, high = map(float, _bootstrap(pairs, "relative", dict.fromkeys(names, "nli"))[2:-1].split(" to "))
    # A resample may hold a single pair of tasks; then the ends are means of the least and greatest two.
    assert 0.2 < low <= 0.35 and 0.65 <= high < 0.8
    single = [pair for pair in pairs if pair.score == 0.4]
    assert _bootstrap(single, "relative", dict.fromkeys(names, "nli")) == " (0.400 to 0.400)"
    assert _bootstrap([], "relative", {}) == ""
