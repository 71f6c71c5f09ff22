"""The comparison across backbones: computed once, reported from its files, with intervals over the seeds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    threads = torch.get_num_threads()
    sys.path.insert(0, str(BENCHMARKS))
    import cross_model

    yield cross_model
    sys.path.remove(str(BENCHMARKS))
    torch.set_num_threads(threads)


def test_every_kind_of_method_is_run_once_and_reported(benchmark, tiny_folder, tmp_path, capsys):
    methods = ["flat, task tuning", "ridge"]
    command = [
        "run", "--source-backbone", str(tiny_folder("bert")), "--target-backbone", str(tiny_folder("gpt2")),
        "--tasks", "mini/film,mini/hotel", "--methods", ";".join(methods), "--seeds", "1,2", "--steps", "2",
        "--prompt-steps", "2", "--prompt-len", "4", "--limit-train", "30", "--limit-eval", "20",
    ]  # fmt: skip
    output = ["--output", str(tmp_path)]
    assert benchmark.main([*command, *output]) == 0
    files = sorted(tmp_path.glob("bert--to--gpt2/seed-*/*.json"))
    assert len(files) == 4
    before = {path: path.read_text() for path in files}
    assert benchmark.main([*command, *output]) == 0
    assert {path: path.read_text() for path in files} == before
    assert benchmark.main([*command, *output, "--lr", "0.5"]) == 2

    capsys.readouterr()
    assert benchmark.main(["report", *output]) == 0
    shown = capsys.readouterr().out
    cells = {path.parent.name + path.stem: json.loads(text)["judged"] for path, text in before.items()}

    def mean(name: str, group: str, read: Any) -> list[float]:
        return [
            sum(read(one) for one in cells[seed + name] if one["group"] == group) / 2
            for seed in ("seed-1", "seed-2")
        ]

    score = mean("flat-task-tuning", "same-type unseen", lambda one: one["score"])
    gain = mean(
        "flat-task-tuning",
        "same-type unseen",
        lambda one: one["controls"]["constant-input projector"]["gain"],
    )
    line = next(text for text in shown.splitlines() if text.startswith("| flat, task tuning |"))
    assert f"| {sum(score) / 2:.3f} |" in line and f"{sum(gain) / 2:+.3f}" in line
    # Two seeds: Student's t with one degree of freedom is 12.706, the standard error half the difference.
    half = 12.706 * abs(gain[0] - gain[1]) / 2
    assert f"({sum(gain) / 2 - half:+.3f} to {sum(gain) / 2 + half:+.3f})" in line
    # A map that was not trained has no constant input of its own: the trained projector's is held against it.
    constant = mean("flat-task-tuning", "same-type unseen", lambda one: one["score"])
    constant = [one - difference for one, difference in zip(constant, gain, strict=True)]
    own = [
        sum(one["score"] for one in cells[seed + "ridge"] if one["task"] != "mini/conduct_home") / 2
        for seed in ("seed-1", "seed-2")
    ]
    ridge = next(text for text in shown.splitlines() if text.startswith("| ridge |"))
    assert f"| {sum(own) / 2:.3f} | {sum(constant) / 2:.3f} |" in ridge


def test_unknown_methods_are_refused(benchmark, capsys):
    sides = ["--source-backbone", "mini-t5", "--target-backbone", "mini-gpt2"]
    assert benchmark.main(["run", *sides, "--methods", "magic"]) == 2
    assert "Unknown method 'magic'" in capsys.readouterr().err
