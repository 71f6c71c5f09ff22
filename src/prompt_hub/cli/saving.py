"""Prompts that come from elsewhere, into folders that may hold something."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.cli.options import check_result_folder
from prompt_hub.cli.output import say
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

_LONGEST = 200


def folder_named(name: str) -> str:
    """A folder's name for a key of somebody's file: one step down from where it is put, and plain to read."""
    found = re.sub(r"[^\w.+=@ -]", "-", name.replace("/", "--")).lstrip(". -")[:_LONGEST]
    if not found:
        raise UserError(f"No folder can be named after the key {name!r}. Take it alone, with --key.")
    return found


def folders_named(names: Iterable[str], parent: Path) -> dict[str, Path]:
    """A folder in ``parent`` for each key; ``UserError`` where two would share one."""
    found: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for name in names:
        found[name] = parent / folder_named(name)
        first = owners.setdefault(found[name], name)
        if first != name:
            raise UserError(
                f"The keys {first!r} and {name!r} would both go into {found[name]}. Take them one by one, "
                "with --key and an --output each."
            )
    return found


def check_new_folder(folder: Path) -> None:
    """For a prompt that is still to be made: ``UserError`` where anything is in its place."""
    if (folder / "prompt_hub.json").exists():
        raise UserError(f"{folder} already holds a prompt. Choose another --output.")
    check_result_folder(folder, "prompt_hub.json", "a prompt")


def check_free(prompt: SoftPrompt, folder: Path) -> bool:
    """Whether the prompt is not there yet; ``UserError`` where something else is in its place."""
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    if not (folder / "prompt_hub.json").exists():
        check_new_folder(folder)
        return True
    if SoftPrompt.from_pretrained(folder).hash != prompt.hash:
        raise UserError(f"{folder} already holds another prompt. Choose another --output.")
    return False


def save_where_free(prompt: SoftPrompt, folder: Path, same_as: str = "") -> dict[str, Any]:
    """Saves it unless it is there already, says so, and gives what ``--json`` tells of it.

    same_as: another name of the same prompt. Raises ``UserError`` where another prompt, or any other file, is
    in its place.
    """
    is_new = check_free(prompt, folder)
    if is_new:
        prompt.save_pretrained(folder)
    done = "saved in" if is_new else "was there already:"
    twin = f" It is the same prompt as {same_as}." if same_as else ""
    say(f"{prompt.metadata.describe()}, {prompt.prompt_len} rows, {done} {folder}.{twin}")
    return {"path": str(folder), "hash": prompt.hash, "task": prompt.metadata.task}
