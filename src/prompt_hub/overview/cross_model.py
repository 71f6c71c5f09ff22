"""Prompts brought to another backbone: maps, projectors and distillations, each beside its controls."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text, plural, score
from prompt_hub.reports.html.blocks import Figure, Notice, Panels, Section, Table, Text
from prompt_hub.reports.html.charts import Interval, Line, Rule, interval_chart, line_chart

_IGNORED = "ignores its input"


def map_section(found: Found, records: Records) -> Section:
    """A stored map: checked on held-out tokens, or a trained projector judged on tasks."""
    data, place = found.data, records.name(found.folder)
    source, target = data["source"]["name"], data["target"]["name"]
    section = Section(
        title=f"From {source} to {target}: {place}",
        lead=f"A map of prompts by {data['method']}, from {source} to {target}. Beside every score stand "
        "controls: what does as well without the source's prompt shows that the map ignores it.",
        place=str(found.path),
        facts=[("Method", data["method"]), ("From", source), ("To", target)],
        command=_command_beside(found, records),
    )
    if data["train_tasks"]:
        section.facts.append(("Trained on", ", ".join(data["train_tasks"])))
    if "held_out_tokens" in data["metrics"]:
        section.content.append(_tokens(data))
    if "tasks" in data["metrics"]:
        section.content += _judged(data)
    section.notices = [Notice("other", f"{line} ({place})") for line in data["warnings"]]
    for verdict in data["metrics"].get("verdicts", {}).values():
        section.content.append(Text(verdict))
        if _IGNORED in verdict:
            section.notices.append(Notice("ignored input", f"{verdict} ({place})"))
    return section


def projected_section(found: Found, records: Records) -> Section:
    """The output of ``prompt-hub project eval --json``, kept in a file."""
    data, place = found.data, records.name(found.path)
    section = Section(
        title=f"A projected prompt on {data['task']}: {place}",
        lead=f"A prompt brought to {data['backbone']} by {data['method']}, beside its controls on the same "
        "rows.",
        place=str(found.path),
        command=command_text(data.get("command")),
    )
    _beside(section, data, "projected prompt", place)
    return section


def distilled_section(found: Found, records: Records) -> Section:
    result, settings, place = found.data["result"], found.data["settings"], records.name(found.folder)
    source, target = (settings[f"{side}_backbone"]["name"] for side in ("source", "target"))
    section = Section(
        title=f"Distilled from {source} to {target}: {place}",
        lead=f"A prompt of {target} fitted to what {source} answers under its prompt of {settings['task']}, "
        f"on {settings['n']:,} texts without labels.",
        place=str(found.path),
        facts=[("Task", settings["task"]), ("Match", settings["match"]), ("Steps", f"{settings['steps']:,}"),
               ("Prompt rows", str(settings["prompt_len"]))],
        command=command_text(found.data.get("command")),
    )  # fmt: skip
    if found.data["status"] != "done":
        section.notices.append(Notice("unfinished", f"The distillation in {place} was not finished."))
        return section
    section.content.append(_fit(result))
    if "controls" in result:
        _beside(section, result, "distilled prompt", place)
    return section


def _command_beside(found: Found, records: Records) -> str | None:
    """Of the training that made a map. A fitted map stores what its command was, not the command."""
    data = found.data
    if data["training"] is None:
        asked = ["--source-backbone", data["source"]["name"], "--target-backbone", data["target"]["name"]]
        asked += ["--method", data["method"], "--scale", data["scale"], "--seed", str(data["seed"])]
        return shlex.join(["prompt-hub", "project", "fit", *asked, "--output", str(found.folder)])
    return next(
        (
            command_text(one.data.get("command"))
            for one in records.of("project")
            if one.folder == found.folder
        ),
        None,
    )


def _fit(result: Mapping[str, Any]) -> Figure:
    steps, values = zip(*result["curve"], strict=True)
    chart = line_chart(
        f"On {result['held_out']} held-out texts", [Line("divergence", steps, values)], "steps", "divergence",
        [Rule("one answer for every text, at best", result["constant"])],
    )  # fmt: skip
    rows = [[step, value] for step, value in result["curve"]]
    return Figure("fit", "How the fit went", Panels([chart]),
                  [Table("fit", "The numbers", ["step", "divergence"], rows, folded=True)])  # fmt: skip


def _beside(section: Section, result: Mapping[str, Any], judged: str, place: str) -> None:
    """One prompt's score and its controls', in the task's primary metric."""
    metric = result["primary_metric"]
    own, within = result["metrics"][metric], result["ci95"][metric]
    rows: list[list[Any]] = [[judged, score(own, within), None, None]]
    marks = [Interval(judged, own, *within)]
    for line in result["controls"]:
        gain = score(line["gain"], line["gain_ci95"], True)
        rows.append([line["name"], score(line["score"], line["ci95"]), gain,
                     line["same_map"]])  # fmt: skip
        marks.append(Interval(line["name"], line["score"], *line["ci95"]))
    if result.get("majority") is not None:
        rows.append(["majority class", score(result["majority"]), None, None])
    head = ["prompt", f"{metric} (95%)", f"{judged} is above it by (95%)", "made so from another source"]
    table = Table("controls", f"{result['task']}, n = {result['n']}", head, rows)
    chart = interval_chart(str(result["task"]), marks, metric)
    section.content += [
        Figure("controls", "Beside its controls", Panels([chart])),
        table, Text(result["verdict"]),
    ]  # fmt: skip
    if not result["source_matters"]:
        section.notices.append(Notice("ignored input", f"{result['verdict']} ({place})"))
    section.notices += [Notice("other", f"{line} ({place})") for line in result["warnings"]]
    if result.get("removed_overlap"):
        left_out = f"{plural(result['removed_overlap'], 'row')} of {result['task']} left out"
        text = f"{left_out}, since a prompt or the map was trained on their text ({place})."
        section.notices.append(Notice("overlap", text))


def _tokens(data: Mapping[str, Any]) -> Table:
    own = data["metrics"]["held_out_tokens"]
    named = {
        "the map": own,
        "tokens paired at random": data["controls"]["shuffled_pairs"],
        "mean token, whatever the input": data["controls"]["mean_token"],
    }
    rows = [[name, one["cosine"], one["top1"]] for name, one in named.items()]
    above = score(own["above_controls"]["mean"], own["above_controls"]["ci95"], True)
    note = f"Cosine above the better control: {above}. A check without labels or a task."
    return Table(
        "tokens", f"Held-out tokens (n = {own['n']})", ["", "cosine", "nearest is right"], rows, note
    )


def _judged(data: Mapping[str, Any]) -> list[Figure | Table | Text]:
    """Of a projector: every task beside its controls, and the mean gain over each control."""
    controls = data["controls"]
    tasks = data["metrics"]["tasks"]
    names = list(dict.fromkeys(name for one in controls.values() for name in one))
    rows = []
    for one in tasks:
        beside = controls.get(f"{one['group']}: {one['task']}", {})
        scores = [beside[name]["score"] if name in beside else None for name in names]
        rows.append(
            [one["task"], one["group"], score(one["score"], one["ci95"]), *scores, one["majority"], one["n"]]
        )
    head = ["task", "in the training", "projected (95%)", *names, "majority class", "n"]
    tables: list[Figure | Table | Text] = [
        Table("projected", "What the projector makes of each task's source prompt", head, rows)
    ]
    groups: dict[str, Sequence[Mapping[str, Any]]] = {}
    for gain in data["metrics"]["groups"]:
        groups[gain["group"]] = [*groups.get(gain["group"], ()), gain]
    charts = [
        interval_chart(
            f"{group} ({plural(gains[0]['tasks'], 'task')})",
            [Interval(gain["control"], gain["gain"], *gain["ci95"]) for gain in gains],
            "score above the control",
            (0.0, 0.0),
        )
        for group, gains in groups.items()
    ]
    numbers = [
        [
            gain["group"],
            gain["control"],
            gain["tasks"],
            gain["score"],
            score(gain["gain"], gain["ci95"], True),
        ]
        for gain in data["metrics"]["groups"]
    ]
    head = ["in the training", "control", "tasks", "mean score", "above it by (95%)"]
    figure = Figure("gains", "Above each control", Panels(charts, [(0, "mean over tasks (95%)")]),
                    [Table("gains", "The numbers", head, numbers, folded=True)])  # fmt: skip
    return [figure, *tables]
