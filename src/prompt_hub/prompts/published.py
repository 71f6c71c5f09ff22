"""A collection of prompts that any web server, or a folder, can serve.

``publish`` writes ``index.json`` beside the prompt folders: what each prompt is, and size and SHA-256 of each
file. Readers trust nothing but these: names in an index cannot leave the folder they are joined to, a file of
another size or content is refused, and only safetensors and JSON are fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from prompt_hub.atomic import write_file
from prompt_hub.errors import UserError, first_line, unknown_name
from prompt_hub.prompts.metadata import (
    INITIAL_NAME,
    MAX_TENSOR_BYTES,
    METADATA_NAME,
    PEFT_CONFIG_NAME,
    TRAIN_ROWS_NAME,
    WEIGHTS_NAME,
    PromptMetadata,
    read_bounded,
)
from prompt_hub.prompts.store import find_prompts
from prompt_hub.runs.records import now

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

INDEX_NAME = "index.json"
VERSION = 1
MAX_INDEX_BYTES = 64 * 2**20
TIMEOUT = 30.0
"""Seconds without an answer of a server."""

_KIND = "prompt-hub collection"
_FILES = (METADATA_NAME, PEFT_CONFIG_NAME, WEIGHTS_NAME, TRAIN_ROWS_NAME, INITIAL_NAME)
_NEEDED = (METADATA_NAME, WEIGHTS_NAME)
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*){0,7}")


@dataclass(frozen=True)
class Item:
    """One prompt of an index. files: size in bytes and SHA-256 by file name."""

    name: str
    hash: str
    task: str | None
    backbone: str | None
    family: str | None
    layout: str | None
    prompt_len: int
    hidden: int | None
    files: dict[str, tuple[int, str]] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        files = {name: {"size": size, "sha256": digest} for name, (size, digest) in self.files.items()}
        return {**self.facts(), "files": files}

    def facts(self) -> dict[str, Any]:
        """All but the files."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "files"}


@dataclass(frozen=True)
class Index:
    """place: the folder, or the URL without its last ``/``, that names are joined to."""

    place: str
    items: dict[str, Item]

    def search(
        self, query: str | None = None, backbone: str | None = None, task: str | None = None
    ) -> list[Item]:
        """query: all its words stand in name, task or backbone."""
        words = (query or "").lower().split()

        def fits(item: Item) -> bool:
            text = f"{item.name} {item.task or ''} {item.backbone or ''}".lower()
            of_both = (backbone is None or item.backbone == backbone) and (task is None or item.task == task)
            return of_both and all(word in text for word in words)

        return [item for item in self.items.values() if fits(item)]

    def fetch(self, name: str) -> SoftPrompt:
        """A prompt, checked against the index. ``UserError`` for what is missing, altered or too large."""
        from prompt_hub.prompts.soft_prompt import SoftPrompt

        if name not in self.items:
            raise unknown_name("prompt", name, self.items, f"They are those of {self.place}.")
        item = self.items[name]
        with tempfile.TemporaryDirectory() as folder:
            for file, (size, digest) in item.files.items():
                place = (
                    f"{self.place}/{quote(name)}/{file}" if is_url(self.place) else self._inside(name, file)
                )
                data = _read(place, size)
                if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
                    raise UserError(
                        f"{place} is not the file that {INDEX_NAME} was written for. The collection must be "
                        "published again; nothing was kept."
                    )
                Path(folder, file).write_bytes(data)
            prompt = SoftPrompt.from_pretrained(folder)
        if prompt.hash != item.hash:
            raise UserError(f"{self.place}: {name} is the prompt {prompt.hash}, not {item.hash} as listed.")
        return prompt

    def _inside(self, name: str, file: str) -> str:
        root = Path(self.place).resolve()
        path = (root / name / file).resolve()
        if not path.is_relative_to(root):
            raise UserError(f"{root / name / file} is a link to {path}, outside {root}. It was not read.")
        return str(path)


def publish(folder: str | os.PathLike[str]) -> tuple[Index, dict[str, str]]:
    """Writes the index of all prompts below ``folder``; also why some could not be listed, by place."""
    root = Path(folder)
    items, left_out = {}, {}
    for entry in find_prompts(root):
        name = entry.path.relative_to(root).as_posix()
        if entry.metadata is None:
            left_out[name] = str(entry.error)
        elif entry.path == root:
            left_out[name] = "it is no folder of prompts but a prompt: publish the folder above it"
        elif not _NAME.fullmatch(name):
            strange = next((one for one in name if not _NAME.fullmatch(f"a{one}a")), name[:1])
            left_out[name] = (
                f"names here are of letters, digits, '.', '_' and '-', none with '.' in front, and this one "
                f"holds {strange!a}. Rename the folder"
            )
        else:
            items[name] = _item(name, entry.path, entry.metadata)
    if not items:
        raise UserError(
            f"There is no prompt below {root} that could be published. A collection is a folder of prompt "
            "folders; see them with: prompt-hub prompts ls"
        )
    if (root / INDEX_NAME).exists():
        read_index(str(root))  # is it another file of that name?
    prompts = [item.to_dict() for item in items.values()]
    contents = {"kind": _KIND, "version": VERSION, "created": now(), "prompts": prompts}
    try:
        write_file(root / INDEX_NAME, (json.dumps(contents, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"Cannot write {root / INDEX_NAME}: {error.strerror or error}.") from None
    return Index(str(root), items), left_out


def _item(name: str, folder: Path, known: PromptMetadata) -> Item:
    files = {}
    for file in _FILES:
        if os.path.lexists(folder / file):
            data = read_bounded(folder / file, MAX_TENSOR_BYTES)
            files[file] = (len(data), hashlib.sha256(data).hexdigest())
    return Item(
        name, known.prompt_hash, known.task, known.backbone_name, known.family, known.layout,
        known.prompt_len, known.hidden, files,
    )  # fmt: skip


def is_url(place: str) -> bool:
    return place.startswith(("https://", "http://"))


def is_collection(place: str) -> bool:
    """Whether a user means a collection: a URL, or a folder with an index."""
    return is_url(place) or (Path(place) / INDEX_NAME).is_file()


def read_index(place: str) -> Index:
    """Of a folder or of ``https://...``, with or without ``/index.json`` at its end."""
    place = place.removesuffix(INDEX_NAME).rstrip("/")
    source = f"{place}/{INDEX_NAME}"
    if not is_url(place) and not Path(source).is_file():
        raise UserError(
            f"There is no {INDEX_NAME} in {place or '/'}. Write it with: prompt-hub prompts publish FOLDER"
        )
    try:
        contents = json.loads(_read(source, MAX_INDEX_BYTES).decode("utf-8"))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is no JSON: {first_line(error)}. Is it a collection's address?") from None
    if not isinstance(contents, dict) or contents.get("kind") != _KIND:
        raise UserError(f"{source} is not the index of a collection of prompts.")
    version = contents.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(
            f"{source} has version {version!r:.20}; this program reads up to {VERSION}. Upgrade prompt-hub."
        )
    return Index(place, {item.name: item for item in _items(contents.get("prompts"), source)})


def _items(entries: Any, source: str) -> Iterable[Item]:
    if not isinstance(entries, list):
        raise UserError(f"{source}: prompts must be a list.")
    for entry in entries:
        try:
            yield _parsed(entry)
        except (TypeError, ValueError, LookupError) as error:
            raise UserError(f"{source}: an entry is damaged: {first_line(error)}.") from None


def _parsed(entry: Mapping[str, Any]) -> Item:
    """Raises ``ValueError``, ``TypeError`` or ``LookupError`` for what a publisher would not write."""
    name = entry["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r:.60} would leave the folder, or is none")
    if not isinstance(entry["files"], dict):
        raise TypeError(f"{name}: files must be an object")
    files = {}
    for file, about in entry["files"].items():
        size, digest = about["size"], about["sha256"]
        if file not in _FILES:
            raise ValueError(f"{name} has a file {file!r:.60}; those of a prompt are {', '.join(_FILES)}")
        if not isinstance(size, int) or not 0 < size <= MAX_TENSOR_BYTES:
            raise ValueError(f"{name}: {file} cannot have {size!r:.30} bytes")
        files[file] = (size, str(digest))
    if not all(file in files for file in _NEEDED):
        raise ValueError(f"{name} lacks {' or '.join(_NEEDED)}")
    texts = {key: entry.get(key) for key in ("task", "backbone", "family", "layout")}
    prompt_len, hidden = entry["prompt_len"], entry.get("hidden")
    if not all(value is None or isinstance(value, str) for value in texts.values()):
        raise TypeError(f"{name}: {', '.join(texts)} must be text or null")
    if not isinstance(prompt_len, int) or not isinstance(hidden, int | None):
        raise TypeError(f"{name}: prompt_len and hidden must be whole numbers")
    return Item(name, str(entry["hash"]), **texts, prompt_len=prompt_len, hidden=hidden, files=files)


def _read(place: str, limit: int) -> bytes:
    """At most ``limit`` bytes; ``UserError`` where there are more."""
    if not is_url(place):
        return read_bounded(Path(place), limit)
    try:
        with urllib.request.urlopen(place, timeout=TIMEOUT) as answer:  # a URL by is_url: http or https
            if urlsplit(place).scheme == "https" and urlsplit(answer.url).scheme != "https":
                raise UserError(f"{place} leads to {answer.url}, which is not https. It was not read.")
            data: bytes = answer.read(limit + 1)
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{place}: the server answers {error.code} {error.reason}. Check the address."
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or first_line(error)
        raise UserError(f"Cannot read {place}: {reason}. Check the address and the network.") from None
    if len(data) > limit:
        raise UserError(f"{place} is larger than the {limit:,} bytes that it may have. It was not read.")
    return data
