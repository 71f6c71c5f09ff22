"""The catalogue: which prompts lie below a folder. Free of torch and transformers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prompt_hub.atomic import locked
from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import (
    MAX_TENSOR_BYTES,
    METADATA_NAME,
    WEIGHTS_NAME,
    PromptMetadata,
    check_file,
    read_bounded,
    read_metadata,
)

MAX_DEPTH = 8


@dataclass(frozen=True)
class Entry:
    """One prompt folder. Exactly one of ``metadata`` and ``error`` is None."""

    path: Path
    metadata: PromptMetadata | None
    error: str | None


def find_prompts(root: str | os.PathLike[str], recursive: bool = True) -> list[Entry]:
    """All prompt folders at or below ``root``, sorted by path; damaged ones carry their ``error``.

    Without ``recursive``: ``root`` itself and the folders directly in it. Folders behind symbolic links and
    those whose name starts with a dot (also the remains of a save that was killed) are left out.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise UserError(f"There is no folder {str(folder)!r} to look for prompts in.")
    inside = folder.resolve()
    entries = [
        _entry(path, inside) for path in _folders(folder, MAX_DEPTH if recursive else 1) if _holds(path)
    ]
    return sorted(entries, key=lambda entry: entry.path)


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth == 0:
        return
    try:
        with os.scandir(folder) as found:
            children = [
                item.path
                for item in found
                if not item.name.startswith(".") and item.is_dir(follow_symlinks=False)
            ]
    except OSError:  # a folder that may not be read holds nothing to list
        return
    for child in children:
        yield from _folders(Path(child), depth - 1)


def _holds(folder: Path) -> bool:
    try:
        return os.path.lexists(folder / METADATA_NAME)
    except ValueError:
        return False


def _entry(folder: Path, inside: Path) -> Entry:
    try:
        for name in (METADATA_NAME, WEIGHTS_NAME):
            target = (folder / name).resolve()
            if not target.is_relative_to(inside):
                raise UserError(f"{folder / name} is a link to {target}, outside {inside}. It was not read.")
        with locked(folder, shared=True):
            metadata = read_metadata(folder)
            weights = read_bounded(folder / WEIGHTS_NAME, MAX_TENSOR_BYTES)
        check_file(weights, WEIGHTS_NAME, metadata, folder)
        return Entry(folder, metadata, None)
    except (UserError, OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        return Entry(folder, None, str(error))
