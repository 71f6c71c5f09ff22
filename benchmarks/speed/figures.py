"""Cost against what it grows with, and the line that the arithmetic predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from speed.growth import STILL

_AXES = ("prompt length", "text length", "batch", "prompts")
_COLOURS = {"train": "#1f6fb2", "eval": "#c8571b"}
_NAMES = {"train": "training step", "eval": "evaluation"}


def growth(found: Sequence[dict[str, Any]], folder: Path) -> list[tuple[str, str]]:
    """A figure a shape and dtype; file names and titles. Nothing without matplotlib or measurements."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    drawn = []
    for shape, device, dtype in sorted({(each["shape"], each["device"], each["dtype"]) for each in found}):
        points = [each for each in found if (each["shape"], each["dtype"]) == (shape, dtype)]
        still = next((each for each in points if each["detail"] == "still"), None)
        if still is None or len(points) < 2:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        name = f"growth-{shape}-{device}-{dtype}.png"
        _draw(points, still, f"{shape}, {device}, {dtype}", folder / name)
        drawn.append(
            (name, f"How the cost of {shape} grows on {device} in {dtype}, and what arithmetic predicts")
        )
    return drawn


def _draw(points: Sequence[dict[str, Any]], still: dict[str, Any], title: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(_AXES), figsize=(16, 4), layout="constrained")
    for axis, panel in zip(_AXES, panels, strict=True):
        here = sorted((each for each in points if each.get("axis") == axis), key=lambda each: each["value"])
        for mode, colour in _COLOURS.items():
            chosen = [each for each in here if mode in each["seconds"]]
            if not chosen:
                continue
            values = [each["value"] for each in chosen]
            seconds = [each["seconds"][mode] for each in chosen]
            middle = [median(each) for each in seconds]
            spread = [
                [centre - min(each) for centre, each in zip(middle, seconds, strict=True)],
                [max(each) - centre for centre, each in zip(middle, seconds, strict=True)],
            ]
            panel.errorbar(
                values, middle, spread, fmt="o", color=colour, capsize=3, label=f"{_NAMES[mode]}, measured"
            )
            panel.plot(
                values, predicted(chosen, still, mode), color=colour, linestyle="--",
                label=f"{_NAMES[mode]}, predicted",
            )  # fmt: skip
        panel.set_xlabel(axis)
        panel.set_ylim(bottom=0)
        panel.set_xlim(0, 1.05 * max((each["value"] for each in here), default=1))
    panels[0].set_ylabel("seconds")
    if panels[0].has_data():
        panels[0].legend(fontsize=8)
    held = ", ".join(f"{name} {value}" for name, value in STILL.items())
    figure.suptitle(f"{title}; what does not grow: {held}")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def predicted(points: Sequence[dict[str, Any]], still: dict[str, Any], mode: str) -> list[float]:
    """Seconds of each point at the rate of operations that ``still`` reached."""
    rate = still["operations"][mode] / median(still["seconds"][mode])
    return [each["operations"][mode] / rate for each in points]
