"""Studies of masked neurons: scores while neurons are held, by how they were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from markupsafe import Markup

from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text, plural, score
from prompt_hub.reports.html.blocks import Figure, Notice, Panels, Section, Table
from prompt_hub.reports.html.charts import Interval, Line, Rule, interval_chart, line_chart
from prompt_hub.reports.neuron_figures import draw_masking


def masking_section(found: Found, records: Records) -> Section:
    result, settings, place = found.data["result"], found.data["settings"], records.name(found.folder)
    share = result["active"] / result["neurons"]
    section = Section(
        title=f"Masked neurons: {place}",
        lead=f"Scores while neurons of {settings['prompt']} are held at {settings['hold_at']} in "
        f"{settings['backbone']}. Masking the neurons that a prompt activates says something only beside as "
        "many others, which is what the controls are.",
        place=str(found.path),
        facts=[
            ("Backbone", settings["backbone"]),
            ("Neurons", f"{result['neurons']:,}"),
            ("Active under the prompt alone", f"{result['active']:,} ({share:.1%})"),
            ("Draws of a random choice", str(settings["draws"])),
        ],
        command=command_text(found.data.get("command")),
    )
    unmasked = {cell["target"]: cell for cell in result["cells"] if cell["choice"] == "unmasked"}
    charts = [_chart(result, unmasked[target]) for target in result["targets"]]
    several = len(result["ratios"]) > 1
    legend = list(enumerate(result["choices"])) if several else [(0, "score, interval over rows and draws")]
    section.content.append(
        Figure("masking", "Scores under masking", Panels(charts, legend), [_table(result)],
               draws={"masking": partial(draw_masking, result)})
    )  # fmt: skip
    for cell in unmasked.values():
        section.notices += [
            Notice("other", f"{cell['target']}: {line} ({place})") for line in cell["warnings"]
        ]
        if cell.get("removed_overlap"):
            rows = plural(cell["removed_overlap"], "row")
            text = (
                f"{rows} of {cell['target']} left out, since the prompt was trained on their text ({place})."
            )
            section.notices.append(Notice("overlap", text))
    return section


def _chart(result: Mapping[str, Any], unmasked: Mapping[str, Any]) -> Markup:
    target, metric = unmasked["target"], unmasked["metric"]
    groups = [group for group in result["summary"] if group["target"] == target]
    title = f"{target} ({unmasked['relation']}, n = {unmasked['n']})"
    majority = unmasked["floors"].get("majority", {}).get(metric)
    if len(result["ratios"]) == 1:
        rows = [Interval("no neuron held", unmasked["score"], *unmasked["ci95"])]
        rows += [Interval(group["choice"], group["mean"], *group["interval"]) for group in groups]
        return interval_chart(title, rows, f"{metric}, {result['ratios'][0]:.0%} of the neurons held")
    lines = []
    for style, choice in enumerate(result["choices"]):
        drawn = sorted((one for one in groups if one["choice"] == choice), key=lambda one: one["ratio"])
        low, high = ([one["interval"][end] for one in drawn] for end in (0, 1))
        ratios, means = [one["ratio"] for one in drawn], [one["mean"] for one in drawn]
        lines.append(Line(choice, ratios, means, style, low=low, high=high))
    rules = [Rule("no neuron held", unmasked["score"])]
    rules += [] if majority is None else [Rule("majority class", majority)]
    return line_chart(title, lines, "share of neurons held", metric, rules)


def _table(result: Mapping[str, Any]) -> Table:
    rows = [
        [one["target"], one["relation"], one["choice"], one["ratio"], score(one["mean"], one["interval"]),
         one["unmasked"], one["lost"], len(one["scores"]), round(one["active"]), one["n"]]
        for one in result["summary"]
    ]  # fmt: skip
    head = ["task", "relation", "neurons held", "share", "score (95%)", "unmasked", "lost", "draws",
            "active among them", "n"]  # fmt: skip
    return Table("masking", "The numbers", head, rows, folded=True)
