"""YAML and JSON from strangers: data and nothing else, of bounded size and depth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from prompt_hub.errors import UserError
from prompt_hub.reading import open_regular, parse_json

MAX_BYTES = 1_000_000
_MAX_DEPTH = 20


class _Strict:
    """Refuses aliases (which can unfold without bound), tags, repeated keys and deep nesting."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[attr-defined]
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, f"the alias *{event.anchor} is not allowed. Write the value out.")
        if getattr(event, "tag", None) is not None:
            raise _refused(event, f"the tag {event.tag!r} is not allowed. Remove it.")
        if self._depth >= _MAX_DEPTH:
            raise _refused(event, f"nested more than {_MAX_DEPTH} levels deep.")
        self._depth += 1
        try:
            return super().compose_node(parent, index)  # type: ignore[misc]
        finally:
            self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(key, "a key must be plain text.")
            if key.value in seen:
                raise _refused(key, f"the key {key.value!r} appears twice.")
            seen.add(key.value)
        return super().construct_mapping(node, deep)  # type: ignore[misc, no-any-return]


class _TextLoader(_Strict, yaml.BaseLoader):
    """Every scalar stays text: the label words ``no``, ``yes`` and ``true`` are not booleans."""


class _ValueLoader(_Strict, yaml.SafeLoader):
    """Numbers, booleans and dates become such."""


def _refused(place: Any, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def read_yaml(path: Path, what: str, *, all_text: bool = False) -> Any:
    """Of a file of at most 1 MB; ``UserError`` says where it is broken or what it may not contain.

    what: it should be, such as ``task file``. all_text: numbers and booleans stay as they are written.
    """
    return parse_yaml(read_text(path, what), path, what, all_text=all_text)


def parse_yaml(text: str, path: Path, what: str, *, all_text: bool = False) -> Any:
    """``read_yaml`` of a text that stands in ``path``."""
    try:
        return yaml.load(text, Loader=_TextLoader if all_text else _ValueLoader)
    # Of a date that there is not, and of a number that is too long, SafeLoader reports a ValueError.
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        problem = ", ".join(filter(None, parts)) or str(error)
        raise UserError(f"{path}{line} is not a valid {what}: {problem}") from error


def read_json(path: Path, what: str) -> Any:
    """Of a file of at most 1 MB."""
    try:
        return parse_json(read_text(path, what))
    except ValueError as error:
        raise UserError(f"{path} is not a valid {what}: {error}") from error


def read_text(path: Path, what: str) -> str:
    """UTF-8 of at most 1 MB, without a byte order mark."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise UserError(f"{path} has {size:,} bytes; of a {what} at most {MAX_BYTES:,} are read.")
            return file.read(MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"Cannot read {what} {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what.capitalize()} {path} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error
