"""Records: the stored result of one piece of work, with everything needed to repeat it.

Written atomically: a reader sees the whole old file or the whole new one, never a half.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from prompt_hub.atomic import write_file
from prompt_hub.errors import UserError
from prompt_hub.reading import parse_json, read_regular

RECORD_VERSION = 1
_PACKAGES = (
    "prompt-hub",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "numpy",
)


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def _package_versions() -> tuple[tuple[str, str], ...]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def package_versions() -> dict[str, str]:
    """Installed versions of the libraries that decide a result's numbers; imports none of them."""
    return dict(_package_versions())


def environment() -> dict[str, Any]:
    """Versions and machine, as far as results can depend on them."""
    return {
        "python": platform.python_version(),
        "packages": package_versions(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
    }


class DamagedRecord(UserError):
    """The file of a record holds something else, or half of it."""


@dataclass
class Record:
    """kind: train, eval, ... settings: what was asked. result: what came out. status: running or done."""

    kind: str
    settings: dict[str, Any]
    result: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    command: list[str] = field(default_factory=lambda: list(sys.argv))
    environment: dict[str, Any] = field(default_factory=environment)
    created: str = field(default_factory=now)
    finished: str | None = None
    record_version: int = RECORD_VERSION

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    def finish(self, path: Path, result: dict[str, Any]) -> None:
        self.result, self.status, self.finished = result, "done", now()
        self.save(path)

    @classmethod
    def load(cls, path: Path) -> Record | None:
        """The record, or None where there is none. Raises ``UserError`` for a file that is not one."""
        try:
            data = parse_json(read_regular(path).decode("utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"Record {path} cannot be read ({error}). Remove it to start anew.") from None
        except ValueError as error:
            raise DamagedRecord(f"Record {path} is damaged ({error}). Remove it to start anew.") from None
        if not isinstance(data, dict):
            raise DamagedRecord(f"Record {path} is damaged. Remove it to start anew.")
        version = data.get("record_version", 0)
        if not isinstance(version, int):
            raise DamagedRecord(f"Record {path} is damaged. Remove it to start anew.")
        if version > RECORD_VERSION:
            raise UserError(
                f"Record {path} was written by a newer version of Prompt Hub: format {version}, this one "
                f"reads up to {RECORD_VERSION}."
            )
        known = {key: data[key] for key in cls.__dataclass_fields__ if key in data}
        try:
            return cls(**known)
        except TypeError:
            raise DamagedRecord(f"Record {path} is damaged. Remove it to start anew.") from None

    @classmethod
    def load_or_set_aside(cls, path: Path) -> Record | None:
        """As ``load``, for work that can be done again: a damaged file is renamed, with a warning: None."""
        try:
            return cls.load(path)
        except DamagedRecord:
            aside = path.with_name(f"{path.name}.damaged")
            os.replace(path, aside)
            warnings.warn(
                f"Record {path} was damaged; it is now {aside}, and the work begins anew.", stacklevel=2
            )
            return None


def check_record_path(path: Path, kind: str) -> None:
    """Before long work: ``UserError`` if no record can be written there or it would replace another file.

    A record of the same ``kind`` may be replaced.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file for the record, such as {path / 'eval.json'}.")
    if path.exists():
        try:
            found = Record.load(path)
        except UserError:
            found = None
        if found is None or found.kind != kind:
            raise UserError(
                f"{path} is there already and is no record of {kind}. It is not replaced; name another file."
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent):
            return
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose a writable place.") from None


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode())
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}. Choose a writable --output."
        ) from None


def json_text(data: Mapping[str, Any]) -> str:
    """One line; NaN becomes null."""
    try:
        text = json.dumps(data, default=_dict_or_text, allow_nan=False)
    except (TypeError, ValueError):  # a NaN, or a key of another kind: rare, and looking for one takes long
        text = json.dumps(_plain(data), default=str)
    return text + "\n"


def _dict_or_text(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
