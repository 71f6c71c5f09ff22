"""The tasks that come with the package, one YAML file each, and tasks from files of the user."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from prompt_hub.documents import read_yaml
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.tasks.files import SUFFIXES
from prompt_hub.tasks.task import Task
from prompt_hub.tasks.task_schema import task_from_dict, validate_task

_FOLDER = Path(__file__).parent / "registry"
_SUFFIXES = (".yaml", ".yml")
_WHAT = "task file"


def load_task_file(path: str | os.PathLike[str]) -> Task:
    """A task from a YAML file of at most 1 MB."""
    return task_from_dict(read_yaml(Path(path), _WHAT, all_text=True), str(path))


def task_file_problems(path: str | os.PathLike[str]) -> list[str]:
    """Everything that is wrong with a task file, empty when it is a task."""
    try:
        return validate_task(read_yaml(Path(path), _WHAT, all_text=True))
    except UserError as error:
        return [str(error)]


def task_names() -> list[str]:
    """Names of the tasks that come with the package, sorted; reads no file."""
    return list(_names())


def get_task(name: str) -> Task:
    """A task by its name, an alias (case, ``-`` and ``_`` do not matter) or the path of a YAML file."""
    if name in _names():
        return _registered(name)
    if name.endswith(_SUFFIXES):
        return load_task_file(name)
    found = _by_spelling().get(_spelling(name))
    if found is not None:
        return _registered(found)
    if Path(name).suffix.lower() in SUFFIXES:
        raise UserError(
            f"{name} holds rows, and a task says what to do with rows. Name the rows with --train or --eval "
            "(columns: --text-a, --label), or write a task file (docs/tasks.md); in Python there is "
            f"custom_task({name!r}, text_a=..., label=...)."
        )
    # A name can hold a slash too (mini/film), so only what is there is taken for a path.
    if os.sep in name and os.path.exists(name):
        return load_task_file(name)
    raise unknown_name("task", name, task_names(), "A path to a task's YAML file works too.")


def registered_name(name: str) -> str:
    """The registered task's name behind a spelling or alias, the name itself where there is none."""
    return _by_spelling().get(_spelling(name), name)


def list_tasks() -> list[Task]:
    """Every task that comes with the package, by name."""
    return [_registered(name) for name in task_names()]


@cache
def _names() -> tuple[str, ...]:
    found = (path.relative_to(_FOLDER).with_suffix("") for path in _FOLDER.rglob("*.yaml"))
    return tuple(sorted(path.as_posix() for path in found))


@cache
def _registered(name: str) -> Task:
    return load_task_file(_FOLDER / f"{name}.yaml")


@cache
def _by_spelling() -> dict[str, str]:
    return {_spelling(word): task.name for task in list_tasks() for word in (task.name, *task.aliases)}


def _spelling(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").strip()
