"""The SQLite file of a grid: opening it, its schema, and what becomes of its errors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from prompt_hub.errors import UserError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x50484742  # "PHGB": tells our files from other programs' databases
BUSY_SECONDS = 60.0
_LONGEST = 2**28
"""Bytes of a value: answers to some hundred million rows."""

_SCHEMA = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    work TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'done', 'failed')),
    begun INTEGER NOT NULL DEFAULT 0,
    computed INTEGER NOT NULL DEFAULT 0,
    worker TEXT, host TEXT, pid INTEGER, started TEXT, until REAL, until_ticks REAL,
    result TEXT, error TEXT, details TEXT, because TEXT, seconds REAL, finished_at TEXT
);
CREATE INDEX items_by_state ON items (state, number);
CREATE TABLE starts (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL REFERENCES items (key),
    begun INTEGER NOT NULL,
    host TEXT NOT NULL, pid INTEGER NOT NULL
);
CREATE TABLE needs (
    key TEXT NOT NULL REFERENCES items (key),
    needed TEXT NOT NULL REFERENCES items (key),
    PRIMARY KEY (key, needed)
) WITHOUT ROWID;
CREATE INDEX needs_by_needed ON needs (needed);
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the grid file, which is made if need be.

    Raises ``UserError`` for a folder that cannot be written, a file that is no grid, and another schema.
    """
    with readable_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"Cannot write to {path.parent}: {error.strerror or error}. Choose a writable folder."
            ) from None
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    _patiently(lambda: _refuse_foreign(connection, path))
    # Readers and one writer at a time do not block each other under this journal.
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    # A finished item outlives a power cut too, for some milliseconds an item.
    connection.execute("PRAGMA synchronous = FULL")
    with transaction(connection):
        application, version = _owner(connection)
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables and not application:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        else:
            _check_owner(path, application, version)
            if _schema_of(connection) != _own_schema():
                raise UserError(
                    f"{path} was changed: its tables are not those of a grid. Restore it from a copy, or "
                    "choose another folder."
                )


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Before anything is written, so that what is refused stays as it is.

    By SQLite, not from the file's first bytes: closing a file of our own would end the locks that every other
    connection of this process has on it. Both at one moment: another process may be writing them.
    """
    connection.execute("BEGIN")
    try:
        owner = _owner(connection)
    finally:
        connection.execute("ROLLBACK")
    if any(owner):
        _check_owner(path, *owner)


def _owner(connection: sqlite3.Connection) -> tuple[int, int]:
    """Whose database it is, and of which version; zeros where nobody has begun one."""
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    return application, version


def _check_owner(path: Path, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise UserError(f"{path} is the database of another program. Choose another folder.")
    if version != SCHEMA_VERSION:
        age = "an older" if version < SCHEMA_VERSION else "a newer"
        raise UserError(
            f"{path} was written by {age} version of Prompt Hub: schema {version}, this one reads schema "
            f"{SCHEMA_VERSION}. Go on with that version, or choose another folder."
        )


def _schema_of(connection: sqlite3.Connection) -> set[tuple[str, str, str | None]]:
    """Type, name and definition of all that is declared; a view or a trigger would run at every query."""
    return {tuple(row) for row in connection.execute("SELECT type, name, sql FROM sqlite_master")}


@cache
def _own_schema() -> set[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        return _schema_of(connection)


def _patiently(run: Callable[[], object]) -> None:
    """SQLite does not wait for other processes while one of them changes the journal, so it is done here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            run()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block is stored, or nothing of it; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """What SQLite reports about the file becomes a ``UserError`` that says what to do."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: {error}. {_advice(str(error))}") from error


def _advice(message: str) -> str:
    for word, advice in {
        "full": "Make room and run the same command again; what was finished is kept.",
        "not a database": "The file is something else, or damaged. Choose another folder.",
        "malformed": "The file is damaged. Restore it from a copy, or choose another folder.",
        "locked": "Another process holds it. Run the same command again later; what was finished is kept.",
        "readonly": "Choose a writable folder.",
        "unable to open": "Choose a writable folder.",
    }.items():
        if word in message:
            return advice
    return "Look at the disk, then run the same command again; what was finished is kept."
