"""Where examples come from: a folder of files, a data set repository on disk, the Hub, a generator."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prompt_hub.documents import parse_yaml, read_text
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.mini.generator import MAKERS, SEED, rows
from prompt_hub.tasks.files import SUFFIXES, read_table
from prompt_hub.tasks.rows import RowReader
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example, Task

DATA_VARIABLE = "PROMPT_HUB_DATA"
"""Environment variable that names a data folder for calls without ``data_dir``."""

SPLITS = ("train", "validation", "test")

PathLike = str | os.PathLike[str]


def load_split(
    task: Task,
    split: str,
    data_dir: PathLike | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Split:
    """The examples of one split (train, validation or test).

    Looked for in ``data_dir``, else in the folder that ``PROMPT_HUB_DATA`` names if it holds the task,
    else on the Hub. A data folder holds ``<task>/<split>.jsonl`` (or .csv, .tsv, .json, .parquet), or the
    task's data set repository as ``<task>/`` or under its Hub name. Rows of a task with a generator are
    made where no folder holds them, also where ``data_dir`` does not. limit: that many rows, drawn with
    ``seed`` and kept in file order; a larger limit holds all rows of a smaller one. ``UserError`` if the
    split cannot be had.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    _check_limit(limit)
    found = None
    if data_dir is not None:
        root = Path(data_dir)
        if not root.is_dir():
            raise UserError(f"The data folder {root} does not exist.")
        found = _from_folder(task, split, root, limit, seed)
        if found is None and not task.generator:
            there = ", ".join(sorted(item.name for item in root.iterdir() if item.is_dir())[:40]) or "nothing"
            raise UserError(f"The data folder {root} has no task {task.name!r}. It holds: {there}.")
    elif root_name := os.environ.get(DATA_VARIABLE):
        if not Path(root_name).is_dir():
            raise UserError(
                f"{DATA_VARIABLE} names the folder {root_name}, which does not exist. Correct or unset it."
            )
        found = _from_folder(task, split, Path(root_name), limit, seed)
    if found is not None:
        return found
    return (_from_generator if task.generator else load_from_hub)(task, split, limit, seed)


def load_file(
    path: PathLike,
    task: Task,
    *,
    name: str | None = None,
    unlabelled: bool = False,
    limit: int | None = None,
    seed: int = 0,
) -> Split:
    """A split from one file of the user (.jsonl, .csv, .tsv, .json, .parquet).

    Every row is checked; the first that is broken raises a ``UserError`` with file and line. unlabelled:
    for prediction, the label column may be absent. limit, seed: as in ``load_split``.
    """
    _check_limit(limit)
    table = read_table(path)
    reader = RowReader(task, table.columns, str(table.path), unlabelled)
    rows = [reader.read(row.values, table.place(row)) for row in table.rows]
    kept, dropped = _choose(len(rows), lambda order: (rows[index] for index in order), limit, seed)
    if not kept:
        raise UserError(f"{path}: every row has a label that task {task.name!r} leaves out.")
    return Split.of(name or table.path.stem, kept, str(table.path), dropped)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"limit must be 1 or more, got {limit}. Leave it out to read every row.")


def _choose(
    count: int, rows_in: Callable[[list[int]], Iterable[Example | None]], limit: int | None, seed: int
) -> tuple[list[Example], int]:
    """(examples in file order, rows dropped on the way), reading no more rows than the limit needs.

    rows_in: rows at the given indices, in that order, None for a dropped one.
    """
    order = list(range(count))
    if limit is not None:
        random.Random(seed).shuffle(order)
    kept: dict[int, Example] = {}
    dropped = 0
    for index, example in zip(order, rows_in(order), strict=True):
        if example is None:
            dropped += 1
            continue
        kept[index] = example
        if len(kept) == limit:
            break
    return [kept[index] for index in sorted(kept)], dropped


def _from_folder(task: Task, split: str, root: Path, limit: int | None, seed: int) -> Split | None:
    """The split from a data folder; None if the folder does not hold the task at all."""
    folder = root / task.name
    for suffix in SUFFIXES:
        path = folder / f"{split}{suffix}"
        if path.exists():
            return load_file(path, task, name=split, limit=limit, seed=seed)
    if folder.is_dir():
        if any((folder / f"{other}{suffix}").exists() for other in SPLITS for suffix in SUFFIXES):
            there = ", ".join(sorted(item.name for item in folder.iterdir()))
            raise UserError(f"{folder} has no {split} split (such as {split}.jsonl). It holds: {there}.")
        return _from_repository(task, split, folder, limit, seed)
    if task.hub is not None and (root / task.hub.path).is_dir():
        return _from_repository(task, split, root / task.hub.path, limit, seed)
    return None


def _from_repository(task: Task, split: str, folder: Path, limit: int | None, seed: int) -> Split:
    """A data set repository on disk, in any layout that ``datasets.load_dataset`` understands."""
    _check_card(folder)
    try:
        dataset = _load_dataset(task, split, str(folder.resolve()), local=True)
    except Exception as error:  # load_dataset raises errors of a dozen unrelated classes.
        raise UserError(
            f"Cannot load the {split} split of task {task.name!r} from the folder {folder}: "
            f"{_first_line(error)}."
        ) from error
    return _split_of_dataset(task, split, dataset, str(folder), limit, seed)


def _check_card(folder: Path) -> None:
    """``UserError`` where the repository's README.md has rows fetched from elsewhere."""
    card = folder / "README.md"
    if not card.is_file():
        return
    what = "description of a data set"
    front = re.match(r"\s*---\s*\n(.*?\n)---\s*(\n|$)", read_text(card, what), re.DOTALL)
    described = parse_yaml(front[1], card, what, all_text=True) if front else None
    waiting = [described.get("configs")] if isinstance(described, dict) else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and ("://" in value or ".." in value or os.path.isabs(value)):
            raise UserError(
                f"{card} names {value!r} for its rows; only files of the folder are read. Copy them there, "
                "and name them so in 'configs'."
            )


def _from_generator(task: Task, split: str, limit: int | None, seed: int) -> Split:
    """Rows that the package makes, always the same ones: ``seed`` only draws those of the limit."""
    if task.generator not in MAKERS:
        raise unknown_name("generator", task.generator, MAKERS)
    items = rows(task.generator, split)
    source = f"generated by prompt_hub.mini (seed {SEED})"
    columns = [name for name, value in vars(items[0]).items() if value is not None]
    reader = RowReader(task, columns, source)

    def rows_in(order: list[int]) -> Iterator[Example | None]:
        return (reader.read(vars(items[index]), f"{source}, {split} row {index + 1}") for index in order)

    kept, dropped = _choose(len(items), rows_in, limit, seed)
    if not kept:
        raise UserError(f"{source}: the {split} split has no row that task {task.name!r} can use.")
    return Split.of(split, kept, source, dropped)


def load_from_hub(task: Task, split: str, limit: int | None = None, seed: int = 0) -> Split:
    """The split from the task's Hub data set alone, whatever folders hold. As ``load_split`` else."""
    advice = (
        f"Give a folder that holds {task.name}/{split}.jsonl with --data-dir (data_dir=... in Python) "
        f"or in the environment variable {DATA_VARIABLE}."
    )
    if task.hub is None:
        raise UserError(f"Task {task.name!r} has no place on the Hub. {advice}")
    place = f"{task.hub.path} ({task.hub.config})" if task.hub.config else task.hub.path
    if split not in task.hub.splits:
        raise UserError(
            f"Task {task.name!r} has no labelled {split} split on the Hub ({place}). "
            f"It has: {', '.join(task.hub.splits)}. {advice}"
        )
    try:
        dataset = _load_dataset(task, split, task.hub.path, local=False)
    except Exception as error:  # load_dataset raises errors of a dozen unrelated classes.
        offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
        raise UserError(
            f"Cannot load the {split} split of task {task.name!r} from the Hub data set {place}: "
            f"{_first_line(error)}.{offline} {advice}"
        ) from error
    return _split_of_dataset(task, split, dataset, f"hub:{place}", limit, seed)


def _load_dataset(task: Task, split: str, path: str, local: bool) -> Any:
    import datasets

    hub = task.hub
    if hub is None:
        return datasets.load_dataset(path, split=split)
    wanted = hub.splits.get(split, split)
    if not local:
        return datasets.load_dataset(
            path, name=hub.config, revision=hub.revision, data_dir=hub.data_dir, split=wanted
        )
    data_dir = hub.data_dir if hub.data_dir and (Path(path) / hub.data_dir).is_dir() else None
    config = hub.config if hub.config in datasets.get_dataset_config_names(path) else None
    # A copy on disk may name its splits as on the Hub or as here.
    there = datasets.get_dataset_split_names(path, config, data_dir=data_dir)
    return datasets.load_dataset(
        path, name=config, data_dir=data_dir, split=wanted if wanted in there else split
    )


def _split_of_dataset(
    task: Task, split: str, dataset: Any, source: str, limit: int | None, seed: int
) -> Split:
    reader = RowReader(task, dataset.column_names, source)

    def rows_in(order: list[int]) -> Iterator[Example | None]:
        rows = dataset if limit is None else dataset.select(order)
        for index, values in zip(order, rows, strict=True):
            # Public data sets hold a few blank texts (qqp has some); nobody can repair them there.
            blank = reader.has_blank(values)
            yield None if blank else reader.read(values, f"{source}, {split} row {index + 1}")

    kept, dropped = _choose(len(dataset), rows_in, limit, seed)
    if not kept:
        raise UserError(f"{source}: the {split} split has no row that task {task.name!r} can use.")
    return Split.of(split, kept, source, dropped)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
