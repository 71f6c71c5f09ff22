"""The paper's prompt files as they lie in its repository: which of them are below a folder.

One folder a prompt, with the tensor in ``task_prompt``; some hold a training checkpoint (``69.pkl``) beside
it, and some hold further such folders.
"""

from __future__ import annotations

from pathlib import Path

from prompt_hub.prompts.foreign import PAPER_FILE
from prompt_hub.prompts.paper_names import parse_paper_name


def released_files(root: Path) -> dict[str, Path]:
    """Prompt files at or below a folder, by name, sorted.

    The name is the folder's path below ``root``, for a checkpoint followed by its own name
    (``RobertaLarge_from_chimin/IMDBPromptRobertaLarge/69``); for ``root`` itself it is its last part.
    """
    found = {_name(file.parent, root): file for file in root.rglob(PAPER_FILE) if file.is_file()}
    for file in root.rglob("*.pkl"):
        if file.is_file() and parse_paper_name(file.parent.name) is not None:
            found[f"{_name(file.parent, root)}/{file.stem}"] = file
    return dict(sorted(found.items()))


def _name(folder: Path, root: Path) -> str:
    inside = folder.relative_to(root).as_posix()
    return root.resolve().name if inside == "." else inside
