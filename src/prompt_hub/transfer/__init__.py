"""Reuse of trained prompts on other tasks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_hub.transfer.warm_start_table import warm_start

_WHERE = {
    "warm_start": "prompt_hub.transfer.warm_start_table",
}

__all__ = ["warm_start"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
