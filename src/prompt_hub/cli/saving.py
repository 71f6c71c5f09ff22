"""Prompts that come from elsewhere, into folders that may hold something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.cli.output import say
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

_LONGEST = 200


def folder_named(name: str) -> str:
    """A folder's name for a key of somebody's file: one step down from where it is put, and plain to read."""
    found = re.sub(r"[^\w.+=@ -]", "-", name.replace("/", "--")).lstrip(". ")[:_LONGEST]
    if not found:
        raise UserError(f"No folder can be named after the key {name!r}. Take it alone, with --key.")
    return found


def save_where_free(prompt: SoftPrompt, folder: Path, same_as: str = "") -> dict[str, Any]:
    """Saves it unless it is there already, says so, and gives what ``--json`` tells of it.

    same_as: another name of the same prompt. Raises ``UserError`` where another prompt, or any other file, is
    in its place.
    """
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    is_new = not (folder / "prompt_hub.json").exists()
    if is_new:
        files = [each.name for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []
        if files:
            raise UserError(f"{folder} holds other files ({files[0]}). Choose another --output.")
        prompt.save_pretrained(folder)
    elif SoftPrompt.from_pretrained(folder).hash != prompt.hash:
        raise UserError(f"{folder} already holds another prompt. Choose another --output.")
    done = "saved in" if is_new else "was there already:"
    twin = f" It is the same prompt as {same_as}." if same_as else ""
    say(f"{prompt.metadata.describe()}, {prompt.prompt_len} rows, {done} {folder}.{twin}")
    return {"path": str(folder), "hash": prompt.hash, "task": prompt.metadata.task}
