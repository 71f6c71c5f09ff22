"""Which records lie below a folder, told by what is in the files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.runs.records import Record

MAX_DEPTH = 12
MAX_BYTES = 64 * 2**20
_PASSED_OVER = {"checkpoints", "node_modules", "__pycache__"}
_NO_RECORDS = {
    "tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json", "vocab.json",
    "adapter_config.json", "prompt_hub.json", "trainer_state.json", "special_tokens_map.json",
}  # fmt: skip
_WELL_KNOWN = {
    "train.json", "matrix.json", "quickstart.json", "warm_start.json", "mask.json", "project.json",
    "distil.json", "map.json",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """path: of the file. data: what it holds. record: the same, where it is a ``Record``."""

    path: Path
    data: dict[str, Any]
    record: Record | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent


@dataclass
class Records:
    """root: where was looked. by_kind: in the order of their paths. damaged: what is wrong, by path."""

    root: Path
    by_kind: dict[str, list[Found]] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.by_kind.values()))

    def of(self, kind: str) -> list[Found]:
        return self.by_kind.get(kind, [])

    def drop(self, found: Found, reason: str) -> None:
        """A record that turned out not to hold what it should."""
        self.damaged[found.path] = reason
        for several in self.by_kind.values():
            if found in several:
                several.remove(found)

    def name(self, path: Path) -> str:
        """A path as a reader of the report knows it: below the folder that was looked in."""
        below = path.relative_to(self.root)
        return self.root.resolve().name if below == Path() else below.as_posix()


def find_records(folder: Path) -> Records:
    """All records at or below ``folder``; of files that cannot be read only well-known ones are named.

    Folders whose name starts with a dot, checkpoints and links to folders are left out. Raises ``UserError``
    where there is no folder.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {str(folder)!r} to report on. Name one that holds results, such as "
            "runs/quickstart or runs."
        )
    records = Records(folder)
    for path in _files(folder, MAX_DEPTH):
        try:
            kind, found = _read(path)
        except (UserError, OSError, ValueError, RecursionError) as error:
            if path.name in _WELL_KNOWN:
                records.damaged[path] = str(error)
            continue
        if kind is not None:
            records.by_kind.setdefault(kind, []).append(found)
    return records


def _files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # a folder that may not be read holds nothing to report
        return
    for entry in entries:
        if entry.name.endswith(".json") and entry.name not in _NO_RECORDS and os.path.isfile(entry.path):
            yield Path(entry.path)
    for entry in entries:
        hidden = entry.name.startswith(".") or entry.name in _PASSED_OVER
        if depth and not hidden and entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), depth - 1)


def _read(path: Path) -> tuple[str | None, Found]:
    """The kind of what is in a file (None: nothing of ours) and the content."""
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB.")
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object.")
    if {"kind", "settings", "result", "status"} <= set(data):
        record = Record.load(path)
        if not isinstance(data["settings"], dict) or not isinstance(data["result"], dict):
            raise UserError(f"Record {path} is damaged.")
        return str(data["kind"]), Found(path, data, record)
    for kind, needed in _SHAPES.items():
        if needed <= set(data):
            return kind, Found(path, data)
    if path.name in _WELL_KNOWN:
        raise UserError(f"{path} holds something else than its name says.")
    return None, Found(path, data)


_SHAPES = {
    "matrix": {"plan", "made_by", "schema_version"},
    "tour": {"training", "backbone", "settings", "status"},
    "map": {"method", "source", "target", "source_norm", "metrics", "controls"},
    "validation": {"figures", "pairs", "left_out", "scores"},
    "projected": {"map", "method", "controls", "verdict"},
}
"""What is no ``Record``, by the names that it holds at least."""
