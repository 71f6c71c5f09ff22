"""The tasks that come with the package, one YAML file each, and tasks from files of the user."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.tasks.task import Task
from prompt_hub.tasks.task_schema import task_from_dict, validate_task

_FOLDER = Path(__file__).parent / "registry"
_SUFFIXES = (".yaml", ".yml")
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20


class _TaskLoader(yaml.BaseLoader):
    """Reads mappings, lists and text, nothing else.

    Stricter than ``safe_load``: every scalar stays text, so that the label words ``no``, ``yes`` and
    ``true`` are not read as booleans; aliases (which can expand without bound), tags, repeated keys and
    deep nesting are refused.
    """

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, f"the alias *{event.anchor} is not allowed. Write the value out.")
        if getattr(event, "tag", None) is not None:
            raise _refused(event, f"the tag {event.tag!r} is not allowed. Remove it.")
        if self._depth >= _MAX_DEPTH:
            raise _refused(event, f"nested more than {_MAX_DEPTH} levels deep.")
        self._depth += 1
        try:
            return super().compose_node(parent, index)  # type: ignore[no-untyped-call]
        finally:
            self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(key, "a key must be plain text.")
            if key.value in seen:
                raise _refused(key, f"the key {key.value!r} appears twice.")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(place: Any, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def parse_task_yaml(text: str, where: str) -> Any:
    """Plain data of a task file; ``UserError`` says where it is broken or what it may not contain."""
    try:
        return yaml.load(text, Loader=_TaskLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        problem = ", ".join(filter(None, parts)) or str(error)
        raise UserError(f"{where}{line} is not a valid task file: {problem}") from error


def load_task_file(path: str | os.PathLike[str]) -> Task:
    """A task from a YAML file of at most 1 MB."""
    return task_from_dict(_read_task_file(Path(path)), str(path))


def task_file_problems(path: str | os.PathLike[str]) -> list[str]:
    """Everything that is wrong with a task file, empty when it is a task."""
    try:
        return validate_task(_read_task_file(Path(path)))
    except UserError as error:
        return [str(error)]


def _read_task_file(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise UserError(f"Task file {path} has {size} bytes, at most {_MAX_BYTES} are read.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"Cannot read task file {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"Task file {path} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error
    return parse_task_yaml(text, str(path))


def task_names() -> list[str]:
    """Names of the tasks that come with the package, sorted; reads no file."""
    return sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))


def get_task(name: str) -> Task:
    """A task by its name, an alias (case, ``-`` and ``_`` do not matter) or the path of a YAML file."""
    if name in task_names():
        return _registered(name)
    if name.endswith(_SUFFIXES):
        return load_task_file(name)
    found = _by_spelling().get(_spelling(name))
    if found is not None:
        return _registered(found)
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
def _registered(name: str) -> Task:
    return load_task_file(_FOLDER / f"{name}.yaml")


@cache
def _by_spelling() -> dict[str, str]:
    return {_spelling(word): task.name for task in list_tasks() for word in (task.name, *task.aliases)}


def _spelling(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").strip()
