"""Progress on stderr: a bar on a terminal, nothing when piped or quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

_quiet = False
_display: Progress | None = None


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
    """A bar with the time left; below the others where some are shown; a silent stand-in where nobody
    watches.
    """
    if _quiet or total < 2 or not sys.stderr.isatty():
        yield _NoBar()
        return
    with _shown() as display:
        task = display.add_task(description, total=total, note="")

        class _RichBar:
            def advance(self, steps: int = 1, note: str = "") -> None:
                display.update(task, advance=steps, note=note)

        try:
            yield _RichBar()
        finally:
            display.remove_task(task)


@contextmanager
def _shown() -> Iterator[Progress]:
    """The display of all bars: there is one terminal."""
    global _display
    if _display is not None:
        yield _display
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
        _display = display
        try:
            yield display
        finally:
            _display = None


def track(items: Sequence[T] | Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate with a bar."""
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()
