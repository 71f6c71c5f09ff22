"""Figures of indicators beside measured transfer: pairs as points, rank correlation and regret as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_hub.reports.figures import COLOURS, axes_for

_PANELS_A_ROW = 4
_GROUPS = {
    "own prompt": "black",
    "same type": COLOURS["prompt"],
    "other type": COLOURS["no_prompt"],
    "type unknown": COLOURS["majority"],
}


def draw_pairs(pairs: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """A panel an indicator: its value and the measured score of every pair of a target and a source.

    pairs: indicator, target, source, value, score, same_task, same_type (None: unknown).
    """
    names = list(dict.fromkeys(pair["indicator"] for pair in pairs))
    columns = min(_PANELS_A_ROW, len(names))
    rows = -(-len(names) // columns)
    with axes_for(path, (2.9 * columns, 2.6 * rows + 0.5), len(names), columns) as (figure, panels):
        for axes, name in zip(panels, names, strict=True):
            for group, colour in _GROUPS.items():
                points = [each for each in pairs if each["indicator"] == name and pair_group(each) == group]
                axes.scatter(
                    [each["value"] for each in points],
                    [each["score"] for each in points],
                    s=12, color=colour, alpha=0.8, label=group, linewidths=0,
                )  # fmt: skip
            axes.set_xlabel(name)
        for axes in panels[::columns]:
            axes.set_ylabel("measured score")
        shown = [group for group in _GROUPS if any(pair_group(each) == group for each in pairs)]
        handles = dict(zip(_GROUPS, panels[0].get_legend_handles_labels()[0], strict=True))
        where: dict[str, Any] = {"loc": "outside upper center", "ncols": 4, "frameon": False, "fontsize": 8}
        figure.legend([handles[group] for group in shown], shown, **where)
    return path


def draw_agreement(figures: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Rank correlation per target and regret of the first pick, both without self, with 95% intervals.

    figures: rows of ``indicators.validate``. The best indicator stands on top; a tick is what a pick by lot
    loses.
    """
    left = chosen_figures(figures, "spearman")
    left.sort(key=lambda row: row["value"])
    places = {row["indicator"]: place for place, row in enumerate(left)}
    right = [row for row in chosen_figures(figures, "regret@1") if row["indicator"] in places]
    with axes_for(path, (8.4, 1.2 + 0.3 * max(len(places), 3)), 2) as (_, panels):
        for axes, rows, label in (
            (panels[0], left, "Spearman's coefficient, per target"),
            (panels[1], right, "score lost by the first pick"),
        ):
            at = [places[row["indicator"]] for row in rows]
            values = [row["value"] for row in rows]
            errors = [
                [max(row["value"] - row["low"], 0) for row in rows],
                [max(row["high"] - row["value"], 0) for row in rows],
            ]
            axes.barh(at, values, xerr=errors, color=COLOURS["prompt"], capsize=3)
            axes.plot([row["chance"] for row in rows], at, "|", color=COLOURS["no_prompt"], markersize=12)
            axes.axvline(0, color="black", linewidth=1)
            axes.set_xlabel(f"{label} (mark: by lot)")
            axes.set_yticks(list(places.values()), list(places))
        panels[1].set_yticklabels([])
    return path


def pair_group(pair: Mapping[str, Any]) -> str:
    """How the tasks of a pair are related, in words."""
    if pair["same_task"]:
        return "own prompt"
    return {True: "same type", False: "other type", None: "type unknown"}[pair["same_type"]]


def chosen_figures(figures: Sequence[Mapping[str, Any]], statistic: str) -> list[Mapping[str, Any]]:
    """Rows of one statistic per target, without self, that have a value."""
    return [
        row
        for row in figures
        if row["statistic"] == statistic
        and row["protocol"] == "per-target"
        and not row["with_self"]
        and row["value"] == row["value"]
    ]
