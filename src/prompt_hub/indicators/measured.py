"""Measured transfer: the scores that indicators are held against, by target and source."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from prompt_hub.errors import UserError, first_line
from prompt_hub.prompts.paper_names import TASKS
from prompt_hub.tasks.registry import registered_name

TIDY = ("target", "source", "score")
FLOORS = ("majority", "no_prompt", "random_prompt", "random")
"""Columns that are no sources but what a source has to beat."""


def task_of(name: str) -> str:
    """One name for a task that the paper, the registry and people spell differently."""
    return registered_name(TASKS.get(name, name))


def read_scores(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Scores from a CSV, ``[targets, sources]``, NaN where a cell is empty.

    The file has a row a target (its name first) and a column a source; or the columns target, source and
    score, of which the mean is taken where a pair appears more than once (seeds).
    """
    file = Path(path)
    try:
        table = pd.read_csv(file)
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror or error}.") from None
    except (ValueError, UnicodeError) as error:
        raise UserError(f"{file} is not a CSV file: {first_line(error)}") from None
    if set(TIDY) <= set(table.columns):
        return from_tidy(table, str(file))
    if table.shape[1] < 2 or not len(table):
        raise UserError(
            f"{file} is no table of scores. It needs a row a target, named in the first column, and a column "
            f"a source; or the columns {', '.join(TIDY)}."
        )
    table = table.set_index(table.columns[0])
    return _named(_numbers(table, str(file)), str(file))


def from_tidy(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """``[targets, sources]`` from a table with a row a measurement; the mean where a pair has several.

    Of a transfer matrix (``transfer.load_table``, or the CSV of it) sources go by their tasks.
    """
    missing = [name for name in TIDY if name not in table.columns]
    if missing:
        raise UserError(
            f"{where} lacks the column {missing[0]!r}. It has: {', '.join(map(str, table.columns))}."
        )
    if {"status", "kind"} <= set(table.columns):  # cells that a race left at some of their rows do not count
        table = table[(table["status"] == "done") & (table["kind"] == "prompt")]
    numbers = table.assign(score=_numbers(table[["score"]], where)["score"])
    numbers = numbers.dropna(subset=["score"])
    if "source_task" in numbers.columns:
        numbers = numbers.assign(source=numbers["source_task"].fillna(numbers["source"]))
    if numbers.empty:
        raise UserError(f"{where} holds no score.")
    return _named(
        numbers.pivot_table(index="target", columns="source", values="score", aggfunc="mean"), where
    )


def _numbers(table: pd.DataFrame, where: str) -> pd.DataFrame:
    numbers = table.apply(pd.to_numeric, errors="coerce")
    for row, column in zip(*(numbers.isna() & table.notna()).to_numpy().nonzero(), strict=True):
        raise UserError(
            f"{where}: the score of target {str(table.index[row])!r}, source {str(table.columns[column])!r} "
            f"is {str(table.iloc[row, column])!r}. Write a number, or leave the cell empty."
        )
    return numbers.astype(float)


def _named(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Without floors, and with every name as ``task_of`` writes it, each once."""
    table = table.drop(columns=[name for name in FLOORS if name in table.columns])
    named = table.rename(index=lambda name: task_of(str(name)), columns=lambda name: task_of(str(name)))
    for axis, labels in (("row", named.index), ("column", named.columns)):
        twice = labels[labels.duplicated()]
        if len(twice):
            raise UserError(f"{where} has more than one {axis} for the task {twice[0]!r}. Leave one.")
    return named.rename_axis(index="target", columns="source")
