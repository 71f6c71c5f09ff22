"""Trainings that no second process may begin in the same folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from prompt_hub.atomic import alone_in

P = ParamSpec("P")
R = TypeVar("R")


def alone(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For functions of ``args`` and ``folder``: ``UserError`` while another process does ``what`` there.

    Two at once would choose from each other's checkpoints. Of several processes of one run the first asks.
    """

    def decorate(train: Callable[P, R]) -> Callable[P, R]:
        names = signature(train)

        @wraps(train)
        def run(*given: P.args, **named: P.kwargs) -> R:
            bound = names.bind(*given, **named).arguments
            is_first = bound["args"].process_index == 0
            with alone_in(bound["folder"], what) if is_first else nullcontext():
                return train(*given, **named)

        return run

    return decorate
