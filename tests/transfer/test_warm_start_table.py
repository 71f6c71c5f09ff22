"""``prompt_hub.transfer.warm_start``: the comparison as a tidy table."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import prompt_hub.transfer
from prompt_hub.errors import UserError
from prompt_hub.runs.records import Record
from prompt_hub.tasks import get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt

WORDS = "the film was good bad great awful plot actor scene story boring lovely".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    chooser = random.Random(3)
    for task in ("sst2", "rotten_tomatoes"):
        for split, count in (("train", 48), ("validation", 16)):
            rows = [
                {"text_a": " ".join(chooser.choices(WORDS, k=8)), "label": index % 2}
                for index in range(count)
            ]
            (folder / task).mkdir(exist_ok=True)
            (folder / task / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def table(tiny, tiny_folder, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")

    def arguments(**values) -> PromptTrainingArguments:
        return PromptTrainingArguments(
            output_dir=str(folder), data_dir=str(data), prompt_len=4, max_steps=4, use_cpu=True,
            disable_tqdm=True, **values,
        )  # fmt: skip

    sst2 = get_task("sst2")
    train_prompt(
        tiny("gpt2"), sst2, load_split(sst2, "train", data_dir=data), arguments(), folder / "source"
    )  # fmt: skip
    found = prompt_hub.transfer.warm_start(
        folder / "source", "rotten_tomatoes", arguments(save_steps=2), seeds=(5, 6), output=folder / "warm"
    )
    return folder, found


def test_there_is_a_row_a_run_and_curve(table):
    _, found = table
    assert len(found) == 3 * 2 * 2
    assert set(found.start) == {"cold", "warm", "untrained"} and set(found.seed) == {5, 6}
    assert set(found.curve) == {"score", "loss"}
    assert not found.duplicated(["start", "seed", "curve"]).any()
    assert (found.ci_low <= found.score).all() and (found.score <= found.ci_high).all()
    assert (found.n == 16).all() and (found.source == "sst2").all() and (found.trained_steps == 4).all()


def test_speed_ups_are_cold_steps_by_steps_where_exact(table):
    _, found = table
    keys = ["seed", "curve"]
    both = found[found.start != "cold"].merge(found[found.start == "cold"], on=keys, suffixes=("", "_cold"))
    exact = both[both.comparable_bound == "exact"]
    expected = exact.comparable_steps_cold / exact.comparable_steps
    assert exact.comparable_speed_up.tolist() == pytest.approx(expected.tolist())
    assert found[found.start == "cold"].comparable_bound.isna().all()


def test_the_table_agrees_with_the_record(table):
    folder, found = table
    result = Record.load(folder / "warm" / "warm_start.json").result
    means = found[found.curve == "loss"].groupby("start").score.mean()
    for name, start in result["starts"].items():
        assert means[name] == pytest.approx(start["score"]["mean"])


def test_a_source_that_names_no_backbone_needs_one(tmp_path):
    import numpy as np

    np.save(tmp_path / "prompt.npy", np.ones((4, 32), np.float32))
    with pytest.raises(UserError, match="backbone="):
        prompt_hub.transfer.warm_start(tmp_path / "prompt.npy", "sst2")
