"""What validation found as tables for people, on a terminal or in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prompt_hub.indicators.validation import PROTOCOLS
from prompt_hub.reports.tables import markdown_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Section:
    title: str
    head: list[str]
    rows: list[list[str]]


def sections(table: pd.DataFrame) -> list[Section]:
    """Of a table that ``validate`` returned."""
    return [
        _correlations(table),
        _by_protocol(
            table, "kendall", "Kendall's tau-b x 100, without self", lambda row: f"{100 * row['value']:.1f}"
        ),
        _by_protocol(
            table,
            "spearman",
            "p: share of renamings of the tasks with a Spearman coefficient as high, without self",
            lambda row: f"{row['p']:.3f}",
        ),
        _means(table),
        _regret(table),
        _cost(table),
    ]


def markdown_text(table: pd.DataFrame, headline: str) -> str:
    """The sections below a line of what was held against what, and what was left out and why."""
    parts = [headline]
    for section in sections(table):
        parts += [f"{section.title}:", markdown_table(section.head, section.rows)]
    parts += ["\n".join(f"- {line}" for line in left_out_lines(table))]
    return "\n\n".join(part for part in parts if part) + "\n"


def left_out_lines(table: pd.DataFrame) -> list[str]:
    """A line an indicator and target that could not be had."""
    lines = []
    for each in table.attrs.get("left_out", []):
        where = f" on {each['target']}" if each["target"] else ""
        lines.append(f"{each['indicator']} was left out{where}: {each['reason']}")
    return lines


def _correlations(table: pd.DataFrame) -> Section:
    rows = []
    for (indicator, protocol), part in table[table["statistic"] == "spearman"].groupby(
        ["indicator", "protocol"], sort=False
    ):
        found = {row["with_self"]: row for row in part.to_dict("records")}
        cells = (_with_interval(found[with_self], 100, ".1f", ".0f") for with_self in (True, False))
        rows.append([indicator, protocol, *cells, f"{found[False]['n']:.0f}"])
    head = ["indicator", "protocol", "with self (95%)", "without self (95%)", "pairs"]
    return Section("Spearman x 100 of indicator and measured score", head, rows)


def _by_protocol(
    table: pd.DataFrame, statistic: str, title: str, cell: Callable[[Mapping[str, Any]], str]
) -> Section:
    """A column a protocol, without self."""
    chosen = table[(table["statistic"] == statistic) & ~table["with_self"]]
    rows = []
    for indicator, part in chosen.groupby("indicator", sort=False):
        found = {row["protocol"]: row for row in part.to_dict("records")}
        cells = ["-" if math.isnan(found[each]["value"]) else cell(found[each]) for each in PROTOCOLS]
        rows.append([str(indicator), *cells])
    return Section(title, ["indicator", *PROTOCOLS], rows)


def _means(table: pd.DataFrame) -> Section:
    rows = [
        [str(indicator), *(_with_interval(row, 1, ".4f") for row in part.to_dict("records"))]
        for indicator, part in table[table["statistic"] == "mean"].groupby("indicator", sort=False)
    ]
    return Section("Mean of the indicator", ["indicator", "same type (95%)", "other type (95%)"], rows)


def _regret(table: pd.DataFrame) -> Section:
    rows = [
        [
            row["indicator"],
            row["statistic"],
            _with_interval(row, 1, ".3g"),
            f"{row['chance']:.3g}",
            f"{row['lists']:.0f}",
        ]
        for row in table[table["statistic"].str.startswith("regret")].to_dict("records")
    ]
    head = ["indicator", "figure", "lost (95%)", "by lot", "targets"]
    return Section("Score lost by choosing the source so, in units of the scores", head, rows)


def _cost(table: pd.DataFrame) -> Section:
    rows = [
        [row["indicator"], f"{row['value']:.3g}", f"{row['n']:.0f}", f"{1000 * row['value'] / row['n']:.3g}"]
        for row in table[table["statistic"] == "seconds"].to_dict("records")
    ]
    return Section("Cost, loading not counted", ["indicator", "seconds", "pairs", "ms a pair"], rows)


def _with_interval(row: Mapping[str, Any], factor: float, form: str, bounds: str | None = None) -> str:
    if math.isnan(row["value"]):
        return "-"
    low, high = (format(factor * row[name], bounds or form) for name in ("low", "high"))
    return f"{format(factor * row['value'], form)} ({low} to {high})"
