"""Reuse of trained prompts on other tasks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_hub.transfer.ensemble import evaluate_ensemble
    from prompt_hub.transfer.matrix import run_matrix
    from prompt_hub.transfer.races import Racing
    from prompt_hub.transfer.selection import rank
    from prompt_hub.transfer.summaries import best_sources, summary
    from prompt_hub.transfer.table import load_table
    from prompt_hub.transfer.verdicts import race_table
    from prompt_hub.transfer.warm_start_table import warm_start

_WHERE = {
    "Racing": "prompt_hub.transfer.races",
    "best_sources": "prompt_hub.transfer.summaries",
    "evaluate_ensemble": "prompt_hub.transfer.ensemble",
    "load_table": "prompt_hub.transfer.table",
    "rank": "prompt_hub.transfer.selection",
    "race_table": "prompt_hub.transfer.verdicts",
    "run_matrix": "prompt_hub.transfer.matrix",
    "summary": "prompt_hub.transfer.summaries",
    "warm_start": "prompt_hub.transfer.warm_start_table",
}

__all__ = [
    "Racing",
    "best_sources",
    "evaluate_ensemble",
    "load_table",
    "race_table",
    "rank",
    "run_matrix",
    "summary",
    "warm_start",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: reading a table needs no torch."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
