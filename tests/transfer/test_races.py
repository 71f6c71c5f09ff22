"""Races of a matrix: the best source of each target from some of its rows, without confusing them with cells."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

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
from prompt_hub.transfer.verdicts import load_verdicts

TASKS = ["sst2", "rotten_tomatoes", "rte"]
TRAINED = {"mini/film": 60, "mini/conduct_home": 60, "mini/paraphrase_trips": 60}
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
    return run_matrix(
        "mini-roberta", TARGETS, folder, prompts=prompts, device="cpu", batch_size=64, **more
    )


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
