"""The Markdown tables of ``distillation.py``: every number comes from its JSON files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.evaluation.over_seeds import over_seeds
from prompt_hub.runs.records import package_versions

_LABELS = {
    "distilled": "distilled",
    "another task's prompt, distilled": "from another task's prompt",
    "gaussian source, distilled": "from Gaussian rows",
    "source without its prompt, distilled": "from the source without its prompt",
    "source with labels shuffled, distilled": "from the source, labels shuffled",
    "untrained start": "untrained start",
    "random prompt": "random prompt",
    "no prompt": "no prompt",
    "majority": "majority class",
    "the source on its own backbone": "the source on its own backbone",
    "target's own prompt": "the target's own prompt",
}


def report(folder: Path) -> str:
    """Tables over seeds of what lies below ``folder``."""
    cells = [json.loads(path.read_text("utf-8")) for path in sorted((folder / "cells").glob("*.json"))]
    if not cells:
        raise UserError(f"{folder} holds no results.")
    asked = cells[0]["asked"]
    by_task: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        by_task.setdefault(cell["asked"]["task"], []).append(cell)
    seeds = ", ".join(str(cell["asked"]["seed"]) for cell in next(iter(by_task.values())))
    parts = [
        f"# Distillation from {asked['source']} to {asked['target']}",
        "```\npython benchmarks/distillation.py --output runs/distillation > "
        "docs/results/distillation-mini.md\n```",
        f"Prompts of 20 rows, trained for {asked['train_steps']} steps on {asked['source']}, distilled in "
        f"{asked['steps']} steps on 100 texts without labels (80 fitted, 20 held out). Accuracy on "
        f"{cells[0]['table']['n']} validation rows: mean over seeds {seeds} with its 95% t-interval. "
        f"{sum(cell['seconds'] for cell in cells) / 60:.0f} minutes of processor time, trainings included "
        f"(one of {os.cpu_count()} {platform.machine()} cores, torch {package_versions()['torch']}, "
        "float32).",
        "## Beside controls",
        f"`--match answers`, start: tokens drawn from the vocabulary. {_source_matters(cells)}",
        _table("prompt", by_task, {label: _control(name) for name, label in _LABELS.items()}),
        "Score of the distilled prompt less that of the control, seed by seed:",
        _table(
            "control",
            by_task,
            {label: _gain(name) for name, label in _LABELS.items() if name not in ("distilled", "majority")},
            "+.3f",
        ),
        "## What is matched",
        _table(
            "`--match`",
            by_task,
            {
                "`answers`": _control("distilled"),
                **{f"`{match}`": _nested("matches", match) for match in cells[0]["matches"]},
                "difference, `shift` less `answers`": lambda cell: (
                    cell["matches"]["shift"] - cell["table"]["metrics"][cell["table"]["primary_metric"]]
                ),
            },
        ),
        "## Where the fit begins",
        _table(
            "start, and after distillation",
            by_task,
            {
                "vocabulary, before": _control("untrained start"),
                "vocabulary, after": _control("distilled"),
                "the task's question as text, before": lambda cell: cell["starts"]["text"]["before"],
                "the task's question as text, after": lambda cell: cell["starts"]["text"]["after"],
                "image under a `ridge` map, before": lambda cell: cell["starts"]["map"]["before"],
                "image under a `ridge` map, after": lambda cell: cell["starts"]["map"]["after"],
            },
        ),
    ]
    return "\n\n".join(parts)


def _table(
    first: str, by_task: dict[str, list[dict[str, Any]]], rows: dict[str, Any], form: str = ".3f"
) -> str:
    lines = [f"| {first} | {' | '.join(by_task)} |", f"|---|{'---|' * len(by_task)}"]
    for label, value in rows.items():
        found = [_mean([value(cell) for cell in cells], form) for cells in by_task.values()]
        lines.append(f"| {label} | {' | '.join(found)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float | None], form: str) -> str:
    known = over_seeds([value for value in values if value is not None])
    low, high = (f"{end:{form}}" for end in known.ci95 or (known.mean, known.mean))
    # Seeds that agree need no interval.
    return f"{known.mean:{form}}" if low == high else f"{known.mean:{form}} ({low} to {high})"


def _control(name: str) -> Any:
    def value(cell: dict[str, Any]) -> float | None:
        table = cell["table"]
        if name == "distilled":
            return table["metrics"][table["primary_metric"]]
        if name == "majority":
            return table["majority"]
        return next(line["score"] for line in table["controls"] if line["name"] == name)

    return value


def _gain(name: str) -> Any:
    return lambda cell: next(line["gain"] for line in cell["table"]["controls"] if line["name"] == name)


def _nested(group: str, name: str) -> Any:
    return lambda cell: cell[group][name]


def _source_matters(cells: Sequence[dict[str, Any]]) -> str:
    matters = sum(cell["table"]["source_matters"] for cell in cells)
    return (
        f"In {matters} of {len(cells)} tables the distilled prompt is above everything that was distilled "
        "from something else by more than the 95% interval over the rows."
    )
