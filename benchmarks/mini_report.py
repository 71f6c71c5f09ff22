"""The Markdown tables of ``mini.py``: every number comes from its JSON files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.evaluation.pairs import Pair, interval_over_tasks, summarise

RESAMPLES = 5000
FLOORS = {"no_prompt": "no prompt", "random_prompt": "random prompt", "majority": "majority"}
_HOW = """Every table comes from these commands, run for each backbone; the files they share make the last one
print all of this page.

```
python benchmarks/mini.py train --backbone NAME --output runs/mini
python benchmarks/mini.py transfer --backbone NAME --output runs/mini
python benchmarks/mini.py report --output runs/mini > docs/results/mini.md
```

The tasks are described in [docs/tasks.md](../tasks.md), the backbones in
[pretraining/README.md](../../pretraining/README.md)."""
_SHARED = ("backbone", "prompt_len", "steps", "train_batch", "hold_out")


def report(folder: Path) -> str:
    """Tables of every backbone that has results below ``folder``."""
    words = {cell["asked"]["task"]: cell for cell in _cells(folder / "bag_of_words")}
    names = sorted(path.parent.name for path in folder.glob("*/train"))
    if not names:
        raise UserError(f"{folder} holds no results. Run train first.")
    parts = ["# The embedded backbones on the generated tasks", _HOW]
    for name in names:
        trained, moved = _cells(folder / name / "train"), _cells(folder / name / "transfer")
        _check_alike([*trained, *moved], folder / name)
        parts.append(f"## {name}")
        parts += _training(trained, words)
        if moved:
            parts += _transfer(trained, moved)
    return "\n\n".join(parts)


def _cells(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def _check_alike(cells: Sequence[dict[str, Any]], folder: Path) -> None:
    for name in _SHARED:
        if len({json.dumps(cell["asked"][name], sort_keys=True) for cell in cells}) > 1:
            raise UserError(f"The files below {folder} were computed with more than one {name}.")


# -- trained prompts -----------------------------------------------------------------------------------


def _training(cells: Sequence[dict[str, Any]], words: dict[str, Any]) -> list[str]:
    asked, by_task = cells[0]["asked"], _by_task(cells)
    seeds = sorted({cell["asked"]["seed"] for cell in cells})
    machine = cells[0]["environment"]
    packages = machine["packages"]
    rows, means = [], []
    for task, of_task in by_task.items():
        first = of_task[0]["test"]
        metric = first["primary_metric"]
        if task not in words or words[task]["asked"]["test"] != of_task[0]["asked"]["test"]:
            raise UserError(f"{task}: bag of words was not scored on the rows of the prompts. Run train.")
        floors = {name: fmean(cell["test"]["floors"][name][metric] for cell in of_task) for name in FLOORS}
        scores = [cell["test"]["metrics"][metric] for cell in of_task]
        figures = [
            floors["majority"],
            words[task]["score"],
            floors["no_prompt"],
            floors["random_prompt"],
            fmean(scores),
        ]
        means.append(figures)
        rows.append(
            [
                _short(task),
                of_task[0]["asked"]["task_type"],
                first["n"],
                *map(_number, figures),
                _range(scores),
            ]
        )
    rows.append(["**mean**", "", "", *(_number(fmean(column)) for column in zip(*means, strict=True)), ""])
    surely = sum(_surely_above(cell["test"], "majority") for cell in cells)
    better = sum(_surely_above(cell["test"], "no_prompt") for cell in cells)
    widest = max((high - low) / 2 for cell in cells for low, high in [_interval(cell["test"])])
    metrics = sorted({cell["test"]["primary_metric"] for cell in cells})
    settings = (
        f"Prompts of {asked['prompt_len']} rows, {asked['steps']} steps of {asked['train_batch']} rows, up "
        f"to {asked['hold_out']} training rows to choose the checkpoint, seeds {', '.join(map(str, seeds))}."
    )
    meaning = (
        f"{' and '.join(metrics).capitalize()} on the test rows, which nothing was chosen by. Random and "
        "trained prompt: means over the seeds; range: the least and the greatest of them."
    )
    seconds = fmean(cell["train_seconds"] for cell in cells)
    cost = (
        f"{len(cells)} prompts, {seconds:.0f} s of training each on average, on {_values(cells, 'threads')} "
        f"of {machine['cpus']} {machine['machine']} cores; torch {packages.get('torch')}, transformers "
        f"{packages.get('transformers')}."
    )
    counts = (
        f"Of the {len(cells)} prompts {surely} are above the majority class and {better} above the backbone "
        "without a prompt with the whole 95% interval over the test rows, which reaches at most "
        f"{widest:.3f} to either side."
    )
    columns = ["majority", "bag of words", "no prompt", "random prompt", "trained prompt", "range"]
    return [f"{settings} {meaning} {cost}", _table(["task", "type", "n", *columns], rows), counts]


def _surely_above(scored: dict[str, Any], floor: str) -> bool:
    return _interval(scored)[0] > scored["floors"][floor][scored["primary_metric"]]


def _interval(scored: dict[str, Any]) -> tuple[float, float]:
    low, high = scored["ci95"][scored["primary_metric"]]
    return low, high


# -- transfer ------------------------------------------------------------------------------------------


def _transfer(trained: Sequence[dict[str, Any]], moved: Sequence[dict[str, Any]]) -> list[str]:
    types = {cell["asked"]["task"]: cell["asked"]["task_type"] for cell in trained}
    by_seed = {
        seed: [_pair(pair) for cell in moved if cell["asked"]["seed"] == seed for pair in cell["pairs"]]
        for seed in sorted({cell["asked"]["seed"] for cell in moved})
    }
    pairs = _mean_pairs(by_seed)
    there = {name for pair in pairs for name in (pair.source, pair.target)}
    tasks = sorted(there, key=lambda name: (types[name], name))
    scores = {(pair.source, pair.target): pair.score for pair in pairs}
    scores |= {(pair.target, pair.target): pair.own for pair in pairs}
    rows = []
    for number, source in enumerate(tasks, 1):
        cells = [
            f"**{100 * scores[source, target]:.0f}**" if source == target and (source, target) in scores
            else f"{100 * scores[source, target]:.0f}" if (source, target) in scores
            else ""
            for target in tasks
        ]  # fmt: skip
        rows.append([f"{number} {_short(source)}", *cells])
    removed = sum(pair.removed_overlap for found in by_seed.values() for pair in found)
    negative = sum(pair.negative for pair in pairs)
    what = (
        "The prompts of the rows on the test rows of the tasks of the columns, without training: scores in "
        f"%, means over {len(by_seed)} seeds; bold: the task's own prompt. {removed} rows were left out "
        f"because a prompt was trained on their text. {negative} of {len(pairs)} pairs are below the "
        "backbone without a prompt (negative transfer)."
    )
    means = (
        "Relative performance: the mean over pairs of score / own prompt's score, and of (score - majority) "
        "/ (own prompt's score - majority), beside those of the floors. The second only on targets whose own "
        "prompt is above the majority class with its whole 95% interval (mean of the seeds' ends). In "
        f"brackets: 95% bootstrap interval over the tasks of each type ({RESAMPLES} resamples, a task as "
        "source and as target together). By seed: the same mean of each seed alone."
    )
    numbers = [str(number) for number in range(1, len(tasks) + 1)]
    matrix, relative = _table(["prompt of", *numbers], rows), _relative(pairs, by_seed, types)
    return ["### Zero-shot transfer", what, matrix, means, relative]


def _relative(pairs: Sequence[Pair], by_seed: dict[int, list[Pair]], types: dict[str, str]) -> str:
    rows = []
    for figure, count, title in (
        ("relative", "pairs", "score / own"),
        ("above_majority", "pairs_above_majority", "above majority"),
    ):
        for alike, name in ((True, "same type"), (False, "other type")):
            chosen = [pair for pair in pairs if pair.same_type == alike]
            found = summarise(chosen)
            floors = [found[f"{figure}_of_floors"].get(floor) for floor in FLOORS]
            single = [
                summarise([pair for pair in each if pair.same_type == alike])[figure]
                for each in by_seed.values()
            ]
            rows.append(
                [title, name, found[count], _number(found[figure]) + _bootstrap(chosen, figure, types),
                 ", ".join(_number(value) or "none" for value in single), *map(_number, floors)]
            )  # fmt: skip
    head = ["relative performance", "source of", "pairs", "prompt (95%)", "by seed", *FLOORS.values()]
    return _table(head, rows)


def _bootstrap(pairs: Sequence[Pair], figure: str, types: dict[str, str]) -> str:
    found = interval_over_tasks(pairs, figure, types, RESAMPLES)
    return "" if found is None else f" ({found[0]:.3f} to {found[1]:.3f})"


def _pair(stored: dict[str, Any]) -> Pair:
    return Pair(**{item.name: stored[item.name] for item in fields(Pair) if item.name in stored})


def _mean_pairs(by_seed: dict[int, list[Pair]]) -> list[Pair]:
    """A pair of mean scores for every source and target that every seed has."""
    together: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pairs in by_seed.values():
        for pair in pairs:
            together[pair.source, pair.target].append(pair)
    means = []
    for (source, target), found in together.items():
        if len(found) != len(by_seed):
            raise UserError(f"The prompt of {source} was not used on {target} with every seed. Run transfer.")
        means.append(
            Pair(
                source=source,
                target=target,
                same_type=found[0].same_type,
                metric=found[0].metric,
                n=min(pair.n for pair in found),
                score=fmean(pair.score for pair in found),
                ci95=[fmean(pair.ci95[end] for pair in found) for end in (0, 1)],
                own=fmean(pair.own for pair in found),
                own_ci95=[fmean(pair.own_ci95[end] for pair in found) for end in (0, 1)],
                floors={name: fmean(pair.floors[name] for pair in found) for name in found[0].floors},
                removed_overlap=sum(pair.removed_overlap for pair in found),
            )
        )
    return means


# -- Markdown ------------------------------------------------------------------------------------------


def _by_task(cells: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        found[cell["asked"]["task"]].append(cell)
    return dict(sorted(found.items(), key=lambda item: (item[1][0]["asked"]["task_type"], item[0])))


def _values(cells: Sequence[dict[str, Any]], name: str) -> str:
    return " or ".join(map(str, sorted({cell[name] for cell in cells})))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def _short(task: str) -> str:
    return task.removeprefix("mini/")
