"""Progress on stderr: a bar on a terminal, nothing when piped or quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn bars off (or on again) for this process."""
    global _quiet
    _quiet = quiet


class Bar(Protocol):
    def advance(self, steps: int = 1, note: str = "") -> None: ...


class _NoBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        return None


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Bar]:
    """A bar with the time left; a silent stand-in where nobody watches."""
    if _quiet or total < 2 or not sys.stderr.isatty():
        yield _NoBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(description, total=total, note="")

        class _RichBar:
            def advance(self, steps: int = 1, note: str = "") -> None:
                display.update(task, advance=steps, note=note)

        yield _RichBar()


def track(items: Sequence[T] | Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate with a bar."""
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
