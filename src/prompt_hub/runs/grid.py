"""A grid: many pieces of work, each done once, whatever is interrupted and however many processes help.

State is one SQLite file. A piece of work is open, taken, done or failed; every step from one to the next is
one transaction, so that a process killed at any moment leaves a grid that another one goes on with.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.runs.database import connect, readable_errors, transaction
from prompt_hub.runs.leases import LEASE_SECONDS, Lease
from prompt_hub.runs.records import now

FILE = "grid.sqlite"
_READY = (
    "state = 'open' AND NOT EXISTS (SELECT 1 FROM needs JOIN items AS earlier ON earlier.key = needs.needed "
    "WHERE needs.key = items.key AND earlier.state != 'done')"
)
_AMONG = "(?1 IS NULL OR key IN (SELECT value FROM json_each(?1)))"
STATES = ("open", "taken", "done", "failed")


@dataclass(frozen=True)
class Item:
    """One piece of work.

    key: unique; covers everything that the result depends on. kind: such as "train". work: JSON, what the
    worker needs. needs: keys of items that must be done before.
    """

    key: str
    kind: str
    work: dict[str, Any]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """A finished item.

    work: that of the ``Item``. computed: how often it was computed to the end (more than once only if a
    worker was silent for longer than its lease, and came back). begun: how often it was started.
    """

    key: str
    kind: str
    written_work: str = field(repr=False)
    result: dict[str, Any]
    seconds: float
    worker: str
    finished_at: str
    computed: int
    begun: int

    @cached_property
    def work(self) -> dict[str, Any]:
        return dict(json.loads(self.written_work))  # of a hundred thousand items hardly one is asked for it


@dataclass(frozen=True)
class Failure:
    """An item that failed. details: the traceback, if any. because: the key of the item that failed in truth,
    where this one was never started for want of it."""

    key: str
    kind: str
    work: dict[str, Any]
    error: str
    details: str
    because: str | None


class Grid:
    """The grid in one folder. Use it as a context manager: what it holds at the end is open to others again.

    lease: seconds after which a silent holder on another machine counts as gone; while this object is open a
    thread renews the leases of what it holds. Threads may share one object.
    """

    def __init__(self, path: Path, lease: float = LEASE_SECONDS) -> None:
        self.path = path
        self.lease = lease
        self._connection = connect(path)
        self._lock = threading.RLock()
        self._held: dict[str, tuple[int, int]] = {}  # key: (number of this start, process that works)
        self._closed = threading.Event()
        self._heart: threading.Thread | None = None

    @classmethod
    def open(cls, folder: Path, *, create: bool = True, lease: float = LEASE_SECONDS) -> Grid:
        """The grid of ``folder``, made if need be.

        Raises ``UserError`` for a folder that cannot be written, a file that is no grid, another schema
        version, and, without ``create``, where there is no grid.
        """
        path = Path(folder) / FILE
        if not create and not path.is_file():
            raise UserError(
                f"{folder} holds no grid ({FILE} is not there). Name the folder of an earlier run."
            )
        return cls(path, lease)

    def __enter__(self) -> Grid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back what is still held, and closes the file."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._heart is not None:
            self._heart.join()
        try:
            with suppress(UserError):  # what cannot be written now is open anyway once this process has ended
                for key in list(self._held):
                    self.release(key)
        finally:
            self._connection.close()

    # Filling

    def add(self, items: Iterable[Item]) -> int:
        """Puts in what is not there yet; returns how many items were new.

        Of an item that is there and not done, ``work`` is brought up to date. An item's needs must be in the
        grid or come before it. Raises ``ValueError`` where they do not.
        """
        new = 0
        with self._writing() as connection:
            for item in items:
                work = json.dumps(item.work, ensure_ascii=False)
                new += connection.execute(
                    "INSERT INTO items (key, kind, work) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (item.key, item.kind, work),
                ).rowcount
                connection.execute(
                    "UPDATE items SET work = ? WHERE key = ? AND state != 'done' AND work != ?",
                    (work, item.key, work),
                )
                for needed in item.needs:
                    if needed == item.key or not _is_there(connection, needed):
                        raise ValueError(
                            f"Item {item.key!r} needs {needed!r}, which does not come before it."
                        )
                    connection.execute("INSERT OR IGNORE INTO needs VALUES (?, ?)", (item.key, needed))
            for row in connection.execute("SELECT key FROM items WHERE state = 'failed'").fetchall():
                _fail_dependants(connection, row["key"])
        return new

    def retry_failed(self, only: Collection[str] | None = None) -> int:
        """Opens failed items again, all or those among ``only``; returns how many."""
        with self._writing() as connection:
            return connection.execute(
                "UPDATE items SET state = 'open', error = NULL, details = NULL, because = NULL, "
                f"finished_at = NULL WHERE state = 'failed' AND {_AMONG}",
                (_keys(only),),
            ).rowcount

    # Working

    def claim(self, worker: str, only: Collection[str] | None = None, pid: int | None = None) -> Item | None:
        """The next item for ``worker``, or None where nothing can be started now.

        only: keys to choose from. pid: the process on this machine that does the work, if it is not this one.
        Items of workers that are gone are open again. At most one claim for one item holds at any time: a
        second one is given only when the first one's process is gone or its lease ran out.
        """
        with self._writing() as connection:
            _reopen_abandoned(connection)
            row = connection.execute(
                f"SELECT * FROM items WHERE {_READY} AND {_AMONG} ORDER BY number LIMIT 1",
                (_keys(only),),
            ).fetchone()
            if row is None:
                return None
            lease = Lease.of(pid or os.getpid(), self.lease)
            connection.execute(
                "UPDATE items SET state = 'taken', begun = begun + 1, worker = ?, host = ?, pid = ?, "
                "started = ?, until = ?, until_ticks = ? WHERE key = ?",
                (worker, lease.host, lease.pid, lease.started, lease.until, lease.until_ticks, row["key"]),
            )
            connection.execute(
                "INSERT INTO starts (key, begun, host, pid) VALUES (?, ?, ?, ?)",
                (row["key"], row["begun"] + 1, lease.host, lease.pid),
            )
            needs = connection.execute(
                "SELECT needed FROM needs WHERE key = ? ORDER BY needed", (row["key"],)
            )
            item = Item(row["key"], row["kind"], json.loads(row["work"]), tuple(need[0] for need in needs))
        self._held[item.key] = (row["begun"] + 1, lease.pid)
        self._keep_leases()
        return item

    def finish(self, key: str, result: dict[str, Any], seconds: float) -> bool:
        """Stores the result of an item that this object claimed.

        False, and nothing stored, when the lease ran out and somebody else has taken the item since. Raises
        ``UserError`` where the file cannot be written; the item is then still held, and ``finish`` may be
        tried again. Raises ``TypeError`` for a result that is not JSON.
        """
        text = json.dumps(result, ensure_ascii=False)
        with self._writing() as connection:
            stored = connection.execute(
                "UPDATE items SET state = 'done', result = ?, seconds = ?, finished_at = ?, error = NULL, "
                "details = NULL WHERE key = ? AND state = 'taken' AND begun = ?",
                (text, seconds, now(), key, self._start_of(key)),
            ).rowcount
            connection.execute("UPDATE items SET computed = computed + 1 WHERE key = ?", (key,))
        self._held.pop(key, None)
        return bool(stored)

    def fail(self, key: str, error: str, details: str = "") -> bool:
        """Records that an item failed; all that needs it fails with it.

        Of an item that this object does not hold, only where nobody holds it either. False when somebody else
        has taken the item.
        """
        with self._writing() as connection:
            _reopen_abandoned(connection)
            failed = connection.execute(
                "UPDATE items SET state = 'failed', error = ?, details = ?, because = NULL, finished_at = ? "
                "WHERE key = ? AND ((state = 'taken' AND begun = ?) OR state = 'open')",
                (error, details, now(), key, self._held.get(key, (-1, 0))[0]),
            ).rowcount
            if failed:
                _fail_dependants(connection, key)
        self._held.pop(key, None)
        return bool(failed)

    def release(self, key: str) -> None:
        """Gives an item back undone."""
        start = self._start_of(key)
        with self._writing() as connection:
            connection.execute(
                "UPDATE items SET state = 'open' WHERE key = ? AND state = 'taken' AND begun = ?",
                (key, start),
            )
        self._held.pop(key, None)

    def reopen_abandoned(self) -> None:
        """Opens what is held by processes that are gone, as ``claim`` does before it chooses."""
        with self._writing() as connection:
            _reopen_abandoned(connection)

    def left_undone_by(self, pid: int) -> str | None:
        """The item that process ``pid`` of this machine started last, if it did not bring it to an end."""
        rows = self._read(
            "SELECT key FROM starts JOIN items USING (key) WHERE starts.number = (SELECT max(number) FROM "
            "starts WHERE host = ? AND pid = ?) AND NOT (state IN ('done', 'failed') AND items.begun = "
            "starts.begun)",
            (Lease.of(pid, 0).host, pid),
        )
        return rows[0]["key"] if rows else None

    # Reading

    def results(self, *kinds: str) -> list[Done]:
        """Finished items in the order in which they were added; without ``kinds`` of all kinds."""
        return list(self.each_result(*kinds))

    def each_result(self, *kinds: str) -> Iterator[Done]:
        """``results``, one at a time; until the last one nobody else can use this object."""
        with self._lock, readable_errors(self.path):
            rows = self._connection.execute(
                "SELECT * FROM items WHERE state = 'done' AND (?1 IS NULL OR kind IN (SELECT value FROM "
                "json_each(?1))) ORDER BY number",
                (_keys(kinds or None),),
            )
            for row in rows:
                yield Done(
                    row["key"], row["kind"], row["work"], json.loads(row["result"]), row["seconds"],
                    row["worker"], row["finished_at"], row["computed"], row["begun"],
                )  # fmt: skip

    def result(self, key: str) -> dict[str, Any] | None:
        """The result of one item; None where it is not done."""
        for row in self._read("SELECT result FROM items WHERE state = 'done' AND key = ?", (key,)):
            return dict(json.loads(row["result"]))
        return None

    def failures(self) -> list[Failure]:
        """Failed items in the order in which they were added."""
        rows = self._read("SELECT * FROM items WHERE state = 'failed' ORDER BY number")
        return [
            Failure(
                row["key"],
                row["kind"],
                json.loads(row["work"]),
                row["error"],
                row["details"] or "",
                row["because"],
            )
            for row in rows
        ]

    def counts(self, only: Collection[str] | None = None) -> dict[str, int]:
        """Number of items in each of the states open, taken, done and failed; of the keys in ``only``."""
        rows = self._read(
            f"SELECT state, count(*) AS n FROM items WHERE {_AMONG} GROUP BY state", (_keys(only),)
        )
        return dict.fromkeys(STATES, 0) | {row["state"]: row["n"] for row in rows}

    def goes_on(self, only: Collection[str] | None = None) -> bool:
        """Whether something can be started, or somebody is at work that more may come of; of the keys in
        ``only``.

        False as well where open items need something that nobody works on.
        """
        (row,) = self._read(
            f"SELECT EXISTS (SELECT 1 FROM items WHERE state = 'taken' AND {_AMONG}) "
            f"OR EXISTS (SELECT 1 FROM items WHERE {_READY} AND {_AMONG}) "
            f"OR EXISTS (SELECT 1 FROM items WHERE state = 'open' AND {_AMONG}) "
            "AND EXISTS (SELECT 1 FROM items WHERE state = 'taken') AS goes_on",
            (_keys(only),),
        )
        return bool(row["goes_on"])

    def mean_seconds(self) -> dict[str, float]:
        """Mean seconds of a finished item, by kind."""
        rows = self._read("SELECT kind, avg(seconds) AS mean FROM items WHERE state = 'done' GROUP BY kind")
        return {row["kind"]: row["mean"] for row in rows}

    # Within

    def _start_of(self, key: str) -> int:
        if key not in self._held:
            raise ValueError(f"Item {key!r} is not held: claim it first.")
        return self._held[key][0]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One thread at a time, one transaction; database errors come out as ``UserError``."""
        with self._lock, readable_errors(self.path), transaction(self._connection):
            yield self._connection

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock, readable_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _keep_leases(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="grid leases", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        while not self._closed.wait(self.lease / 6):
            try:
                with self._writing() as connection:
                    for key, (start, pid) in list(self._held.items()):
                        lease = Lease.of(pid, self.lease)
                        connection.execute(
                            "UPDATE items SET until = ?, until_ticks = ? WHERE key = ? AND state = 'taken' "
                            "AND begun = ?",
                            (lease.until, lease.until_ticks, key, start),
                        )
            except UserError:
                continue  # a full or busy disk: the next beat may go through


def _keys(only: Collection[str] | None) -> str | None:
    return None if only is None else json.dumps(sorted(only))


def _is_there(connection: sqlite3.Connection, key: str) -> bool:
    return connection.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None


def _reopen_abandoned(connection: sqlite3.Connection) -> None:
    for row in connection.execute("SELECT * FROM items WHERE state = 'taken'").fetchall():
        lease = Lease(row["host"], row["pid"], row["started"], row["until"], row["until_ticks"])
        if lease.is_over():
            connection.execute("UPDATE items SET state = 'open' WHERE key = ?", (row["key"],))


def _fail_dependants(connection: sqlite3.Connection, key: str) -> None:
    """Whatever needs a failed item, directly or not, fails for the same reason."""
    failed = connection.execute("SELECT kind, error, because FROM items WHERE key = ?", (key,)).fetchone()
    if failed["because"] is not None:  # its dependants were failed together with it, by the item at the root
        key, reason = failed["because"], failed["error"]
    else:
        reason = f"because {failed['kind']} {key} failed: {failed['error']}"
    connection.execute(
        "WITH RECURSIVE dependants (key) AS (SELECT key FROM needs WHERE needed = ?1 UNION "
        "SELECT needs.key FROM needs JOIN dependants ON needs.needed = dependants.key) "
        "UPDATE items SET state = 'failed', error = ?2, details = NULL, because = ?1, finished_at = ?3 "
        "WHERE state = 'open' AND key IN (SELECT key FROM dependants)",
        (key, reason, now()),
    )
