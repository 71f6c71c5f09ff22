"""Indicators over a set of prompts: every one as target and as source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from prompt_hub.indicators.base import Context, Indicator, Target
from prompt_hub.indicators.measured import task_of
from prompt_hub.indicators.registry import get_indicators
from prompt_hub.tasks.registry import list_tasks

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt


def compare(
    prompts: Mapping[str, SoftPrompt],
    by: Iterable[str] | None = None,
    *,
    context: Context | None = None,
) -> pd.DataFrame:
    """A row for every indicator and ordered pair of prompts: indicator, target, source, value.

    by: names of indicators; by default all that look at prompts only.
    """
    used = context or Context()
    tables = [
        matrix_of(indicator, prompts, used)
        .stack()
        .rename("value")
        .reset_index()
        .assign(indicator=indicator.name)
        for indicator in get_indicators(by)
    ]
    return pd.concat(tables, ignore_index=True)[["indicator", "target", "source", "value"]]


def matrix_of(indicator: Indicator, prompts: Mapping[str, SoftPrompt], context: Context) -> pd.DataFrame:
    """``[n, n]`` values of an indicator, targets in rows."""
    return indicator.matrix(prompts, [Target(name, prompt) for name, prompt in prompts.items()], context)


def task_names(prompts: Mapping[str, SoftPrompt]) -> dict[str, str]:
    """The task of each prompt: what it says itself, else what its name says."""
    return {name: task_of(prompt.metadata.task or name) for name, prompt in prompts.items()}


def task_types(prompts: Mapping[str, SoftPrompt]) -> dict[str, str]:
    """The type of each task, as far as the prompt or the registry knows one."""
    known = {name: prompt.metadata.task_type for name, prompt in prompts.items()}
    registered = {task.name: task.type for task in list_tasks()}
    found = {task: known[name] or registered.get(task) for name, task in task_names(prompts).items()}
    return {task: kind for task, kind in found.items() if kind and kind != "custom"}


def by_task(
    matrix: pd.DataFrame, tasks: Mapping[str, str], targets: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A matrix over prompts as one over tasks. targets: their tasks, where rows stand for no prompts.

    Where a task has several prompts (seeds), the mean over their pairs; a prompt beside itself then does not
    count, because its likeness to itself says nothing about another prompt of the task.
    """
    several = {task for task in tasks.values() if list(tasks.values()).count(task) > 1}
    pairs = matrix.stack().rename("value").reset_index()
    if targets is None:
        same = (pairs["target"] == pairs["source"]) & pairs["target"].map(tasks).isin(several)
        pairs = pairs[~same]
    pairs = pairs.assign(target=pairs["target"].map(targets or tasks), source=pairs["source"].map(tasks))
    return pairs.pivot_table(index="target", columns="source", values="value", sort=False)
