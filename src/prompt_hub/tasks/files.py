"""Rows of a user's file: CSV, TSV, JSON lines, JSON or Parquet. Every fault is named by file and line."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.reading import open_regular, read_regular

SUFFIXES = (".jsonl", ".csv", ".tsv", ".json", ".parquet")

_LONGEST_FIELD = 2**31 - 1
"""The largest limit that fits a C long everywhere; a field is a whole document at times."""


_PARQUET_ROWS = 256
"""Of Parquet that are unfolded at a time."""
_MOST_UNFOLDED, _SMALL, _SMALL_ROWS = 100, 2**28, 100_000
"""Bytes that a byte of Parquet may become, beside some that are no matter, and rows beside one a byte."""
_UNFOLDS = "{} would unfold to {}; it has {:,} bytes. Is it a table of texts? Save it as .jsonl."


@dataclass(frozen=True)
class Row:
    """One record: its values by column, and the line (or record number) it starts at, counted from 1."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A file's rows. columns: every column that occurs, in order of first sight. unit: "line" or "row"."""

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]
    unit: str = "line"

    def place(self, row: Row) -> str:
        return f"{self.path}, {self.unit} {row.line}"


def read_table(path: str | os.PathLike[str]) -> Table:
    """All rows of a file, by its suffix; ``UserError`` if it is absent, empty, broken or of no known kind."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"Cannot tell what {path} holds from its name. Allowed endings: {', '.join(SUFFIXES)}."
        )
    if suffix == ".parquet":
        table = _read_parquet(path)
    else:
        text = _read_text(path)
        reader = {".jsonl": _read_json_lines, ".json": _read_json}.get(suffix)
        table = reader(path, text) if reader else _read_delimited(path, text, tabs=suffix == ".tsv")
    if not table.rows:
        raise UserError(f"{path} has no rows.")
    return table


def _read_text(path: Path) -> str:
    try:
        data = read_regular(path)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    if not data.strip():
        raise UserError(f"{path} is empty.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path} is UTF-16 text. Save it as UTF-8.")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise UserError(f"{path}, line {line} holds a NUL byte: the file is damaged or is no text file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line} is not UTF-8 (byte 0x{data[error.start]:02x}). Save the file as UTF-8."
        ) from error


def _read_delimited(path: Path, text: str, tabs: bool) -> Table:
    # A TSV has no quoting (as GLUE's files): a quote is a character like any other. In a CSV it is syntax.
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    if not tabs:
        dialect = {"delimiter": _delimiter(text)}
    with _long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect)
        records = _records(path, reader)
        _, header = next(records)
        columns = tuple(name.strip() for name in header)
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if repeated:
            raise UserError(f"{path}: the header names {', '.join(map(repr, repeated))} more than once.")
        rows = []
        for line, record in records:
            if len(record) != len(columns):
                between = {",": "a comma", ";": "a semicolon", "\t": "a tab"}[dialect["delimiter"]]
                hint = f" Put fields that contain {between} in double quotes." if not tabs else ""
                raise UserError(
                    f"{path}, line {line} has {len(record)} fields, the header has {len(columns)}: "
                    f"{', '.join(columns)}.{hint}"
                )
            if tabs:
                _refuse_quoted_field(path, line, record)
            rows.append(Row(line, dict(zip(columns, record, strict=True))))
    return Table(path, columns, rows)


def _delimiter(text: str) -> str:
    """What stands between the fields of a .csv: a comma, or what its header has without one.

    Spreadsheets write semicolons where the comma is the decimal sign, and tabs on request.
    """
    header = next((line for line in io.StringIO(text) if line.strip()), "")
    for sign in ",;\t":
        with suppress(csv.Error):
            if len(next(csv.reader([header], delimiter=sign))) > 1:
                return sign
    return ","


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """(line where the record starts, its fields), blank lines left out."""
    start = 1
    try:
        for record in reader:
            if record:
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}: the record that starts at line {start} is broken: {error}. "
            "Check its double quotes; a quote inside a quoted field is doubled."
        ) from error


def _refuse_quoted_field(path: Path, line: int, record: list[str]) -> None:
    for field in record:
        if len(field) > 2 and field[0] == field[-1] == '"' and '""' in field[1:-1]:
            raise UserError(
                f"{path}, line {line} looks like a quoted CSV field: {field[:60]}. "
                "A .tsv file has no quoting; save the data as .csv or .jsonl."
            )


@contextmanager
def _long_fields() -> Iterator[None]:
    """The ``csv`` module's limit of 131072 characters a field, lifted inside the block."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json_lines(path: Path, text: str) -> Table:
    rows = []
    # Not splitlines(): JSON text may hold U+2028 and other characters that it would break at.
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            rows.append(Row(line, _parse_object(f"{path}, line {line}", content)))
    return Table(path, _columns_of(rows), rows)


def _parse_object(place: str, content: str) -> dict[str, Any]:
    value = _parse_json(place, content)
    if not isinstance(value, dict):
        raise UserError(
            f'{place} is no JSON object but {type(value).__name__}. Write {{"column": value, ...}}.'
        )
    return value


def _parse_json(place: str, content: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        where = f", line {error.lineno}" if "\n" in content.strip() else ""
        raise UserError(f"{place}{where} is not valid JSON: {error.msg} at column {error.colno}.") from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{place} is not valid JSON: {error}.") from error


def _read_json(path: Path, text: str) -> Table:
    value = _parse_json(str(path), text)
    if not isinstance(value, list):
        raise UserError(
            f"{path} must hold a list of objects, it holds {type(value).__name__}. One a line: .jsonl."
        )
    rows = []
    for number, item in enumerate(value, start=1):
        if not isinstance(item, dict):
            raise UserError(f"{path}, row {number} is no object but {type(item).__name__}.")
        rows.append(Row(number, item))
    return Table(path, _columns_of(rows), rows, unit="row")


def _columns_of(rows: list[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows for name in row.values))


def _check_unfolding(path: Path, size: int, declared: Any) -> None:
    """A Parquet file may hold millions of rows in some kilobytes: those of a table of texts it does not."""
    if declared.num_rows > size + _SMALL_ROWS:
        raise UserError(_UNFOLDS.format(path, f"{declared.num_rows:,} rows", size))
    unfolded = sum(declared.row_group(number).total_byte_size for number in range(declared.num_row_groups))
    if unfolded > _MOST_UNFOLDED * size + _SMALL:
        raise UserError(_UNFOLDS.format(path, f"{unfolded:,} bytes", size))


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    rows: list[Row] = []
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            table = pyarrow.parquet.ParquetFile(file)
            columns = tuple(table.schema_arrow.names)
            _check_unfolding(path, size, table.metadata)
            taken = 0
            for batch in table.iter_batches(_PARQUET_ROWS):
                taken += batch.nbytes
                if taken > _MOST_UNFOLDED * size + _SMALL:
                    raise UserError(_UNFOLDS.format(path, f"{taken:,} bytes and more", size))
                rows += [Row(line, row) for line, row in enumerate(batch.to_pylist(), len(rows) + 1)]
    except FileNotFoundError as error:
        raise UserError(f"Cannot read {path}: No such file or directory.") from error
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise UserError(f"Cannot read {path} as Parquet: {error}") from error
    return Table(path, columns, rows, unit="row")
