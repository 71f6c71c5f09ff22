"""What every executor does with an item: compute it, store what came out, count what kills its workers."""

from __future__ import annotations

import json
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from prompt_hub.errors import UserError, first_line
from prompt_hub.progress import Bar
from prompt_hub.runs.grid import Grid, Item

Work = Callable[[Item], dict[str, Any]]
Keys = Collection[str] | None
"""Keys of items to keep to; None: all."""

LONGEST_WAIT_SECONDS = 1.0
DEATHS_ALLOWED = 3


@dataclass(frozen=True)
class Maker:
    """How a worker comes by its function: ``module:function`` is called once with ``context``, which is JSON.

    It is called when there is something to do, and not before: what it loads is large.
    """

    factory: str
    context: dict[str, Any]

    @cached_property
    def work(self) -> Work:
        module, _, name = self.factory.partition(":")
        made: Work = getattr(import_module(module), name)(self.context)
        return made


@dataclass(frozen=True)
class Outcome:
    """Of one item: a result, or an error with its traceback."""

    result: dict[str, Any] | None
    seconds: float
    error: str = ""
    details: str = ""


def attempt(work: Work, item: Item) -> Outcome:
    """An error in an item is its outcome, and stops nothing else; so is a result that is not JSON."""
    started = time.perf_counter()
    try:
        result = dict(work(item))
        json.dumps(result)
        return Outcome(result, time.perf_counter() - started)
    except Exception as error:
        return Outcome(None, time.perf_counter() - started, describe(error), traceback.format_exc())


def describe(error: Exception) -> str:
    """A message for people as it is; of other errors the class too."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {first_line(error)}"


def store(grid: Grid, key: str, outcome: Outcome) -> None:
    """Puts an outcome into the grid."""
    if outcome.result is None:
        grid.fail(key, outcome.error, outcome.details)
    else:
        grid.finish(key, outcome.result, outcome.seconds)


def batches(only: Keys, then: Callable[[], Collection[str]] | None) -> Iterator[Keys]:
    """``only``, and when that is done what ``then`` gives, until it gives nothing."""
    yield only
    while then is not None and (more := then()):
        yield more


def work_on(
    grid: Grid,
    maker: Maker,
    worker: str,
    only: Collection[str] | None,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Does items until none can be done; waits while others' work may open more.

    after: called after each item, and once at the end.
    """
    wait = 0.05
    while True:
        item = grid.claim(worker, only)
        if item is not None:
            store(grid, item.key, attempt(_made(grid, maker, item), item))
            wait = 0.05
        elif grid.goes_on(only):
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        else:
            after()
            return
        after()


def _made(grid: Grid, maker: Maker, item: Item) -> Work:
    try:
        return maker.work
    except BaseException:
        grid.release(item.key)  # it has not been tried
        raise


def progress_shower(grid: Grid, only: Collection[str] | None, bar: Bar) -> Callable[[], None]:
    """Brings the bar to where the grid is, whoever did the work."""
    shown = 0

    def show() -> None:
        nonlocal shown
        counts = grid.counts(only)
        ended = counts["done"] + counts["failed"]
        bar.advance(ended - shown, f"{counts['failed']} failed" if counts["failed"] else "")
        shown = ended

    return show


class Deaths:
    """Workers that died, by the item that they were at: an item that keeps killing them is failed."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._counts: Counter[str | None] = Counter()

    def add(self, key: str | None, how: str) -> bool:
        """A worker died at item ``key`` (None: before it had one). True when the item was failed for it.

        Raises ``UserError`` when workers die before they have begun.
        """
        self._counts[key] += 1
        if self._counts[key] < DEATHS_ALLOWED:
            return False
        if key is None:
            raise UserError(
                f"{DEATHS_ALLOWED} worker processes ended before they had begun ({how}). If memory is "
                "short, run fewer at once (--jobs)."
            )
        return self._grid.fail(
            key,
            f"{DEATHS_ALLOWED} worker processes ended while at it ({how}). If memory is short, run fewer at "
            "once, or smaller batches.",
        )


def worker_name(number: int | None = None) -> str:
    """Machine and process; ``number`` where one process speaks for several workers."""
    return f"{socket.gethostname()}:{os.getpid()}" + ("" if number is None else f"/{number}")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_settings(workers: int, available: int) -> dict[str, str]:
    """Environment that gives each worker its share of the cores, or fewer where the user asked for fewer."""
    share = max(1, available // workers)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(share, int(asked)) if asked.isdigit() and int(asked) else share
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
