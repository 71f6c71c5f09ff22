"""Figures, drawn from results as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

FLOOR_NAMES = {"majority": "majority class", "random_prompt": "random prompt", "no_prompt": "no prompt"}
# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = {"majority": "#bbbbbb", "random_prompt": "#56b4e9", "no_prompt": "#e69f00", "prompt": "#0072b2"}
_FEW = 4


def draw_scores(results: Sequence[Mapping[str, Any]], titles: Sequence[str], path: Path) -> Path:
    """A bar group a result (``Evaluation.to_dict()``): its floors and its score with the 95% interval."""
    bars = [*FLOOR_NAMES, "prompt"]
    labels = {**FLOOR_NAMES, "prompt": "trained prompt"}
    width = 0.8 / len(bars)
    few = len(results) <= _FEW
    with _axes(path, (1.6 + (2.4 if few else 1.3) * len(results), 3.4 if few else 4.2)) as (figure, axes):
        for index, name in enumerate(bars):
            for place, result in enumerate(results):
                metric = result["primary_metric"]
                values = result["metrics"] if name == "prompt" else result["floors"].get(name)
                if values is None:
                    continue
                x, value = place + (index - (len(bars) - 1) / 2) * width, values[metric]
                interval = result["ci95"].get(metric) if name == "prompt" else None
                error = [[value - interval[0]], [interval[1] - value]] if interval else None
                axes.bar(
                    x, value, width * 0.92, color=COLOURS[name], label=labels[name], yerr=error, capsize=3
                )
                top = max(interval[1] if interval else value, 0)
                turned = {} if few else {"rotation": 90}
                axes.text(x, top + 0.015, f"{value:.2f}", ha="center", va="bottom", fontsize=8, **turned)
        axes.set_xticks(range(len(results)), titles, **({} if few else {"rotation": 20, "ha": "right"}))
        axes.set_ylabel(", ".join(dict.fromkeys(result["primary_metric"] for result in results)))
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.12)
        handles, names = axes.get_legend_handles_labels()
        first = dict(zip(names, handles, strict=True))
        where: dict[str, Any] = {"loc": "outside upper center", "ncols": 4, "frameon": False, "fontsize": 8}
        figure.legend(first.values(), first.keys(), **where)
    return path


def draw_transfer(result: Mapping[str, Any], path: Path) -> Path:
    """A heat map of scores relative to the target's own prompt: prompts in rows, targets in columns.

    result: ``tasks`` and ``types`` in one order (those of a type together), ``own`` scores and ``floors`` by
    task, and ``pairs`` (``Pair.to_dict()``). The floors stand below the line.
    """
    import numpy as np

    tasks, own = result["tasks"], result["own"]
    floors = [name for name in FLOOR_NAMES if any(name in result["floors"][task] for task in tasks)]
    values = np.full((len(tasks) + len(floors), len(tasks)), np.nan)
    column = {task: place for place, task in enumerate(tasks)}
    for pair in result["pairs"]:
        if pair["relative"] is not None:
            values[column[pair["source"]], column[pair["target"]]] = pair["relative"]
    for task, place in column.items():
        if own[task] > 0:
            values[place, place] = 1.0
            for row, name in enumerate(floors, len(tasks)):
                values[row, place] = result["floors"][task].get(name, np.nan) / own[task]
    return draw_heat_map(
        values,
        [*(f"prompt of {task}" for task in tasks), *(FLOOR_NAMES[name] for name in floors)],
        tasks,
        path,
        row_types=result["types"],
        column_types=result["types"],
        label="score / score of the target's own prompt (numbers: %)",
    )


def draw_heat_map(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    path: Path,
    *,
    row_types: Sequence[str],
    column_types: Sequence[str],
    label: str,
    marks: Mapping[tuple[int, int], str] | None = None,
) -> Path:
    """Shares or scores ``[rows, columns]``, printed as %; NaN stays empty.

    row_types, column_types: those of one type stand together, white lines between them. Rows behind the last
    of ``row_types`` are floors, below a black line. marks: text behind, or instead of, a number.
    """
    import numpy as np

    marks = marks or {}
    cell = 0.52 if len(columns) > _FEW else 0.9
    with _axes(path, (3.4 + cell * len(columns), 1.8 + cell * 0.8 * len(rows))) as (figure, axes):
        shown = np.ma.masked_invalid(values)
        known = shown.compressed()
        low, high = min([0.0, *known]), max([1.0, *known])
        image = axes.imshow(shown, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for (row, place), value in np.ndenumerate(values):
            finite = np.isfinite(value)
            text = (f"{100 * value:.0f}" if finite else "") + marks.get((row, place), "")
            if text:
                dark = finite and value < (low + high) / 2
                axes.text(place, row, text, ha="center", va="center", fontsize=8,
                          color="white" if dark else "black")  # fmt: skip
        axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        for end in _group_ends(row_types):
            axes.axhline(end - 0.5, color="white", linewidth=2)
        for end in _group_ends(column_types):
            axes.axvline(end - 0.5, color="white", linewidth=2)
        axes.axhline(len(row_types) - 0.5, color="black", linewidth=2)
        axes.set_xlabel("used on")
        figure.colorbar(image, ax=axes, label=label)
    return path


def draw_starts(result: Mapping[str, Any], path: Path) -> Path:
    """Scores after a few steps, from another task's prompt and from scratch, with 95% intervals.

    result: ``source``, ``target``, ``metric``, ``n``, ``scores`` (``warm`` and ``scratch``, lists of steps,
    score, ci95), ``zero_shot``, ``full`` (steps, score) and ``floors``.
    """
    labels = {"warm": f"from the prompt of {result['source']}", "scratch": "from scratch"}
    colours = {"warm": COLOURS["prompt"], "scratch": COLOURS["no_prompt"]}
    with _axes(path, (6.4, 3.8)) as (figure, axes):
        for shift, (name, points) in zip((-1, 1), result["scores"].items(), strict=True):
            # Set a little apart, or one would hide the other where they agree.
            apart = shift * points[-1]["steps"] / 150
            steps, scores = [point["steps"] + apart for point in points], [point["score"] for point in points]
            below = [score - point["ci95"][0] for score, point in zip(scores, points, strict=True)]
            above = [point["ci95"][1] - score for score, point in zip(scores, points, strict=True)]
            axes.errorbar(steps, scores, [below, above], color=colours[name], label=labels[name], marker="o",
                          capsize=3)  # fmt: skip
        if result["zero_shot"] is not None:
            axes.plot(0, result["zero_shot"], "D", color=colours["warm"], label=f"{labels['warm']}, as it is")
        full = result["full"]
        axes.axhline(full["score"], color="black", linewidth=1, label=f"own prompt, {full['steps']} steps")
        if "majority" in result["floors"]:
            axes.axhline(result["floors"]["majority"], color=COLOURS["majority"], label="majority class")
        axes.set_xlabel(f"training steps on {result['target']}")
        axes.set_ylabel(f"{result['metric']} (n = {result['n']})")
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return path


_DOTS = 150
"""An inch of a .png, where nothing else is asked for."""


@contextmanager
def for_print() -> Iterator[None]:
    """Figures drawn in the block are for a paper: 300 dots an inch, letters as letters in .pdf and .svg."""
    from matplotlib import rc_context

    with rc_context({"savefig.dpi": 300, "pdf.fonttype": 42, "svg.fonttype": "none"}):
        yield


@contextmanager
def axes_for(
    path: Path, size: tuple[float, float], panels: int = 1, columns: int | None = None
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure of ``size`` inches and its axes, ``columns`` a row (default all); written when the block ends
    well.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = columns or panels
    rows = -(-panels // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    try:
        for axes in grid.flat:
            axes.spines[["top", "right"]].set_visible(False)
        for axes in grid.flat[panels:]:
            axes.set_visible(False)
        yield figure, list(grid.flat[:panels])
        path.parent.mkdir(parents=True, exist_ok=True)
        dots = matplotlib.rcParams["savefig.dpi"]
        figure.savefig(path, dpi=_DOTS if dots == "figure" else dots)
    finally:
        pyplot.close(figure)


@contextmanager
def _axes(path: Path, size: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    with axes_for(path, size) as (figure, (axes,)):
        yield figure, axes


def _group_ends(types: Sequence[str]) -> list[int]:
    """Where one type ends and the next begins, without the last end."""
    ends, place = [], 0
    for _, group in groupby(types):
        place += len(list(group))
        ends.append(place)
    return ends[:-1]
