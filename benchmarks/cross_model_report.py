"""The Markdown tables of ``cross_model.py``: every number comes from its JSON files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.evaluation.over_seeds import over_seeds
from prompt_hub.reports.tables import markdown_table

CONSTANT = "constant-input projector"
REFERENCE = "flat, task tuning"
"""Whose constant-input control is held against methods that have none of their own."""
UNTRAINED = "no task seen"
SAME_TYPE, OTHER_TYPE, TRAINED = "same-type unseen", "other-type unseen", "trained"
OTHER_SOURCES = {
    "another task's source, projected": "other source",
    "shuffled source, projected": "shuffled",
    "gaussian source, projected": "Gaussian",
    "gaussian source, distilled": "Gaussian",
}


_HOW = """# Prompts on another backbone, every method beside its controls

The last of these commands prints all of this page, from the files that the others wrote (with options where
a pair's settings are not the defaults).

```
{runs}
python benchmarks/cross_model.py report
```

Scores are means over the tasks of a group and over seeds. *Projected*: what a method makes of a task's
source prompt, on the target. *Constant input*: the prompt that the same training gives if every source
prompt is replaced by one; maps and distillation, which are not trained on tasks, are held against that of
the paper's projector, trained without the same task. The interval of the difference is over seeds
(Student's t; of each the mean over the tasks), so it says how far other seeds would differ, not other
tasks. *Other source*: the image of the prompt of a task of another type. *Shuffled*: the source with its
columns in another order. *Gaussian*: random rows with the norms of the source's. What every group means:
[docs/cross-model.md](../cross-model.md#how-a-projector-is-judged)."""


def report(folder: Path) -> str:
    """Tables of every pair of backbones that has results below ``folder``."""
    pairs = {place.name: _cells(place) for place in sorted(folder.glob("*--to--*"))}
    pairs = {name: cells for name, cells in pairs.items() if cells}
    if not pairs:
        raise UserError(f"{folder} holds no results. Run `run` first.")
    how = _HOW.format(runs="\n".join(_run(cells[0]["asked"]) for cells in pairs.values()))
    return "\n\n".join([how, *(_pair(name, cells) for name, cells in pairs.items())])


def _run(asked: dict[str, Any]) -> str:
    sides = (f"--{side}-backbone {asked[side]['name']}" for side in ("source", "target"))
    return f"python benchmarks/cross_model.py run {' '.join(sides)}"


def _cells(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("seed-*/*.json"))]


def _pair(name: str, cells: list[dict[str, Any]]) -> str:
    asked = cells[0]["asked"]
    source, target = asked["source"], asked["target"]
    seeds = sorted({cell["asked"]["seed"] for cell in cells})
    n = sorted({one["n"] for cell in cells for one in cell["judged"]})
    machine = ", ".join(sorted({cell["device"] for cell in cells}))
    head = (
        f"## {source['name']} to {target['name']}\n\n"
        f"{source['family']}, width {source['hidden']}, to {target['family']}, width {target['hidden']}. "
        f"Prompts of {asked['prompt_len']} rows, {asked['prompt_steps']} steps each; projectors "
        f"{asked['steps']} steps of {asked['batch_size']} rows. Tasks: {', '.join(asked['tasks'])}; never "
        f"trained on: "
        f"{', '.join(asked['unseen']) or 'none'}. Seeds {', '.join(map(str, seeds))}; n = "
        f"{' or '.join(map(str, n))} rows a task. {machine}."
    )
    parts = [head]
    for group in (SAME_TYPE, OTHER_TYPE, TRAINED):
        table = _group(cells, group, seeds)
        if table:
            parts.append(table)
    return "\n\n".join([*parts, _cost(cells)])


def _group(cells: list[dict[str, Any]], group: str, seeds: Sequence[int]) -> str | None:
    """Means over the tasks of a group, and over seeds the interval of the gain over the constant input."""
    by_cell = {(cell["asked"]["method"], cell["asked"]["seed"]): cell for cell in cells}
    methods = list(dict.fromkeys(cell["asked"]["method"] for cell in cells))
    tasks = _tasks_of(cells, group)
    if not tasks:
        return None
    rows, verdicts = [], []
    floors: dict[str, list[float]] = defaultdict(list)
    for method in sorted(methods, key=lambda name: (name != REFERENCE, name)):
        scores, gains = [], []
        controls: dict[str, list[float]] = defaultdict(list)
        for seed in seeds:
            judged = _judged(by_cell.get((method, seed)), group, tasks)
            constant = _judged(by_cell.get((REFERENCE, seed)), group, tasks)
            if judged is None:
                continue
            scores.append(fmean(one["score"] for one in judged))
            for name in {name for one in judged for name in one["controls"]}:
                if all(name in one["controls"] for one in judged):
                    controls[name].append(fmean(one["controls"][name]["score"] for one in judged))
            own = controls.get(CONSTANT)
            if own is None and constant is None:
                continue
            against = (
                own[-1] if own is not None else fmean(one["controls"][CONSTANT]["score"] for one in constant)
            )
            controls["constant"].append(against)
            gains.append(scores[-1] - against)
            if method == REFERENCE:
                floors["majority class"].append(fmean(one["majority"] or 0.0 for one in judged))
        if not scores:
            continue
        if method == REFERENCE or not floors["no prompt"]:
            for name in ("target's own prompt", "no prompt", "random prompt"):
                floors[name] = floors[name] or controls[name]
        gain = over_seeds(gains) if gains else None
        rows.append(
            [method, _mean(scores), _mean(controls["constant"]), _interval(gain)]
            + [
                _mean(
                    next(
                        (
                            controls[name]
                            for name, short in OTHER_SOURCES.items()
                            if short == column and controls.get(name)
                        ),
                        [],
                    )
                )
                for column in dict.fromkeys(OTHER_SOURCES.values())
            ]
        )
        if gain is not None and gain.ci95 is not None and gain.ci95[0] > 0:
            verdicts.append(method)
    said = "; ".join(f"{name} {_mean(values)}" for name, values in floors.items() if values)
    columns = [
        "method",
        "projected",
        "constant input",
        "projected is above it by (95%)",
        *dict.fromkeys(OTHER_SOURCES.values()),
    ]
    above = (
        f"Above the constant input by more than the interval: {', '.join(verdicts)}."
        if verdicts
        else "No method is above the constant input by more than the interval."
    )
    names = ", ".join(tasks)
    return (
        f"### {group[0].upper()}{group[1:]}\n\n{names}. {said}.\n\n{markdown_table(columns, rows)}\n\n{above}"
    )


def _tasks_of(cells: list[dict[str, Any]], group: str) -> list[str]:
    for cell in cells:
        found = [one["task"] for one in cell["judged"] if one["group"] == group]
        if found:
            return found
    return []


def _judged(cell: dict[str, Any] | None, group: str, tasks: Sequence[str]) -> list[dict[str, Any]] | None:
    """The results of a group, in the order of the tasks. What has seen no task is in every group but one."""
    if cell is None:
        return None
    groups = (group,) if group == TRAINED else (group, UNTRAINED)
    found = {one["task"]: one for one in cell["judged"] if one["group"] in groups}
    return [found[name] for name in tasks] if set(tasks) <= set(found) else None


def _cost(cells: list[dict[str, Any]]) -> str:
    rows = []
    by_method: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        by_method[cell["asked"]["method"]].append(cell)
    for method, found in by_method.items():
        training = found[0].get("training") or {}
        parameters = training.get("parameters")
        rows.append(
            [method, f"{parameters:,}" if parameters else "", f"{fmean(one['seconds'] for one in found):.0f}"]
        )
    table = markdown_table(["method", "parameters", "seconds a seed, everything in this page"], rows)
    return f"### Cost\n\n{table}"


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" if values else ""


def _interval(gain: Any) -> str:
    if gain is None:
        return ""
    if gain.ci95 is None:
        return f"{gain.mean:+.3f}"
    return f"{gain.mean:+.3f} ({gain.ci95[0]:+.3f} to {gain.ci95[1]:+.3f})"
