"""Comparisons of starts: learning curves, final scores, speed-ups."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text, plural, score
from prompt_hub.reports.html.blocks import Figure, Notice, Panels, Section, Table
from prompt_hub.reports.html.charts import Line, Rule, line_chart
from prompt_hub.reports.learning_curves import draw_learning_curves
from prompt_hub.transfer.starts_document import score_rows, speed_up_rows

_STYLES = {"warm": 0, "cold": 1, "untrained": 2, "other": 3}


def warm_start_section(found: Found, records: Records) -> Section:
    result, place = found.data["result"], records.name(found.folder)
    section = Section(
        title=f"Warm start: {place}",
        lead="",
        place=str(found.path),
        command=command_text(found.data.get("command")),
    )
    if found.data["status"] != "done":
        section.lead = f"Training on {found.data['settings'].get('task')} from several starts."
        text = f"The comparison in {place} was not finished; the same command goes on."
        section.notices.append(Notice("unfinished", text))
        return section
    seeds, source = ", ".join(map(str, result["seeds"])), result["source"]
    section.lead = (
        f"{result['task']} trained on {result['backbone']} from the prompt of "
        f"{source['task'] or source['place']} and from other starts, with seeds {seeds}. A thin line is a "
        "run, a thick one the mean of its start. Where a run does not get to a result, its speed-up is a "
        "bound."
    )
    section.facts = [
        ("Backbone", result["backbone"]),
        ("Training rows", f"{result['n_train']:,}"),
        ("Held-out rows", f"{result['n_held_out']:,}"),
        ("Validation rows", f"{result['n']:,}"),
    ]
    section.content += [
        _curves(result),
        Table("starts", "Final scores, mean over seeds (95%)", *score_rows(result)),
        Table(
            "speed-up",
            "Speed-up over the cold start, geometric mean over seeds (95%)",
            *speed_up_rows(result),
        ),
        _runs(result),
    ]
    section.notices = _notices(result, place)
    return section


def _curves(result: Mapping[str, Any]) -> Figure:
    labels = {name: start["label"] for name, start in result["starts"].items()}
    charts = []
    for name in result["runs"][0]["curves"]:
        sign = -1 if name == "loss" else 1
        lines: list[Line] = []
        for start, label in labels.items():
            runs = [run for run in result["runs"] if run["start"] == start]
            curves = [run["curves"][name] for run in runs]
            style = _STYLES.get(start, 4)
            lines += [
                Line(
                    f"{label}, seed {run['seed']}",
                    curve["steps"],
                    _signed(curve["values"], sign),
                    style,
                    True,
                )
                for run, curve in zip(runs, curves, strict=True)
            ]
            # The mean ends where the first of its runs does.
            shared = min(len(curve["steps"]) for curve in curves)
            values = zip(*(curve["values"][:shared] for curve in curves), strict=True)
            mean = [sign * sum(several) / len(several) for several in values]
            lines.append(Line(f"{label}, mean", curves[0]["steps"][:shared], mean, style))
        metric = f"held-out {result['metric']}" if name == "score" else "held-out loss"
        rules = [Rule("majority class", result["floors"]["majority"])] if _has_majority(result, name) else []
        charts.append(
            line_chart(metric.capitalize(), lines, f"training steps on {result['task']}", metric, rules)
        )
    legend = [(_STYLES.get(name, 4), label) for name, label in labels.items()]
    rows = [
        [run["label"], run["seed"], name, step, -value if name == "loss" else value]
        for run in result["runs"]
        for name, curve in run["curves"].items()
        for step, value in zip(curve["steps"], curve["values"], strict=True)
    ]
    numbers = Table("curves", "The numbers of the curves", ["start", "seed", "curve", "step", "value"], rows,
                    folded=True)  # fmt: skip
    return Figure("learning-curves", "Learning curves", Panels(charts, legend), [numbers],
                  draws={"learning-curves": partial(draw_learning_curves, result)})  # fmt: skip


def _has_majority(result: Mapping[str, Any], curve: str) -> bool:
    return curve == "score" and "majority" in result["floors"]


def _signed(values: list[float], sign: int) -> list[float]:
    return [sign * value for value in values]


def _runs(result: Mapping[str, Any]) -> Table:
    rows = [
        [run["label"], run["seed"], score(run["score"], run["ci95"]), run["steps"], run["folder"]]
        for run in result["runs"]
    ]
    head = ["start", "seed", f"{result['metric']} (95%)", "steps", "folder"]
    return Table("runs", "Every run", head, rows, folded=True)


def _notices(result: Mapping[str, Any], place: str) -> list[Notice]:
    found = [Notice("other", f"{message} ({place})") for message in result["warnings"]]
    for run in result["runs"]:
        where = f"{result['task']}, {run['label']}, seed {run['seed']}"
        found += [Notice("not learning", f"{where}: {line} ({place})") for line in run["diagnosis"]]
    for split, count in result["removed_overlap"].items():
        if count:
            rows = plural(count, f"{split} row")
            text = f"{rows} of {result['task']} left out, since a prompt was trained on their text"
            found.append(Notice("overlap", f"{text} ({place})."))
    return found
