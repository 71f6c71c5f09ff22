"""The tour of ``prompt-hub quickstart``: its transfer and its warm start."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.matrix import both_views
from prompt_hub.overview.notices import left_out, negative_transfer
from prompt_hub.overview.words import command_text, listed, plural, score
from prompt_hub.reports.figures import FLOOR_NAMES, draw_starts, draw_transfer
from prompt_hub.reports.html.blocks import Figure, Notice, Panels, Section, Table
from prompt_hub.reports.html.charts import Line, Rule, line_chart
from prompt_hub.transfer.view import Cell, View

ABOVE_MAJORITY = "Mean of (score - majority) / (own - majority), own prompt surely above the majority class"
_GROUPS = {"same_type": "same type", "different_type": "other type"}


def tour_sections(found: Found, records: Records) -> list[Section]:
    """One of transfer and one of the warm start, as far as the tour went."""
    data, place = found.data, records.name(found.folder)
    command = command_text(data.get("command")) or _command(data, found.folder)
    sections = []
    if data.get("transfer"):
        sections.append(_transfer(data, place))
    if data.get("warm_start"):
        sections.append(_warm_start(data["warm_start"], data, place))
    for section in sections:
        section.place, section.command = str(found.path), command
        if data["status"] != "done":
            section.notices.append(
                Notice("unfinished", f"The tour in {place} was not finished; the same command goes on.")
            )
    return sections


def _command(data: Mapping[str, Any], folder: Path) -> str:
    """Of a tour that did not store it."""
    settings = data["settings"]
    names = ",".join(task["name"] for task in data["tasks"])
    return shlex.join(
        ["prompt-hub", "quickstart", "--backbone", data["backbone"]["name"], "--tasks", names, "--steps",
         str(settings["steps"]), "--seed", str(settings["seed"]), "--output", str(folder)]
    )  # fmt: skip


def _transfer(data: Mapping[str, Any], place: str) -> Section:
    result, tasks = data["transfer"], data["transfer"]["tasks"]
    pairs = {(pair["source"], pair["target"]): pair for pair in result["pairs"]}
    rows = {task["name"]: task["n_validation"] for task in data["tasks"]}
    metrics = {pair["target"]: pair["metric"] for pair in result["pairs"]}
    section = Section(
        title=f"Zero-shot transfer: {place}",
        lead=f"The prompts of {listed(tasks)} on each other's tasks, without training "
        f"({plural(len(pairs), 'pair')}, {data['backbone']['name']}, seed {data['settings']['seed']}). "
        "The target's own template and label words are used.",
        facts=[
            ("Backbone", data["backbone"]["name"]),
            ("Prompt rows", str(data["settings"]["prompt_len"])),
            ("Training steps a task", str(data["settings"]["steps"])),
            ("Validation rows a task", ", ".join(dict.fromkeys(f"{count:,}" for count in rows.values()))),
        ],
    )

    def facts(source: str, target: str) -> list[str]:
        own, metric = result["own"][target], metrics.get(target, "score")
        if source in FLOOR_NAMES:
            value = result["floors"][target][source]
            return [f"{FLOOR_NAMES[source]} on {target}", f"{metric} {value:.3f}, n = {rows[target]}"]
        if source == target:
            return [f"Prompt of {source} on its own task", f"{metric} {own:.3f}, n = {rows[target]}"]
        return _facts(pairs[source, target]) if (source, target) in pairs else []

    views = {relative: _view(result, rows, relative) for relative in (False, True)}
    section.content.append(
        Figure(
            "transfer", "Every prompt on every task",
            both_views(views, facts),
            [_pair_table(result["pairs"])],
            draws={"transfer": views[False].draw, "transfer-relative": partial(draw_transfer, result)},
        )
    )  # fmt: skip
    section.content += [
        _means(result, "Mean of score / own score", "relative", "pairs"),
        _means(result, ABOVE_MAJORITY, "above_majority", "pairs_above_majority"),
    ]  # fmt: skip
    section.notices += _notices(result, place)
    return section


def _facts(pair: Mapping[str, Any]) -> list[str]:
    low, high = pair["ci95"]
    lines = [
        f"Prompt of {pair['source']} on {pair['target']}",
        f"{pair['metric']} {pair['score']:.3f} (95%: {low:.3f} to {high:.3f}), n = {pair['n']}",
    ]
    if pair["relative"] is not None:
        lines.append(f"{100 * pair['relative']:.0f}% of the own prompt's {pair['own']:.3f}")
    lines.append(
        "same rows: "
        + ", ".join(f"{FLOOR_NAMES[name]} {value:.3f}" for name, value in pair["floors"].items())
    )
    if pair["removed_overlap"]:
        lines.append(f"{pair['removed_overlap']} rows left out: the prompt was trained on them")
    if pair["negative"]:
        lines.append("surely below the backbone without a prompt: negative transfer")
    return lines


def _view(result: Mapping[str, Any], rows: Mapping[str, int], relative: bool) -> View:
    types = dict(zip(result["tasks"], result["types"], strict=True))
    cells = {}
    for pair in result["pairs"]:
        value = pair["relative"] if relative else pair["score"]
        low, high = (None, None) if relative else pair["ci95"]
        cells[pair["source"], pair["target"]] = Cell(value, low, high, negative=pair["negative"])
    for task, own in result["own"].items():
        unit = own if relative else 1.0
        if unit:
            cells[task, task] = Cell(own / unit, own=True)
            for name, value in result["floors"][task].items():
                cells[name, task] = Cell(value / unit)
    floors = [name for name in FLOOR_NAMES if any(name in each for each in result["floors"].values())]
    return View(
        list(types.items()),
        floors,
        [(name, kind, rows[name]) for name, kind in types.items()],
        cells,
        relative,
    )


def _pair_table(pairs: list[dict[str, Any]]) -> Table:
    rows = [
        [pair["source"], pair["target"], pair["metric"], score(pair["score"], pair["ci95"]), pair["relative"],
         pair["own"], *(pair["floors"].get(name) for name in FLOOR_NAMES), pair["n"], pair["removed_overlap"]]
        for pair in pairs
    ]  # fmt: skip
    head = ["prompt of", "used on", "metric", "score (95%)", "share of own", "own", *FLOOR_NAMES.values(),
            "n", "rows left out"]  # fmt: skip
    return Table("pairs", "The numbers of every pair", head, rows, folded=True)


def _means(result: Mapping[str, Any], title: str, figure: str, count: str) -> Table:
    rows = [
        [name, result[kind][count], result[kind][figure],
         *(result[kind][f"{figure}_of_floors"].get(floor) for floor in FLOOR_NAMES)]
        for kind, name in _GROUPS.items()
    ]  # fmt: skip
    return Table(
        f"means-{figure.replace('_', '-')}",
        title,
        ["from a task of", "pairs", "prompt", *FLOOR_NAMES.values()],
        rows,
    )


def _notices(result: Mapping[str, Any], place: str) -> list[Notice]:
    found = []
    for pair in result["pairs"]:
        if pair["negative"]:
            about = pair["source"], pair["target"], pair["score"], pair["floors"]["no_prompt"], pair["n"]
            found.append(negative_transfer(*about, place))
    for pair in result["pairs"]:
        if pair["removed_overlap"]:
            found.append(left_out(pair["removed_overlap"], pair["source"], pair["target"], place))
    for source, target in result["without_rows"]:
        found.append(
            Notice("overlap", f"{source} on {target}: no row is left that the prompt has not seen ({place}).")
        )
    return found


def _warm_start(result: Mapping[str, Any], data: Mapping[str, Any], place: str) -> Section:
    names = {"warm": f"from the prompt of {result['source']}", "scratch": "from scratch"}
    lines = []
    for style, (name, label) in enumerate(names.items()):
        points = result["scores"][name]
        low, high = zip(*(point["ci95"] for point in points), strict=True)
        steps, scores = [point["steps"] for point in points], [point["score"] for point in points]
        lines.append(Line(label, steps, scores, style, low=low, high=high))  # fmt: skip
    full = result["full"]
    rules = [Rule(f"own prompt, {full['steps']} steps", full["score"])]
    if "majority" in result["floors"]:
        rules.append(Rule("majority class", result["floors"]["majority"]))
    chart = line_chart(
        result["target"], lines, "training steps", f"{result['metric']} (n = {result['n']})", rules
    )
    rows = [
        [names[name], point["steps"], score(point["score"], point["ci95"])]
        for name in names
        for point in result["scores"][name]
    ]
    numbers = Table(
        "starts", "The numbers", ["start", "steps", f"{result['metric']} (95%)"], rows, folded=True
    )
    zero = result["zero_shot"]
    as_it_is = (
        "" if zero is None else f" Without any training the prompt of {result['source']} has {zero:.3f}."
    )
    section = Section(
        title=f"A few steps from another prompt: {place}",
        lead=f"{result['target']} trained for a few steps from the prompt of {result['source']} and from "
        f"scratch ({data['backbone']['name']}).{as_it_is} One pair and one seed: an example, no finding.",
    )
    section.content.append(
        Figure("warm-start", "Score after a few steps", Panels([chart], list(enumerate(names.values()))),
               [numbers], draws={"warm-start": partial(draw_starts, result)})
    )  # fmt: skip
    return section
