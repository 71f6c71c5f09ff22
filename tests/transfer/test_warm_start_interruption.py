"""A comparison that is killed at any moment goes on to the numbers of an uninterrupted one."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from command import kill, started, succeeds


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    chooser = random.Random(0)
    words = "the film was good bad great awful plot actor scene".split()
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("source", 64), ("train", 96), ("eval", 24)):
        rows = [
            {"review": f"{name} " + " ".join(chooser.choices(words, k=8)), "stars": 1 + index % 2}
            for index in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def line(*arguments: object) -> list[object]:
    columns = ("--text-a", "review", "--label", "stars", "--label-words", "1=bad,2=good", "--device", "cpu")
    return [*arguments, *columns, "--quiet", "--json"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "reached", ["runs/cold/seed-1/checkpoints/checkpoint-6", "runs/untrained/seed-1/train.json"]
)
def test_a_killed_comparison_goes_on_to_the_same_numbers(tiny_folder, data, tmp_path, reached):
    backbone = tiny_folder("gpt2")
    succeeds(*line("train", "--backbone", backbone, "--train", data / "source.jsonl", "--prompt-len", 4,
                   "--max-steps", 4, "--output", tmp_path / "source"))  # fmt: skip
    command = ("warm-start", "--source", tmp_path / "source", "--train", data / "train.jsonl", "--eval",
               data / "eval.jsonl", "--seeds", 1, "--max-steps", 30, "--eval-every", 3)  # fmt: skip
    whole = succeeds(*line(*command, "--output", tmp_path / "whole")).json
    halved = line(*command, "--output", tmp_path / "halved")
    process = started(*halved)
    while not (tmp_path / "halved" / reached).exists() and process.poll() is None:
        time.sleep(0.005)
    kill(process)
    assert json.loads((tmp_path / "halved" / "warm_start.json").read_text())["status"] == "running"
    resumed = succeeds(*halved).json
    for key in ("starts", "floors", "n", "n_train", "n_held_out"):
        assert resumed[key] == whole[key], key
    assert [one["prompt_hash"] for one in resumed["runs"]] == [one["prompt_hash"] for one in whole["runs"]]
