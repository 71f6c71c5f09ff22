"""A transfer view as tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from prompt_hub.reports.figures import FLOOR_NAMES
from prompt_hub.reports.html.blocks import HeatCell, HeatMap
from prompt_hub.transfer.view import Cell, View

Facts = Callable[[str, str], Sequence[str]]
"""What is known of a source (or floor) and a target, in lines."""


def heat_map(view: View, facts: Facts, caption: str) -> HeatMap:
    """Colours as the printed figure has them: from 0 (or the lowest below it) to 1 (or the highest above)."""
    values = [
        cell.value for cell in view.cells.values() if cell.value is not None and cell.status != "partial"
    ]
    low, high = min([0.0, *values]), max([1.0, *values])

    def cells(row: str) -> list[HeatCell]:
        return [_tile(view.cells.get((row, column)), facts(row, column)) for column, _, _ in view.columns]

    def _tile(cell: Cell | None, lines: Sequence[str]) -> HeatCell:
        if cell is None:
            return HeatCell("", None)
        coloured = cell.value is not None and cell.status != "partial"
        share = (cell.value - low) / (high - low) if coloured and cell.value is not None else None
        text = cell.text(False) if not cell.negative else f"{100 * (cell.value or 0):.0f}"
        return HeatCell(text, share, lines, cell.own, cell.negative)

    return HeatMap(
        caption=caption,
        columns=[
            (kind, [name for name, _, _ in group])
            for kind, group in groupby(view.columns, lambda column: column[1])
        ],
        rows=[
            (kind, [(name, cells(name)) for name, _ in group])
            for kind, group in groupby(view.rows, lambda row: row[1])
        ],
        floors=[(FLOOR_NAMES[name], cells(name)) for name in view.floors],
        low=f"{100 * low:.0f}%",
        high=f"{100 * high:.0f}%",
    )
