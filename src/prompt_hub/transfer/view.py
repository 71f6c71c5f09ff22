"""A transfer table as people read it: sources in rows, targets in columns, both grouped by type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_hub.evaluation.pairs import FLOORS
from prompt_hub.reports.figures import FLOOR_NAMES, draw_heat_map
from prompt_hub.reports.tables import latex_table, latex_text, markdown_table
from prompt_hub.transfer.summaries import summary

if TYPE_CHECKING:
    import pandas as pd

NEGATIVE, FAILED, OPEN, PARTIAL = "*", "failed", "...", "~"
LEGEND = {
    NEGATIVE: "surely (95%) below the backbone without a prompt: negative transfer",
    FAILED: "could not be computed; the errors are listed below",
    OPEN: "not computed yet",
    PARTIAL: "scored only on as many rows as the number behind it, in a race: in no mean",
}


@dataclass(frozen=True)
class Cell:
    """value, low, high: score, or share of the own prompt's score. own: the target's own prompt. n: of rows,
    of a partial cell."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    own: bool = False
    negative: bool = False
    status: str = "done"
    n: int | None = None

    @property
    def mark(self) -> str:
        if self.status == "partial":
            return f"{PARTIAL}{self.n}"
        return {"failed": FAILED, "open": OPEN}.get(self.status, NEGATIVE if self.negative else "")

    def text(self, with_interval: bool) -> str:
        if self.value is None:
            return self.mark
        text = f"{100 * self.value:.0f}"
        if with_interval and self.low is not None and self.high is not None:
            text += f" ({100 * self.low:.0f} to {100 * self.high:.0f})"
        return text + self.mark


@dataclass(frozen=True)
class View:
    """rows: name and type of every source. floors: names. columns: name, type and n of every target.

    cells: by row and column; a floor's row is its name.
    """

    rows: list[tuple[str, str]]
    floors: list[str]
    columns: list[tuple[str, str, int]]
    cells: dict[tuple[str, str], Cell]
    relative: bool

    # -- as text ---------------------------------------------------------------------------------

    def plain(self) -> tuple[list[str], list[list[str]]]:
        """Columns by number, as the rows of their tasks; scores alone, own prompts in brackets."""
        numbers = {name: str(number) for number, (name, _) in enumerate(self.rows, 1)}
        names = [numbers.get(name, name) for name, _, _ in self.columns]
        rows = [
            [f"{numbers[name]} {name}", *(self._boxed(name, column) for column, _, _ in self.columns)]
            for name, _ in self.rows
        ]
        return ["prompt of", *names], rows + self._floor_rows(with_interval=False)

    def markdown(self) -> str:
        head = ["prompt of", *(f"{name} (n = {n})" for name, _, n in self.columns)]
        return markdown_table(head, self._full_rows(lambda text: f"**{text}**") + self._floor_rows(True))

    def latex(self) -> str:
        head = ["prompt of", *(rf"{latex_text(name)} ($n={n}$)" for name, _, n in self.columns)]
        rows = self._full_rows(lambda text: rf"\textbf{{{text}}}", latex_text) + self._floor_rows(True)
        types = [kind for _, kind in self.rows]
        rules = [place for place in range(1, len(types)) if types[place] != types[place - 1]]
        return latex_table(head, rows, [*rules, len(self.rows)])

    def _boxed(self, row: str, column: str) -> str:
        cell = self.cells.get((row, column), Cell(status="open"))
        return f"[{cell.text(False)}]" if cell.own else cell.text(False)

    def _full_rows(self, bold: Callable[[str], str], escape: Callable[[str], str] = str) -> list[list[str]]:
        rows = []
        for name, _ in self.rows:
            line = [escape(name)]
            for column, _, _ in self.columns:
                cell = self.cells.get((name, column), Cell(status="open"))
                line.append(bold(cell.text(True)) if cell.own else cell.text(True))
            rows.append(line)
        return rows

    def _floor_rows(self, with_interval: bool) -> list[list[str]]:
        return [
            [
                FLOOR_NAMES[floor],
                *(
                    self.cells.get((floor, name), Cell(status="")).text(with_interval)
                    for name, _, _ in self.columns
                ),
            ]
            for floor in self.floors
        ]

    # -- as a picture ----------------------------------------------------------------------------

    def draw(self, path: Path) -> Path:
        names = [*(name for name, _ in self.rows), *self.floors]
        values = np.full((len(names), len(self.columns)), np.nan)
        marks = {}
        for row, name in enumerate(names):
            for place, (column, _, _) in enumerate(self.columns):
                cell = self.cells.get((name, column))
                if cell is None:
                    continue
                if cell.status == "partial":  # no colour: it is not to be read beside whole cells
                    marks[row, place] = cell.text(False)
                    continue
                values[row, place] = np.nan if cell.value is None else cell.value
                marks[row, place] = cell.mark
        return draw_heat_map(
            values,
            [*(f"prompt of {name}" for name, _ in self.rows), *(FLOOR_NAMES[floor] for floor in self.floors)],
            [name for name, _, _ in self.columns],
            path,
            row_types=[kind for _, kind in self.rows],
            column_types=[kind for _, kind, _ in self.columns],
            label="score / score of the target's own prompt (numbers: %)" if self.relative else "score in %",
            marks=marks,
        )


def view_of(table: pd.DataFrame, relative: bool = False) -> View:
    """From a table with ``over_seeds``. relative: shares of the own prompt's score instead of scores."""
    prompts, floors = table[table["kind"] == "prompt"], table[table["kind"] == "floor"]
    targets = table.drop_duplicates("target")
    order = list(dict.fromkeys(targets["target_type"]))
    columns = sorted(
        (
            (row["target"], row["target_type"], _largest(table, row["target"]))
            for row in targets.to_dict("records")
        ),
        key=lambda column: order.index(column[1]),
    )
    order += [kind for kind in dict.fromkeys(prompts["source_type"]) if kind not in order]
    place = {name: number for number, (name, _, _) in enumerate(columns)}
    sources = prompts.drop_duplicates("source").to_dict("records")
    rows = sorted(
        ((row["source"], row["source_type"]) for row in sources),
        key=lambda row: (order.index(row[1]), place.get(row[0], len(place))),
    )
    cells = {(row["source"], row["target"]): _cell(row, relative) for row in table.to_dict("records")}
    there = set(floors["source"])
    return View(rows, [name for name in FLOORS if name in there], columns, cells, relative)


def _largest(table: pd.DataFrame, target: str) -> int:
    known = table.loc[(table["target"] == target) & (table["status"] != "partial"), "n"].dropna()
    return int(known.max()) if len(known) else 0


def _cell(row: dict[str, Any], relative: bool) -> Cell:
    names = ("relative", "relative_low", "relative_high") if relative else ("score", "low", "high")
    value, low, high = (None if row[name] != row[name] else row[name] for name in names)
    return Cell(
        value,
        low,
        high,
        own=row["source_task"] == row["target"],
        negative=row["negative"] is True,
        status=row["status"],
        n=int(row["n"]) if row["status"] == "partial" else None,
    )


@dataclass(frozen=True)
class Means:
    """One figure of the summary as a table for people."""

    title: str
    head: list[str]
    rows: list[list[str]]


def means_of(table: pd.DataFrame, by_seed: pd.DataFrame) -> list[Means]:
    """``summary`` as people read it. table: with ``over_seeds``; by_seed: without."""
    whole, single = summary(table).to_dict("records"), summary(by_seed, intervals=False).to_dict("records")
    several = len({row["seed"] for row in single}) > 1
    found = []
    for figure, count, title, floors in (
        ("relative", "pairs", "Mean of score / own score", FLOORS),
        (
            "above_majority", "pairs_above_majority",
            "Mean of (score - majority) / (own score - majority), where the own prompt is surely above it",
            FLOORS[1:],
        ),
    ):  # fmt: skip
        rows = []
        for row in whole:
            if not row[count]:
                continue
            value, low, high = (row[f"{figure}{end}"] for end in ("", "_low", "_high"))
            within = "" if low is None or low != low else f" ({low:.3f} to {high:.3f})"
            seeds = [number(each[figure]) for each in single if each["group"] == row["group"]]
            line = [row["group"], str(row[count]), number(value) + within]
            if several:
                line.append(", ".join(seeds))
            rows.append([*line, *(number(row[f"{figure}_{floor}"]) for floor in floors)])
        head = ["from a task of", "pairs", "prompt (95%)", *(["by seed"] if several else [])]
        if rows:
            found.append(Means(title, [*head, *(FLOOR_NAMES[floor] for floor in floors)], rows))
    return found


def number(value: Any) -> str:
    """Three digits; nothing for what is not known."""
    return "" if value is None or value != value else f"{value:.3f}"
