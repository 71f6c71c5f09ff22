"""What goes where: results of ``--json`` and of ``predict`` to stdout, all else to stderr."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)

_LEAST_FIRST, _LEAST_WIDTH = 16, 6
"""Characters that the first and the other columns keep, if they have so many, where there is little room."""

_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that command a terminal, turn the direction of what stands beside them, or cannot be written."""


def visible(text: str) -> str:
    """With hidden characters written out, such as ``\\x1b``: names and texts may be a stranger's."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(message: str, style: str | None = None) -> None:
    """A line for people, as it is (no markup in names). Where it cannot be written, the work goes on."""
    with suppress(OSError):
        stderr.print(escape(visible(message)), style=style, soft_wrap=True)


def warn(message: str) -> None:
    say(f"Warning: {message}", style="yellow")


def print_json(data: Mapping[str, Any]) -> None:
    """One JSON object on one line, the last of stdout; NaN becomes null."""
    from prompt_hub.runs.records import json_text

    sys.stdout.write(json_text(data))
    sys.stdout.flush()


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], console: Console = stderr
) -> None:
    """A table for people; ``console`` is stdout where the table is the answer itself."""
    table = Table(title=escape(visible(title)), title_justify="left")
    texts = [[visible(str(cell)) for cell in row] for row in (columns, *rows)]
    for name in texts[0]:
        table.add_column(escape(name), overflow="fold")
    for row in texts[1:]:
        table.add_row(*map(escape, row))
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
    least = [min(width, _LEAST_WIDTH if place else _LEAST_FIRST) for place, width in enumerate(widths)]
    needed = sum(least) + 3 * len(least) + 1
    if console.width < needed:
        # rich would leave out what does not fit; a terminal wraps lines, and a file has no width.
        for column, width in zip(table.columns, least, strict=True):
            column.width = width
        console = Console(file=console.file, width=needed, highlight=False)
    console.print(table)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """The scores with interval and floors, and every warning."""
    metrics, floors = result["metrics"], result.get("floors", {})
    names = {"majority": "majority", "no_prompt": "no prompt", "random_prompt": "random prompt"}
    who = "together" if "members" in result else "prompt"
    columns = ["metric", who, "95% interval", *(names[name] for name in floors)]
    rows = []
    for metric, value in metrics.items():
        if metric == "combined_score" and len(metrics) == 2:
            continue
        low_high = result["ci95"].get(metric)
        interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
        rows.append(
            [
                metric,
                f"{value:.3f}",
                interval,
                *(f"{floor.get(metric, math.nan):.3f}" for floor in floors.values()),
            ]
        )
    print_table(f"{result['task']} on {result['backbone']} (n = {result['n']})", columns, rows)
    for message in [*result.get("warnings", []), *result.get("diagnosis", [])]:
        warn(message)
