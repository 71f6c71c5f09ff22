"""Options and commands that have other names now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prompt_hub.cli.output import warn
from prompt_hub.deprecation import Renamed


def old_options(*changes: Renamed) -> dict[str, Any]:
    """``context_settings`` of a command whose options were renamed, ``Renamed("--old", "--new", "0.2")``.

    Of a group: also of its commands, ``Renamed("old", "new", "0.2")``. The old name is not in ``--help``,
    works on the command line and in a file of options, and is said on stderr. A choice that is called as the
    old option was, but for the dashes, would be taken for it.
    """
    by_old = {change.old.lstrip("-"): change for change in changes}

    def current(token: str) -> str:
        change = by_old.get(token)
        if change is None:
            return token
        warn(change.message())
        return change.new.lstrip("-")

    current.renamed = changes  # type: ignore[attr-defined]
    return {"token_normalize_func": current}


def current_name(token: str, normalise: Callable[[str], str] | None) -> str:
    """A name of a file of options as it is now, ``max_steps``. normalise: of the command's context."""
    token = token.replace("_", "-")
    return (token if normalise is None else normalise(token)).replace("-", "_")
