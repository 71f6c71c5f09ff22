"""Neurons of several prompts compared, as ``prompt-hub neurons overlap --output FILE`` stores it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text, listed
from prompt_hub.reports.html.blocks import Figure, Panels, Section, Table
from prompt_hub.reports.html.charts import STYLES, Line, line_chart, tile_map
from prompt_hub.reports.neuron_figures import draw_condensed

MOST_MAPS = 24


def overlap_section(found: Found, records: Records) -> Section:
    result, place = found.data["result"], records.name(found.path)
    names = [one["name"] for one in result["prompts"]]
    section = Section(
        title=f"Neurons of prompts: {place}",
        lead=f"The feed-forward neurons of {result['backbone']} under {listed(names)}, value "
        f"{result['value']!r} at position {result['positions']!r}. ON is the share that two prompts activate "
        "alike.",
        place=str(found.path),
        facts=[("Backbone", result["backbone"]), ("Stack", result["stack"]), ("Prompts", str(len(names)))],
        command=command_text(found.data.get("command")),
    )
    section.content += [_by_layer(result), _map(result), _table(result)]
    return section


def _by_layer(result: Mapping[str, Any]) -> Figure:
    """A panel a measure: overlap with the first prompt, by layer."""
    first = result["prompts"][0]["name"]
    pairs = [pair for pair in result["pairs"] if pair["first"] == first]
    measures = list(pairs[0]["measures"])
    charts = [
        line_chart(
            measure,
            [
                Line(pair["second"], list(range(len(pair["measures"][measure]["by_layer"]))),
                     pair["measures"][measure]["by_layer"], number)
                for number, pair in enumerate(pairs[:STYLES])
            ],
            "layer",
            f"overlap with {first}",
        )
        for measure in measures
    ]  # fmt: skip
    rows = [
        [pair["first"], pair["second"], measure, layer, value]
        for pair in result["pairs"]
        for measure in measures
        for layer, value in enumerate(pair["measures"][measure]["by_layer"])
    ]
    head = ["prompt", "prompt", "measure", "layer", "overlap"]
    return Figure(
        "overlap", f"Overlap with {first} by layer",
        Panels(charts, [(number, pair["second"]) for number, pair in enumerate(pairs[:STYLES])]),
        [Table("overlap-by-layer", "The numbers of every pair", head, rows[:5000], folded=True)],
    )  # fmt: skip


def _map(result: Mapping[str, Any]) -> Figure:
    shown = result["map"]
    charts = [
        tile_map(name, values, shown["limit"], "layer", "neurons, ordered by the first prompt's values")
        for name, values in list(shown["values"].items())[:MOST_MAPS]
    ]
    caption = (
        f"A row a layer; blue above and orange below 0, full at {shown['limit']:.3g}. In every map a layer's "
        "neurons stand in the order of the first prompt's values, neighbours averaged, so that another "
        "prompt looks like the first as far as it activates the same ones."
    )
    return Figure("neurons", "Neuron map", Panels(charts, caption=caption),
                  draws={"neurons": partial(draw_condensed, shown, _by_first(result))})  # fmt: skip


def _by_first(result: Mapping[str, Any]) -> dict[str, list[float]]:
    """ON with the first prompt by layer, where it was taken."""
    first = result["prompts"][0]["name"]
    return {
        pair["second"]: pair["measures"]["on"]["by_layer"]
        for pair in result["pairs"]
        if pair["first"] == first and "on" in pair["measures"]
    }


def _table(result: Mapping[str, Any]) -> Table:
    measures = list(result["pairs"][0]["measures"])
    rows = [
        [pair["first"], pair["second"], *(pair["measures"][measure]["all"] for measure in measures)]
        for pair in result["pairs"]
    ]
    return Table("overlap", "Overlap over all layers", ["prompt", "prompt", *measures], rows)
