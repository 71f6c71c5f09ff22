"""Figures, drawn from results as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FLOOR_NAMES = {"majority": "majority class", "random_prompt": "random prompt", "no_prompt": "no prompt"}
# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = {"majority": "#bbbbbb", "random_prompt": "#56b4e9", "no_prompt": "#e69f00", "prompt": "#0072b2"}


def draw_scores(results: Sequence[Mapping[str, Any]], titles: Sequence[str], path: Path) -> Path:
    """A bar group a result (``Evaluation.to_dict()``): its floors and its score with the 95% interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(1.6 + 2.4 * len(results), 3.4), layout="constrained")
    bars = [*FLOOR_NAMES, "prompt"]
    labels = {**FLOOR_NAMES, "prompt": "trained prompt"}
    width = 0.8 / len(bars)
    for index, name in enumerate(bars):
        for place, result in enumerate(results):
            metric = result["primary_metric"]
            values = result["metrics"] if name == "prompt" else result["floors"].get(name)
            if values is None:
                continue
            x, value = place + (index - (len(bars) - 1) / 2) * width, values[metric]
            interval = result["ci95"].get(metric) if name == "prompt" else None
            error = [[value - interval[0]], [interval[1] - value]] if interval else None
            axes.bar(x, value, width * 0.92, color=COLOURS[name], label=labels[name], yerr=error, capsize=3)
            top = interval[1] if interval else value
            axes.text(x, top + 0.015, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(results)), titles)
    axes.set_ylabel(results[0]["primary_metric"])
    axes.set_ylim(0, 1.12)
    axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    first = {name: handle for handle, name in zip(handles, names, strict=True)}
    figure.legend(
        first.values(), first.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=8
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
