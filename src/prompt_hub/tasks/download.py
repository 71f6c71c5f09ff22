"""Tasks' rows from the Hub, or from a copy of it, into a data folder in this package's own form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_hub.atomic import write_file
from prompt_hub.errors import UserError
from prompt_hub.tasks.files import SUFFIXES
from prompt_hub.tasks.sources import load_from_hub, load_split
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example, Task

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Downloaded:
    """One split. n, dropped, fingerprint: as in ``Split``; n is None where the file was there before.

    error: why there is no file, else empty.
    """

    task: str
    split: str
    path: Path
    n: int | None = None
    dropped: int = 0
    fingerprint: str = ""
    error: str = ""

    @property
    def status(self) -> str:
        """``written``, ``kept`` (it was there) or ``failed``."""
        return "failed" if self.error else "kept" if self.n is None else "written"


def download_split(
    task: Task, split: str, data_dir: Path, *, mirror: Path | None = None, overwrite: bool = False
) -> Downloaded:
    """Write ``<data_dir>/<task>/<split>.jsonl``; a file that is there in any form is kept.

    mirror: a folder that holds data set repositories under their Hub names, or data in this package's form,
    to read instead of the Hub. A file appears only as a whole, so that a call that was cut off goes on with
    what is missing. Nothing is raised for rows that cannot be had: ``error`` says why.
    """
    folder = data_dir / task.name
    there = [folder / f"{split}{suffix}" for suffix in SUFFIXES if (folder / f"{split}{suffix}").exists()]
    if there and not overwrite:
        return Downloaded(task.name, split, there[0])
    path = folder / f"{split}.jsonl"
    try:
        rows = load_from_hub(task, split) if mirror is None else load_split(task, split, mirror)
    except UserError as error:
        return Downloaded(task.name, split, path, error=str(error))
    lines = [json.dumps(row_of(task, example), ensure_ascii=False) for example in rows.examples]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}. Choose another --data-dir."
        ) from None
    for other in there:
        if other != path:
            other.unlink()
    return _written(task, split, path, rows)


def downloadable(task: Task, splits: Sequence[str] = SPLITS) -> list[str]:
    """Those of the splits that the task's data set has with labels; none for generated tasks."""
    return [split for split in splits if task.hub is not None and split in task.hub.splits]


def row_of(task: Task, example: Example) -> dict[str, Any]:
    """An example as a row that reads back as the same example; labels are class names or scores."""
    texts = dict(zip(task.text_roles, (example.text_a, example.text_b), strict=False))
    if task.kind == "generation":
        accepted = list(example.references)
        return {**texts, "target": accepted[0] if len(accepted) == 1 else accepted}
    if task.kind == "regression":
        return {**texts, "label": example.label}
    return {**texts, "label": task.classes[int(example.label)]}  # type: ignore[arg-type]


def _written(task: Task, split: str, path: Path, rows: Split) -> Downloaded:
    return Downloaded(task.name, split, path, len(rows), rows.dropped, rows.fingerprint)
