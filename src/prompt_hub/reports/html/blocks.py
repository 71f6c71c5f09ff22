"""What a page of results consists of. Plain data: how it looks is said in ``page.html`` and ``page.css``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Score:
    """A number with its 95% interval, where there is one; sign: print it with + or -."""

    value: float | None
    low: float | None = None
    high: float | None = None
    sign: bool = False

    def __str__(self) -> str:
        if self.value is None or math.isnan(self.value):
            return ""
        form = "+.3f" if self.sign else ".3f"
        text = format(self.value, form)
        if self.low is None or self.high is None:
            return text
        return f"{text} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True)
class Table:
    """name: of its files. head: a title a column. rows: of str, int, float, ``Score`` or None.

    note: a line below it. folded: shown only when it is opened.
    """

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    folded: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only, where they hold anything."""
        return [
            any(sort_key(row[place]) is not None for row in self.rows)
            and all(text_of(row[place]) == "" or sort_key(row[place]) is not None for row in self.rows)
            for place in range(len(self.head))
        ]


@dataclass(frozen=True)
class HeatCell:
    """text: as it is printed. share: where on the colour scale, 0 to 1; None: no colour. facts: lines that
    say more. own: of the task's own prompt. marked: as negative transfer."""

    text: str
    share: float | None
    facts: Sequence[str] = ()
    own: bool = False
    marked: bool = False


@dataclass(frozen=True)
class HeatMap:
    """columns: (type, names) in groups. rows: (type, [(name, cells)]) in groups; floors: the rows below them.

    low, high: the ends of the colour scale, in the unit of the texts.
    """

    caption: str
    columns: Sequence[tuple[str, Sequence[str]]]
    rows: Sequence[tuple[str, Sequence[tuple[str, Sequence[HeatCell]]]]]
    floors: Sequence[tuple[str, Sequence[HeatCell]]]
    low: str
    high: str


@dataclass(frozen=True)
class Panels:
    """Charts side by side under one legend. legend: (number of the style, text)."""

    charts: Sequence[Markup]
    legend: Sequence[tuple[int, str]] = ()
    caption: str = ""


@dataclass(frozen=True)
class Choice:
    """Several views of one thing, of which one is shown. views: by the name of its switch."""

    label: str
    views: Mapping[str, HeatMap | Panels | Table]


@dataclass(frozen=True)
class Text:
    """A paragraph; of verdicts and notes."""

    text: str


Block = HeatMap | Panels | Choice | Table | Text


@dataclass(frozen=True)
class Figure:
    """One thing to look at, with what stands behind it.

    numbers: tables with the same numbers. command: what repeats it. draws: by name, what writes the same for
    print into a file whose ending says the format.
    """

    name: str
    title: str
    block: Block
    numbers: Sequence[Table] = ()
    command: str | None = None
    draws: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)


KINDS = {
    "not learning": "Not learning",
    "negative transfer": "Negative transfer",
    "ignored input": "The source does not matter",
    "overlap": "Overlap of data",
    "unfinished": "Unfinished or failed",
    "damaged": "Not readable",
    "other": "Also said",
}
"""Of notices, in the order in which a page shows them."""


@dataclass(frozen=True)
class Notice:
    """Something that a reader has to know. kind: of ``KINDS``."""

    kind: str
    text: str


@dataclass
class Section:
    """One record, or several of a kind.

    place: of the record. facts: (name, value) of what was done. command: that made it. documents: texts as
    they are exported, by file name.
    """

    title: str
    lead: str
    place: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    content: list[Figure | Table | Text] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    command: str | None = None
    documents: dict[str, Callable[[], str]] = field(default_factory=dict)

    @property
    def tables(self) -> list[Table]:
        found: list[Table] = []
        for item in self.content:
            if isinstance(item, Table):
                found.append(item)
            elif isinstance(item, Figure):
                found += item.numbers
        return found


@dataclass(frozen=True)
class Page:
    """summary: (number, what) of what was found. footer: lines at the end."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    summary: Sequence[tuple[int, str]] = ()
    tables: Sequence[Table] = ()
    footer: Sequence[str] = ()


def text_of(value: Any) -> str:
    """A table's cell for people: three digits, and nothing for what is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def sort_key(value: Any) -> float | None:
    """The number by which a cell is sorted; None where it is text."""
    if isinstance(value, Score):
        return value.value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return None if isinstance(value, float) and math.isnan(value) else float(value)
    number = re.match(r"[<>=~+ ]*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[ %x*(])", str(value or ""))
    return float(number.group(1)) if number else None
