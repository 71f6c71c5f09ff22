"""Commands, backbones and tasks as a reader knows them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_hub.reports.html.blocks import Score


def command_text(command: Sequence[str] | None) -> str | None:
    """A stored ``sys.argv`` as it is typed in a shell; None where there is none."""
    if not command:
        return None
    first, rest = str(command[0]), list(map(str, command[1:]))
    name = Path(first).name
    if name == "__main__.py":
        begin = ["python", "-m", "prompt_hub"]
    else:
        begin = ["python", first] if name.endswith(".py") else [name]
    return shlex.join([*begin, *rest])


def model_row(backbone: Mapping[str, Any]) -> tuple[Any, ...]:
    """(name, family, width, identity) of a stored ``BackboneIdentity``."""
    identity = str(backbone.get("embedding_hash") or "")[:12]
    return (
        backbone.get("name", ""),
        str(backbone.get("family", "")).replace("_", " "),
        backbone.get("hidden"),
        identity,
    )


def score(value: float | None, interval: Sequence[float] | None = None, sign: bool = False) -> Score:
    low, high = interval if interval else (None, None)
    return Score(value, low, high, sign)


def plural(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """``a, b and c``, or ``a, b, c and 5 more``."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
