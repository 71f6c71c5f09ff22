"""Several prompts at once: those below a folder, or in one file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from prompt_hub.errors import UserError
from prompt_hub.prompts.formats import import_prompts
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.prompts.store import find_prompts


@dataclass
class Collection:
    """prompts: by name, which is the place below the folder or the key in the file. damaged: why, by name."""

    place: Path
    prompts: dict[str, SoftPrompt]
    damaged: dict[str, str] = field(default_factory=dict)

    def location(self, name: str) -> Path:
        """Where a prompt of a folder lies by itself."""
        inside = self.place / name
        return inside if inside.exists() else self.place


def load_prompts(
    place: str | os.PathLike[str], *, family: str | None = None, layout: str | None = None
) -> Collection:
    """Prompt folders below a folder; else the paper's ``task_prompt`` folders; or the prompts of one file.

    family, layout: what foreign files do not say. Raises ``UserError`` where there is no prompt at all.
    """
    path = Path(place)
    if not path.exists():
        raise UserError(f"There is nothing at {path}. Name a folder of prompts, or a file such as .npz.")
    entries = find_prompts(path) if path.is_dir() else []
    if not entries:
        found = import_prompts(path, family=family, layout=layout)
        return Collection(path, {key or path.stem: prompt for key, prompt in found.items()})
    collection = Collection(path, {})
    for entry in entries:
        name = entry.path.relative_to(path).as_posix() if entry.path != path else entry.path.name
        try:
            if entry.error is not None:
                raise UserError(entry.error)
            collection.prompts[name] = SoftPrompt.from_pretrained(entry.path)
        except UserError as error:
            collection.damaged[name] = str(error)
    return collection
