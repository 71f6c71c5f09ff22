"""Indicators against measured transfer, as ``indicators validate --output FILE.json`` stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prompt_hub.indicators.document import left_out_lines, sections
from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.words import command_text
from prompt_hub.reports.html.blocks import Figure, Notice, Panels, Section, Table
from prompt_hub.reports.html.charts import Interval, Point, interval_chart, scatter
from prompt_hub.reports.indicator_figures import chosen_figures, draw_agreement, draw_pairs, pair_group

if TYPE_CHECKING:
    import pandas as pd

_STYLES = {"own prompt": 7, "same type": 0, "other type": 1, "type unknown": 6}
_NUMBERS = ("value", "low", "high", "n", "p", "chance", "lists")
MOST_POINTS = 20_000


def indicator_section(found: Found, records: Records) -> Section:
    data, place = found.data, records.name(found.path)
    table = _table(data)
    names = list(dict.fromkeys(table["indicator"]))
    section = Section(
        title=f"Indicators of transfer: {place}",
        lead=f"What {', '.join(names)} of the prompts in {data['prompts']} say about the scores in "
        f"{data['scores']}. The protocol moves a correlation by tens of points; per target and without self "
        "is what choosing a source needs.",
        place=str(found.path),
        command=command_text(data.get("command")),
    )
    section.content += [_scatter(data["pairs"]), _agreement(table)]
    for number, part in enumerate(sections(table)):
        if part.rows:
            name = f"indicators-{number + 1}"
            section.content.append(Table(name, part.title, part.head, part.rows, folded=number > 0))
    section.notices = [Notice("other", f"{line} ({place})") for line in left_out_lines(table)]
    return section


def _table(data: Mapping[str, Any]) -> pd.DataFrame:
    """As ``validate`` returned it."""
    import pandas as pd

    table = pd.DataFrame(data["figures"])
    for name in _NUMBERS:
        if name in table:
            table[name] = pd.to_numeric(table[name])
    table["with_self"] = table["with_self"].astype(bool)
    table.attrs = {"pairs": data["pairs"], "left_out": data["left_out"]}
    return table


def _scatter(pairs: Sequence[Mapping[str, Any]]) -> Figure:
    known = [pair for pair in pairs if pair["value"] is not None and pair["score"] is not None]
    names = list(dict.fromkeys(pair["indicator"] for pair in known))
    each = max(1, MOST_POINTS // max(1, len(names)))
    charts = [
        scatter(
            name,
            [
                Point(pair["value"], pair["score"], _pair_text(pair), _STYLES[pair_group(pair)])
                for pair in known
                if pair["indicator"] == name
            ][:each],
            name,
            "measured score",
        )
        for name in names
    ]
    shown = {pair_group(pair) for pair in known}
    legend = [(style, group) for group, style in _STYLES.items() if group in shown]
    rows = [
        [pair["indicator"], pair["source"], pair["target"], pair_group(pair), pair["value"], pair["score"]]
        for pair in known
    ]
    head = ["indicator", "prompt of", "used on", "relation", "value", "measured score"]
    numbers = Table("pairs", "The numbers of every pair", head, rows[:MOST_POINTS], folded=True)
    return Figure("pairs", "Indicator and measured score, a point a pair", Panels(charts, legend), [numbers],
                  draws={"pairs": partial(draw_pairs, known)})  # fmt: skip


def _pair_text(pair: Mapping[str, Any]) -> str:
    numbers = f"{pair['indicator']} {pair['value']:.4g}, score {pair['score']:.3f}"
    return f"{pair['source']} on {pair['target']}: {numbers}"


def _agreement(table: pd.DataFrame) -> Figure:
    rows = table.to_dict("records")
    charts = []
    for statistic, title in (
        ("spearman", "Spearman's coefficient"),
        ("regret@1", "Score lost by the first pick"),
    ):
        found = sorted(chosen_figures(rows, statistic), key=lambda row: -row["value"])
        found = found if statistic == "spearman" else found[::-1]
        shown = [
            Interval(row["indicator"], row["value"], row["low"], row["high"], [(1, "by lot", row["chance"])])
            for row in found
        ]
        if shown:
            charts.append(interval_chart(title, shown, "per target, without self", (0.0, 0.0)))
    legend = [(0, "indicator (95%)"), (1, "by lot")]
    return Figure("agreement", "How far to trust them", Panels(charts, legend),
                  draws={"agreement": partial(draw_agreement, rows)})  # fmt: skip
