"""Prompts that come from elsewhere, into folders that may hold something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.cli.output import say
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt


def save_where_free(prompt: SoftPrompt, folder: Path, same_as: str = "") -> dict[str, Any]:
    """Saves it unless it is there already, says so, and gives what ``--json`` tells of it.

    same_as: another name of the same prompt. Raises ``UserError`` where another prompt is in its place.
    """
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    is_new = not (folder / "prompt_hub.json").exists()
    if is_new:
        prompt.save_pretrained(folder)
    elif SoftPrompt.from_pretrained(folder).hash != prompt.hash:
        raise UserError(f"{folder} already holds another prompt. Choose another --output.")
    done = "saved in" if is_new else "was there already:"
    twin = f" It is the same prompt as {same_as}." if same_as else ""
    say(f"{prompt.metadata.describe()}, {prompt.prompt_len} rows, {done} {folder}.{twin}")
    return {"path": str(folder), "hash": prompt.hash, "task": prompt.metadata.task}
