"""The figures and tables of a page as files: for a paper, for a document, for another program."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prompt_hub.atomic import write_file
from prompt_hub.errors import UserError
from prompt_hub.reports.figures import for_print
from prompt_hub.reports.html.blocks import Figure, Page, Score, Section, Table, text_of
from prompt_hub.reports.tables import latex_comment, latex_table, latex_text, markdown_table

FIGURES = (".png", ".svg", ".pdf")


def export(page: Page, folder: Path) -> list[Path]:
    """Every section's figures (.png of 300 dots an inch, .svg, .pdf) and tables (.md, .tex, .csv, .json).

    A folder a section. In .csv and .json a score and the ends of its interval are columns of their own.
    Returns what was written; ``UserError`` where it cannot be.
    """
    written: list[Path] = []
    try:
        for number, section in enumerate(page.sections, 1):
            name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:60]
            written += _section(section, folder / f"{number:02}-{name}")
        for table in page.tables:
            written += _table(table, folder)
    except OSError as error:
        raise UserError(
            f"Cannot export to {folder}: {error.strerror or error}. Name another folder."
        ) from None
    return written


def _section(section: Section, folder: Path) -> Iterator[Path]:
    for table in section.tables:
        yield from _table(table, folder)
    for name, text in section.documents.items():
        yield _written(folder / name, text())
    figures = [item for item in section.content if isinstance(item, Figure)]
    with for_print():
        for figure in figures:
            for name, draw in figure.draws.items():
                for ending in FIGURES:
                    path = folder / f"{name}{ending}"
                    draw(path)
                    yield path


def _table(table: Table, folder: Path) -> Iterator[Path]:
    words = [[text_of(value) for value in row] for row in table.rows]
    yield _written(folder / f"{table.name}.md", f"{table.title}:\n\n{markdown_table(table.head, words)}\n")
    head = [latex_text(name) for name in table.head]
    body = [[latex_text(word) for word in row] for row in words]
    yield _written(folder / f"{table.name}.tex", f"{latex_comment(table.title)}\n{latex_table(head, body)}\n")
    rows = list(plain_rows(table))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(rows[0] if rows else table.head)
    writer.writerows(row.values() for row in rows)
    yield _written(folder / f"{table.name}.csv", lines.getvalue())
    stored = {"title": table.title, "note": table.note, "rows": rows}
    yield _written(folder / f"{table.name}.json", json.dumps(stored, ensure_ascii=False, indent=1) + "\n")


def plain_rows(table: Table) -> Iterator[dict[str, Any]]:
    """Rows by column; a ``Score`` as three of them. A second column of one name gets a number."""
    names: list[str] = []
    for title in table.head:
        alike = sum(name == title or name.startswith(f"{title} (") for name in names)
        names.append(f"{title} ({alike + 1})" if title in names else title)
    split = [any(isinstance(row[place], Score) for row in table.rows) for place in range(len(names))]
    for row in table.rows:
        plain: dict[str, Any] = {}
        for name, value, is_score in zip(names, row, split, strict=True):
            if is_score:
                found = value if isinstance(value, Score) else Score(None)
                plain |= {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
            else:
                plain[name] = value
        yield plain


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # What was read may hold half of a surrogate pair, which no file takes.
    write_file(path, text.encode("utf-8", "backslashreplace"))
    return path
