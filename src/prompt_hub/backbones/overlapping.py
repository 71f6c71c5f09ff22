"""A block that several callers may be in at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any


class Overlapping:
    """Entered when the first of its blocks is opened, left when the last is closed."""

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        """make: gives what to enter."""
        self._make = make
        self._open = 0
        self._entered = ExitStack()

    @property
    def is_open(self) -> bool:
        return self._open > 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        if not self._open:
            self._entered.enter_context(self._make())
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._entered.close()
