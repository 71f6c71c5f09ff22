"""Files that may be a stranger's: regular ones, and JSON that every later step can write again."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_DIGITS = 300
"""Of a whole number: with some more it is no float either."""


def parse_json(text: str, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """``json.loads``; ``ValueError`` also for what could not be written again: half of a surrogate pair, a
    whole number that is no float, endless nesting."""
    parse_int = _bounded_int if re.search(rf"[0-9]{{{_DIGITS}}}", text) else None
    try:
        value = json.loads(text, parse_int=parse_int, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if re.search(r"\\u[dD][89a-fA-F]", text):
        _check_characters(value)
    return value


def _bounded_int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"a text holds half of a surrogate pair, {half!r}") from None


def open_regular(path: Path) -> IO[bytes]:
    """A file to read; ``OSError`` for what is none. Opening a pipe in its place would wait for ever."""
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is not a regular file")
    return file


def read_regular(path: Path) -> bytes:
    """As ``Path.read_bytes``, of a regular file."""
    with open_regular(path) as file:
        return file.read()
