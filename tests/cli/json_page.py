"""What ``docs/json.md`` says of the object that a command prints with ``--json``."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "json.md"

_SECTION = re.compile(r"^### `prompt-hub ([\w -]+)`\n(.*?)(?=^###? |\Z)", flags=re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"`([\w\[\].]+)`(\??)\s([a-z]+(?:\sor\s[a-z]+)*)[,.]")


def documented() -> dict[str, dict[str, tuple[bool, set[str]]]]:
    """Keys by command: may it be absent, and which types it has."""
    found = {}
    for command, body in _SECTION.findall(PAGE.read_text(encoding="utf-8")):
        # The first paragraph; what follows is for readers.
        keys = _KEY.findall(body.strip().split("\n\n")[0])
        found[command] = {key: (bool(optional), allowed(types)) for key, optional, types in keys}
    return found


def allowed(types: str) -> set[str]:
    """What stands there, and whole numbers where numbers may be."""
    found = set(re.split(r"\sor\s", types))
    return found | {"integer"} if "number" in found else found
