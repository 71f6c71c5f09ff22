"""Figures of neurons: layers by neurons, overlap by layer, scores under masking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_hub.reports.figures import COLOURS, axes_for

_COLUMNS = 96
"""Neurons are put together into at most so many columns: thousands of single ones cannot be seen."""
_CHOICE_COLOURS = {
    "top": "#d55e00",
    "random": "#56b4e9",
    "random-active": "#0072b2",
    "bottom": "#999999",
    "other-task": "#cc79a7",
    "common": "#009e73",
    "specific": "#e69f00",
}


def draw_neurons(
    values: Mapping[str, Any], overlaps: Mapping[str, list[float]], path: Path, what: str = "activation"
) -> Any:
    """``draw_condensed`` of values ``[L, F]`` by name."""
    return draw_condensed(condensed(values), overlaps, path, what)


def condensed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values ``[L, F]`` by name as a map that can be seen.

    In every map a layer's neurons stand in the order of the first prompt's values, the highest on the left,
    so that another prompt looks like the first as far as it activates the same ones; neighbours are averaged
    into at most 96 columns. ``values``: ``[L, columns]`` by name; ``limit``: where colours end, the 99th
    percentile; ``width``: F; ``active``: share of the first prompt's neurons above 0, by layer. Plain lists
    and numbers.
    """
    import numpy as np

    arrays = {name: np.asarray(value, np.float64) for name, value in values.items()}
    first = next(iter(arrays.values()))
    width = first.shape[1]
    order = np.argsort(-first, axis=1, kind="stable")
    parts = np.array_split(np.arange(width), min(width, _COLUMNS))
    columns = {
        name: np.stack([np.take_along_axis(array, order, 1)[:, part].mean(1) for part in parts], 1)
        for name, array in arrays.items()
    }
    return {
        "values": {name: array.tolist() for name, array in columns.items()},
        "limit": float(np.quantile(np.abs(np.concatenate(list(columns.values()))), 0.99)) or 1.0,
        "width": width,
        "active": (first > 0).mean(1).tolist(),
    }


def draw_condensed(
    shown: Mapping[str, Any], overlaps: Mapping[str, list[float]], path: Path, what: str = "activation"
) -> Any:
    """A heat map a prompt, layers by neurons, and one panel of numbers by layer; the figure.

    shown: of ``condensed``. overlaps: ON with the first prompt by layer, by name; without any the last panel
    is the share of active neurons.
    """
    import numpy as np

    arrays = {name: np.asarray(value) for name, value in shown["values"].items()}
    layers, width, limit = len(next(iter(arrays.values()))), shown["width"], shown["limit"]
    height = max(2.6, 1.4 + 0.16 * layers)
    with axes_for(path, (3.4 * (len(arrays) + 1) + 0.6, height), len(arrays) + 1) as (figure, panels):
        for axes, (name, array) in zip(panels, arrays.items(), strict=False):
            image = axes.imshow(
                array, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", extent=(0, width, layers, 0),
                interpolation="nearest",
            )  # fmt: skip
            axes.set_title(name, fontsize=9)
            _layer_ticks(axes, layers)
            axes.set_xlabel("neurons, by value" + (" under the first prompt" if len(arrays) > 1 else ""))
        panels[0].set_ylabel("layer")
        figure.colorbar(image, ax=panels[: len(arrays)], label=f"mean {what}", shrink=0.9)
        last, places = panels[-1], np.arange(layers) + 0.5
        if overlaps:
            for name, by_layer in overlaps.items():
                last.plot(by_layer, places, marker="o", markersize=3, label=name)
            last.set_xlabel(f"ON with {next(iter(arrays))}")
            last.legend(frameon=False, fontsize=7)
        else:
            last.barh(places, shown["active"], color=COLOURS["prompt"])
            last.set_xlabel("share of active neurons")
        last.set_xlim(0, 1)
        last.set_ylim(layers, 0)
        _layer_ticks(last, layers)
    return figure


def draw_masking(result: Mapping[str, Any], path: Path) -> Any:
    """A panel a target: its score over the share of held neurons, by how they were chosen; the figure.

    result: ``MaskingStudy.summary``. Bands are the intervals; points are single draws.
    """
    targets = result["targets"]
    with axes_for(path, (4.4 * len(targets) + 0.4, 3.8), len(targets)) as (figure, panels):
        for axes, target in zip(panels, targets, strict=True):
            groups = [group for group in result["summary"] if group["target"] == target]
            unmasked = next(
                cell for cell in result["cells"] if cell["target"] == target and cell["choice"] == "unmasked"
            )
            axes.axhline(unmasked["score"], color="black", linewidth=1, label="no neuron held")
            majority = unmasked["floors"].get("majority", {}).get(unmasked["metric"])
            if majority is not None:
                axes.axhline(majority, color=COLOURS["majority"], linestyle="--", label="majority class")
            for choice in result["choices"]:
                drawn = sorted((g for g in groups if g["choice"] == choice), key=lambda g: g["ratio"])
                ratios = [group["ratio"] for group in drawn]
                colour = _CHOICE_COLOURS[choice]
                axes.plot(ratios, [g["mean"] for g in drawn], marker="o", color=colour, label=choice)
                low, high = zip(*(group["interval"] for group in drawn), strict=True)
                if len(ratios) > 1:
                    axes.fill_between(ratios, low, high, color=colour, alpha=0.15, linewidth=0)
                else:
                    axes.vlines(ratios, low, high, color=colour, alpha=0.5)
                for group in drawn:
                    if len(group["scores"]) > 1:
                        draws = [group["ratio"]] * len(group["scores"])
                        axes.plot(draws, group["scores"], ".", color=colour, markersize=4)
            axes.set_title(f"{target} ({unmasked['relation']}, n = {unmasked['n']})", fontsize=9)
            axes.set_xlabel("share of neurons held")
            axes.set_ylabel(unmasked["metric"])
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


def _layer_ticks(axes: Any, layers: int) -> None:
    step = 1 if layers <= 12 else 4
    axes.set_yticks([layer + 0.5 for layer in range(0, layers, step)], range(0, layers, step))
