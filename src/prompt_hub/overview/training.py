"""Runs of training: scores beside floors, and curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text, listed, plural, score
from prompt_hub.reports.figures import FLOOR_NAMES, draw_scores
from prompt_hub.reports.html.blocks import Choice, Figure, Notice, Panels, Section, Table, text_of
from prompt_hub.reports.html.charts import STYLES, Interval, Line, interval_chart, line_chart

_MAY_BE_CONSTANT = {
    "backbone": "Backbone", "seed": "Seed", "metric": "Metric", "n": "Validation rows", "steps": "Steps",
}  # fmt: skip
MOST_PANELS = 24
MOST_LINES = STYLES


def training_section(records: Records) -> Section | None:
    """All runs that belong to no other section; None where there are none."""
    runs = independent_runs(records)
    if not runs:
        return None
    scored = [run for run in runs if "metrics" in run.data["result"]]
    tasks = list(dict.fromkeys(str(run.data["settings"].get("task")) for run in runs))
    backbones = list(dict.fromkeys(_backbone(run) for run in runs))
    section = Section(
        title="Training",
        lead=f"{plural(len(runs), 'soft prompt')} trained on {listed(tasks)}, for {listed(backbones)}. "
        "Scores are on validation rows that took no part in the training; intervals are 95%.",
    )
    table = _table(runs, records)
    section.facts, table = _constants_as_facts(table)
    section.content.append(table)
    if scored:
        section.content.append(_scores(scored, records))
    curves = _curves(runs, records)
    if curves is not None:
        section.content.append(curves)
    _commands(section, runs, records)
    section.notices += [notice for run in runs for notice in _notices(run, records)]
    return section


def independent_runs(records: Records) -> list[Found]:
    """Without the runs of warm-start comparisons and of a tour's own comparison, which are shown there."""
    inside = [found.folder / "runs" for found in records.of("warm_start")]
    inside += [found.folder / "starts" for found in records.of("tour")]
    return [run for run in records.of("train") if not any(run.path.is_relative_to(place) for place in inside)]


def _backbone(run: Found) -> str:
    return str(run.data["settings"].get("backbone", {}).get("name", "?"))


def _label(run: Found, records: Records) -> str:
    return records.name(run.folder)


def _table(runs: Sequence[Found], records: Records) -> Table:
    rows = []
    for run in runs:
        settings, result = run.data["settings"], run.data["result"]
        metric = result.get("primary_metric")
        seconds = round(result["seconds"]) if "seconds" in result else None
        own = score(result["metrics"][metric], result["ci95"].get(metric)) if metric else None
        floors = [result.get("floors", {}).get(name, {}).get(metric) for name in FLOOR_NAMES]
        rows.append(
            [settings.get("task"), _backbone(run), settings.get("seed"), metric, own, *floors,
             result.get("n"), result.get("steps"), seconds, _label(run, records)]
        )  # fmt: skip
    head = ["task", "backbone", "seed", "metric", "trained prompt (95%)", *FLOOR_NAMES.values(), "n", "steps",
            "seconds", "folder"]  # fmt: skip
    return Table("training", "Trained prompts beside the floors", head, rows)


def _constants_as_facts(table: Table) -> tuple[list[tuple[str, str]], Table]:
    """What is the same in all rows is said once, and a column less has to be read."""
    facts, kept = [], []
    for place, name in enumerate(table.head):
        values = {text_of(row[place]) for row in table.rows}
        if len(table.rows) > 1 and len(values) == 1 and name in _MAY_BE_CONSTANT:
            if value := values.pop():
                facts.append((_MAY_BE_CONSTANT[name], value))
        else:
            kept.append(place)
    rows = [[row[place] for place in kept] for row in table.rows]
    return facts, replace(table, head=[table.head[place] for place in kept], rows=rows)


def _scores(runs: Sequence[Found], records: Records) -> Figure:
    """A panel a metric and backbone, so that one axis holds what can be compared."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for run in runs[: MOST_PANELS * MOST_LINES]:
        groups.setdefault((run.data["result"]["primary_metric"], _backbone(run)), []).append(run)
    charts = []
    for (metric, backbone), found in groups.items():
        several = len({run.data["settings"].get("task") for run in found}) < len(found)
        rows = []
        for run in found:
            result, settings = run.data["result"], run.data["settings"]
            label = f"{settings['task']}, {_label(run, records)}" if several else settings["task"]
            marks = [
                (style, name, result["floors"][floor][metric])
                for style, (floor, name) in enumerate(FLOOR_NAMES.items(), 1)
                if metric in result.get("floors", {}).get(floor, {})
            ]
            low, high = result["ci95"].get(metric) or [result["metrics"][metric]] * 2
            rows.append(Interval(label, result["metrics"][metric], low, high, marks))
        charts.append(interval_chart(backbone, rows, metric))
    legend = [(0, "trained prompt (95%)"), *enumerate(FLOOR_NAMES.values(), 1)]
    results = [run.data["result"] for run in runs]
    titles = [str(run.data["settings"].get("task")) for run in runs]
    return Figure(
        "scores", "Scores beside the floors", Panels(charts, legend),
        draws={"scores": lambda path: draw_scores(results, titles, path)},
    )  # fmt: skip


def _curves(runs: Sequence[Found], records: Records) -> Figure | None:
    several = len({_backbone(run) for run in runs}) > 1
    groups: dict[str, list[Found]] = {}
    for run in runs:
        if run.data["result"].get("history"):
            task = str(run.data["settings"].get("task"))
            groups.setdefault(f"{task} · {_backbone(run)}" if several else task, []).append(run)
    if not groups:
        return None
    views = {
        "Held-out score": [_curve(title, found, records, True) for title, found in groups.items()],
        "Loss": [_curve(title, found, records, False) for title, found in groups.items()],
    }
    left_out = max(0, len(groups) - MOST_PANELS)
    note = (
        f"{left_out} more tasks and backbones are not drawn; the numbers are in the records."
        if left_out
        else ""
    )
    shown = {
        name: Panels([chart for chart in charts if chart is not None][:MOST_PANELS], caption=note)
        for name, charts in views.items()
    }
    shown = {name: panels for name, panels in shown.items() if panels.charts}
    rows = [
        [str(run.data["settings"].get("task")), _label(run, records), entry["step"], *values]
        for found in groups.values()
        for run in found
        for entry, values in _logged(run)
        if "step" in entry and any(value is not None for value in values)
    ]
    head = ["task", "folder", "step", "held-out score", "held-out loss", "training loss"]
    numbers = Table("training-curves", "The numbers of the curves", head, rows[:3000], folded=True)
    return Figure("curves", "Training curves", Choice("What is drawn", shown), [numbers]) if shown else None


def _logged(run: Found) -> Iterator[tuple[Mapping[str, Any], list[float | None]]]:
    """Entries of the log, each with its held-out score, held-out loss and training loss."""
    names = (f"eval_{_held_out_metric(run)}", "eval_loss", "loss")
    for entry in run.data["result"]["history"]:
        yield entry, [entry.get(name) for name in names]


def _held_out_metric(run: Found) -> str | None:
    """What the held-out rows were scored by, also where there were no validation rows."""
    result = run.data["result"]
    logged = (key for entry in result.get("history", []) for key in entry if key.startswith("eval_"))
    found = next((key for key in logged if key not in _NO_METRICS), None)
    return result.get("primary_metric") or (found and found.removeprefix("eval_"))


_NO_METRICS = {
    f"eval_{name}" for name in ("loss", "runtime", "samples_per_second", "steps_per_second", "combined_score")
}


def _curve(title: str, runs: Sequence[Found], records: Records, of_score: bool) -> Any:
    """One task and backbone, a line a run; None where nothing was logged."""
    lines = []
    metric = next(map(_held_out_metric, runs), None)
    for number, run in enumerate(runs):
        label = _label(run, records)
        wanted = {f"eval_{metric}": "held-out"} if of_score else {"eval_loss": "held-out", "loss": "training"}
        for place, (key, which) in enumerate(wanted.items()):
            points = [(entry["step"], entry[key]) for entry in run.data["result"]["history"] if key in entry]
            if len(points) > 1:
                xs, ys = zip(*points, strict=True)
                style = number if of_score or len(runs) > 1 else place
                lines.append(
                    Line(f"{label}, {which}", xs, ys, style, faint=which == "training" or len(runs) > 4)
                )
    if not lines:
        return None
    label = str(metric) if of_score else "loss (faint: training)"
    return line_chart(title, lines, "training steps", label)


def _commands(section: Section, runs: Sequence[Found], records: Records) -> None:
    commands = {command_text(run.data.get("command")): run for run in runs}
    commands.pop(None, None)
    if len(commands) == 1:
        section.command = next(iter(commands))
    elif commands:
        rows = [[_label(run, records), command] for command, run in commands.items()]
        section.content.append(
            Table("training-commands", "The command of every run", ["folder", "command"], rows, folded=True)
        )


def _notices(run: Found, records: Records) -> list[Notice]:
    result, where = run.data["result"], f"{run.data['settings'].get('task')} ({_label(run, records)})"
    found = [Notice("not learning", f"{where}: {line}") for line in result.get("diagnosis", [])]
    found += [Notice("other", f"{where}: {line}") for line in result.get("warnings", [])]
    if run.data["status"] == "done" and "metrics" not in result:
        found.append(
            Notice(
                "other",
                f"{where}: not scored, since no validation rows were given. prompt-hub eval, with --output "
                "FILE.json in this folder, scores it and is shown here.",
            )
        )
    if run.data["status"] != "done":
        found.append(
            Notice(
                "unfinished",
                f"{where}: the training was not finished. The same command with --resume goes on.",
            )
        )
    return found
