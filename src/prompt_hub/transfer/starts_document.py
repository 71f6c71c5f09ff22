"""A comparison of starts as tables for people: final scores, and speed-ups with their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SIGNS = {"exact": "", "at least": ">= ", "at most": "<= "}


def score_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: every start's final score and what it is above the cold start; the floors in brackets.

    result: of ``compare_starts``.
    """
    rows = [
        [name, _over(found["score"]), _over(found["gain"], "+") if "gain" in found else ""]
        for name, found in result["starts"].items()
    ]
    rows += [[f"({name.replace('_', ' ')})", f"{value:.3f}", ""] for name, value in result["floors"].items()]
    return ["start", result["metric"], "above the cold start"], rows


def speed_up_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: how much faster than the cold start, by each learning curve."""
    rows = [
        [name, curve, _speed_up(speed_up["comparable"]), _speed_up(speed_up["convergence"])]
        for name, found in result["starts"].items()
        for curve, speed_up in found.get("speed_up", {}).items()
    ]
    return ["start", "by", "to its best result", "to convergence"], rows


def _over(found: Mapping[str, Any], sign: str = "") -> str:
    value = f"{found['mean']:{sign}.3f}"
    return value if found["ci95"] is None else f"{value} ({found['ci95'][0]:.3f} to {found['ci95'][1]:.3f})"


def _speed_up(found: Mapping[str, Any]) -> str:
    """The mean with its interval, or with its sign and how many of the seeds' ratios are bounds only."""
    counts, ci95 = found["counts"], found["ci95"]
    notes = [
        f"{counts[bound]} of {sum(counts.values())} {name}"
        for bound, name in {"at least": ">=", "at most": "<=", "undefined": "undefined"}.items()
        if counts[bound]
    ]
    if ci95 is not None:
        notes.insert(0, f"{ci95[0]:.2f} to {ci95[1]:.2f}")
    value = "undefined" if found["mean"] is None else f"{_SIGNS[found['bound']]}{found['mean']:.2f}x"
    return f"{value} ({', '.join(notes)})" if notes else value
