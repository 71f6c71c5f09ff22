"""Killed at any moment, or shared by two processes: the same table, and no cell computed twice."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from command import kill, started, succeeds

from prompt_hub.runs.grid import Grid
from prompt_hub.transfer import load_table
from prompt_hub.transfer.plan import made_by

TASKS = "sst2,rotten_tomatoes,rte"
KILLS = 4
WITHOUT_CLOCK = ["seconds"]


@pytest.fixture
def command(tiny_folder, data):
    def arguments(output: Path, *more: str) -> list[str]:
        return [
            "matrix", "--backbone", str(tiny_folder("gpt2")),
            "--tasks", TASKS, "--train", "--seeds", "1,2", "--prompt-len", "4", "--max-steps", "6",
            "--eval-every", "2", "--hold-out", "0", "--batch-size", "8", "--data-dir", str(data),
            "--device", "cpu", "--output", str(output), *more,
        ]  # fmt: skip

    return arguments


def finished(folder: Path) -> int:
    if not (folder / "grid.sqlite").exists():
        return 0
    with Grid.open(folder, create=False) as grid:
        return grid.counts()["done"]


def same(first: Path, second: Path) -> None:
    tables = [load_table(folder).drop(columns=WITHOUT_CLOCK) for folder in (first, second)]
    pd.testing.assert_frame_equal(*tables)
    with Grid.open(second, create=False) as grid:
        assert [done.key for done in grid.results() if done.computed != 1] == []
        assert grid.counts()["open"] == grid.counts()["taken"] == grid.counts()["failed"] == 0
    connection = sqlite3.connect(second / "grid.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.fixture
def whole(command, tmp_path) -> Path:
    succeeds(*command(tmp_path / "whole"))
    assert finished(tmp_path / "whole") == 6 + 18 + 9
    return tmp_path / "whole"


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_the_table_is_that_of_an_uninterrupted_run(
    command, whole, tmp_path
):
    chooser = random.Random(3)
    folder = tmp_path / "killed"
    for number in range(KILLS):
        process = started(*command(folder))
        enough = finished(folder) + 1 + 5 * number
        while finished(folder) < enough and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chooser.random() * 0.3)
        kill(process)
    succeeds(*command(folder))
    assert made_by(folder)["command"][1:] == command(folder), "how to repeat it is stored"
    same(whole, folder)


@pytest.mark.slow
def test_two_processes_at_once_share_the_cells_of_one_folder(command, whole, tmp_path):
    folder = tmp_path / "shared"
    processes = [started(*command(folder), stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
    same(whole, folder)
    with Grid.open(folder, create=False) as grid:
        assert len({done.worker for done in grid.results()}) == 2
    # Several workers of one process give the same again.
    succeeds(*command(tmp_path / "jobs", "--jobs", "2"))
    same(whole, tmp_path / "jobs")
