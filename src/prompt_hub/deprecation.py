"""Names that changed: the old one works, with a warning, until the next minor version.

So a name that 0.2 replaces still works in all of 0.2.x, and goes with 0.3.0. ``tests/test_interface.py``
compares commands, options and Python names with those of every released version, and fails both where an old
name is refused too early and where one is kept too long.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class RenamedWarning(FutureWarning):
    """An old name was used. Python shows it to users, not to developers alone."""


@dataclass(frozen=True)
class Renamed:
    """old, new: what it was called, and is. since: the version that changed it, ``"0.2"``."""

    old: str
    new: str
    since: str

    @property
    def gone_in(self) -> str:
        """The first version that may refuse the old name, ``"0.3"``."""
        major, minor = self.since.split(".")[:2]
        return f"{major}.{int(minor) + 1}"

    def message(self) -> str:
        return f"{self.old} is called {self.new} since {self.since}; the old name goes with {self.gone_in}."


def renamed_keywords(*changes: Renamed) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For functions whose keywords have other names now. ``TypeError`` where both names are given."""
    by_old = {change.old: change for change in changes}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*given: P.args, **named: P.kwargs) -> R:
            keywords: dict[str, Any] = dict(named)
            for old in by_old.keys() & keywords.keys():
                change = by_old[old]
                if change.new in keywords:
                    raise TypeError(
                        f"{function.__name__}() got both {old!r} and {change.new!r}, its new name"
                    )
                keywords[change.new] = keywords.pop(old)
                warnings.warn(change.message(), RenamedWarning, stacklevel=2)
            return function(*given, **keywords)  # type: ignore[arg-type]

        call.renamed = changes  # type: ignore[attr-defined]
        return call

    return decorate
