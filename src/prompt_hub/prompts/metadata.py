"""What is known about a soft prompt: the contents of ``prompt_hub.json``.

Free of torch and transformers, so that a catalogue of prompts lists in milliseconds. The file is read as
hostile input: bounded in size, types checked, and no name in it is ever used as a path.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeGuard

from prompt_hub.errors import UserError
from prompt_hub.reading import open_regular, parse_json
from prompt_hub.runs.records import now, package_versions

SCHEMA_VERSION = 1
METADATA_NAME = "prompt_hub.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PEFT_CONFIG_NAME = "adapter_config.json"
PEFT_PICKLE_NAME = "adapter_model.bin"
TRAIN_ROWS_NAME = "train_rows.safetensors"
INITIAL_NAME = "initial_prompt.safetensors"
CARD_NAME = "README.md"

MAX_JSON_BYTES = 4 * 2**20
MAX_TENSOR_BYTES = 2**30
"""Far above any prompt (100 rows of width 16,384 are 6.5 MB), far below what would exhaust a machine."""


@dataclass
class PromptMetadata:
    """Where a prompt comes from and what it fits.

    backbone: ``BackboneIdentity.to_dict()``; an imported prompt may know only some of its keys.
    label_words, classes: in class order. task_definition: the task as data, so that a task made from a file
    is known again. data: source, fingerprint of the training rows, n.
    metrics: numbers with their counts (``n``), nested as the caller likes.
    parent: None, or ``hash`` and ``relation`` ("warm-start", "projected", "distilled", "imported");
    "combined" has ``parents``, a list of ``hash``, ``task`` and ``weight``.
    files: SHA-256 of the files written beside the json. extra: keys this version does not know, kept.
    """

    backbone: dict[str, Any] = field(default_factory=dict)
    prompt_len: int = 0
    layout: str | None = None
    template: str | dict[str, Any] | None = None
    label_words: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    task: str | None = None
    task_type: str | None = None
    task_definition: dict[str, Any] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    parent: dict[str, Any] | None = None
    prompt_hash: str = ""
    versions: dict[str, Any] = field(default_factory=package_versions)
    created: str = field(default_factory=now)
    files: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def backbone_name(self) -> str | None:
        return self.backbone.get("name") or None

    @property
    def family(self) -> str | None:
        return self.backbone.get("family") or None

    @property
    def hidden(self) -> int | None:
        return self.backbone.get("hidden")

    @property
    def dead_rows(self) -> tuple[int, ...]:
        """Rows that the model never sees: row 0 of an encoder's prompt under layout ``paper``.

        The mask stands in its place. Training still moves it, by gradients of the vector that replaces it, so
        its size and direction say nothing about what the prompt does.
        """
        return (0,) if self.layout == "paper" and self.family == "masked_lm" else ()

    def describe(self) -> str:
        """One line for messages and tables; names are quoted, so they cannot break the line."""
        task = repr(self.task) if self.task else "without a task"
        name = repr(self.backbone_name) if self.backbone_name else "an unknown backbone"
        parts = [self.family, f"width {self.hidden}" if self.hidden else None]
        known = ", ".join(part for part in parts if part)
        return f"prompt {task} for {name}" + (f" ({known})" if known else "")

    def to_dict(self) -> dict[str, Any]:
        known = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extra"}
        return {"schema_version": known.pop("schema_version"), **known, **_unknown(self.extra)}

    def to_json(self) -> str:
        """Strict ASCII JSON: numbers of numpy or torch become plain ones, NaN and infinity become null."""
        text = json.dumps(_plain(self.to_dict()), indent=2, allow_nan=False) + "\n"
        if len(text) > MAX_JSON_BYTES:
            raise UserError(
                f"The prompt's metadata takes {len(text):,} bytes as JSON; at most {MAX_JSON_BYTES:,} can be "
                "read back. Keep long lists (training rows, curves) out of it."
            )
        return text

    def checked(self) -> PromptMetadata:
        """As it will be read back from disk: plain values, or a ``UserError`` for what could not be."""
        return self.from_dict(_plain(self.to_dict()), source="The prompt's metadata")

    @classmethod
    def from_dict(cls, values: Any, source: str = METADATA_NAME) -> PromptMetadata:
        """Checks every type. ``source`` names the origin in error messages."""
        if not isinstance(values, dict):
            raise UserError(f"{source} must hold a JSON object, not {_type_name(values)}.")
        found = values.get("schema_version")
        if not _is_int(found) or found < 1:
            raise UserError(f"{source}: schema_version must be a whole number from 1, not {_short(found)}.")
        if found > SCHEMA_VERSION:
            raise UserError(
                f"{source} has schema version {found}, this version of prompt_hub reads up to "
                f"{SCHEMA_VERSION}. Upgrade prompt_hub to read it."
            )
        # What an old file does not say is unknown, not "now" or "whatever is installed here".
        known: dict[str, Any] = {"versions": {}, "created": ""}
        for item in fields(cls):
            if item.name == "extra" or (item.name not in values and item.name != "prompt_len"):
                continue
            fits, wanted = _CHECKS[item.name]
            value = values.get(item.name)
            if not fits(value):
                raise UserError(f"{source}: {item.name} must be {wanted}, not {_short(value)}.")
            known[item.name] = value
        for key, (fits, wanted) in _BACKBONE_CHECKS.items():
            value = known.get("backbone", {}).get(key)
            if value is not None and not fits(value):
                raise UserError(f"{source}: backbone {key} must be {wanted}, not {_short(value)}.")
        return cls(**known, extra=_unknown(values))


def read_json(path: Path) -> Any:
    """Parses a JSON file of at most 4 MB; anything odd is a ``UserError`` that names the file."""
    try:
        text = read_bounded(path, MAX_JSON_BYTES).decode("utf-8")
        return parse_json(text, parse_constant=_refuse_constant)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(
            f"{path} is not valid JSON: {error}. Restore the file or save the prompt again."
        ) from None


def read_metadata(folder: Path) -> PromptMetadata:
    path = folder / METADATA_NAME
    return PromptMetadata.from_dict(read_json(path), source=str(path))


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise UserError(
                    f"{path} has {size:,} bytes; at most {limit:,} are read. Is it a prompt at all?"
                )
            return file.read(limit)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None


def check_file(data: bytes, name: str, metadata: PromptMetadata, folder: Path) -> None:
    """Raises when ``data`` is not what ``prompt_hub.json`` says was written as ``name``."""
    expected = metadata.files.get(name)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise UserError(
            f"{folder}: {name} is not the file that {METADATA_NAME} was written for. A save was cut off or a "
            "file was replaced. Save the prompt again."
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _unknown(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _CHECKS}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise UserError(f"A prompt's metadata cannot hold {_short(value)}: JSON has no {_type_name(value)}.")


def _type_name(value: Any) -> str:
    return type(value).__name__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


_OBJECT = (_is_object, "an object")
_TEXT_OR_NULL = (_optional(_is_text), "text or null")
_TEXTS = (_is_texts, "a list of texts")
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "backbone": _OBJECT,
    "prompt_len": (lambda value: _is_int(value) and value > 0, "a whole number from 1"),
    "layout": _TEXT_OR_NULL,
    "template": (lambda value: value is None or isinstance(value, (str, dict)), "text, an object or null"),
    "label_words": _TEXTS,
    "classes": _TEXTS,
    "task": _TEXT_OR_NULL,
    "task_type": _TEXT_OR_NULL,
    "task_definition": (_optional(_is_object), "an object or null"),
    "data": _OBJECT,
    "seed": (_optional(_is_int), "a whole number or null"),
    "hyperparameters": _OBJECT,
    "metrics": _OBJECT,
    "parent": (_optional(_is_object), "an object or null"),
    "prompt_hash": (_is_text, "text"),
    "versions": _OBJECT,
    "created": (_is_text, "text"),
    "files": _OBJECT,
    "schema_version": (_is_int, "a whole number"),
}
_BACKBONE_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("name", "revision", "family", "model_type", "embedding_hash", "tokenizer_hash"),
        (_is_text, "text or null"),
    ),
    "hidden": (lambda value: _is_int(value) and value > 0, "a whole number from 1 or null"),
}
