"""Recipes: which commands an experiment is, and with which values on which scale.

A recipe is a YAML file. ``steps`` are commands of this package with names in braces, ``values`` what they
stand for, by scale. What most recipes share is in ``recipes/scales.yaml``. A list becomes one argument with
commas (``{tasks}``), a mapping becomes options (``{training}``: ``--prompt-len 16 --max-steps 150``), and
``each`` repeats a step for every item of a list, or every combination of several. ``{pair.source}`` is a part
of an item.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from prompt_hub.documents import read_yaml
from prompt_hub.errors import UserError, unknown_name

_FOLDER = Path(__file__).parent / "recipes"
_SHARED = "scales"
SCALES = ("mini", "smollm", "paper")
MOST_COMMANDS = 10_000
"""Of a recipe: a short one may name more combinations than a machine has memory for."""

_REFUSED = (["reproduce"], ["prompts", "push"], ["prompts", "pull"], ["prompts", "publish"])

_NAME = re.compile(r"\{([\w-]+)(?:\.([\w-]+))?\}")


@dataclass(frozen=True)
class Step:
    """words: of the command, still with names in braces. each: name in the command -> list to go through."""

    words: tuple[str, ...]
    each: Mapping[str, str]


@dataclass(frozen=True)
class Recipe:
    """values: by scale, only what differs from the shared ones. claim: what the experiment is about."""

    name: str
    title: str
    claim: str
    steps: tuple[Step, ...]
    values: Mapping[str, Mapping[str, Any]]


def recipe_names() -> list[str]:
    """Of the recipes that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml") if path.stem != _SHARED)


def load_recipe(name: str) -> Recipe:
    """A recipe of the package, or one in a YAML file. Raises ``UserError`` if it cannot be used."""
    if name in recipe_names():
        return _recipe(name, _read(_FOLDER / f"{name}.yaml"), name)
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown_name("experiment", name, recipe_names(), "Or name a recipe of your own, a .yaml file.")
    return _recipe(path.stem, _read(path), name)


def scale_about(scale: str) -> str:
    """What a scale is and takes, in words."""
    return str(_shared()[_check_scale(scale)]["about"])


def commands(recipe: Recipe, scale: str, given: Mapping[str, Any]) -> list[list[str]]:
    """The arguments of every command, in order. given: values that win over those of recipe and scale.

    Raises ``UserError`` for a scale that there is not and for names that stand for nothing.
    """
    values = {**_shared()[_check_scale(scale)], **recipe.values.get(scale, {}), **given}
    found: list[list[str]] = []
    for step in recipe.steps:
        lists = _lists(step, values, recipe.name)
        if len(found) + math.prod(map(len, lists)) > MOST_COMMANDS:
            raise UserError(
                f"Recipe {recipe.name!r} has more than {MOST_COMMANDS:,} commands: a step is repeated for "
                f"every combination of {' and '.join(map(repr, step.each.values()))}. Name shorter lists."
            )
        for items in product(*lists):
            chosen = {**values, **dict(zip(step.each, items, strict=True))}
            words = [_filled(word, chosen, recipe.name) for word in step.words]
            found.append([argument for arguments in words for argument in arguments])
            _check_verb(found[-1], recipe.name)
    return found


def _lists(step: Step, values: Mapping[str, Any], recipe: str) -> list[list[Any]]:
    """What a step is repeated for: every combination of an item of each."""
    lists: list[list[Any]] = []
    for name in step.each.values():
        items = values.get(name)
        if not isinstance(items, list):
            raise UserError(f"Recipe {recipe!r}: 'each' names {name!r}, which is not a list of values.")
        lists.append(items)
    return lists


def _filled(word: str, values: Mapping[str, Any], recipe: str) -> list[str]:
    """The arguments that one word of a command becomes: none or several for a mapping, else one."""
    whole = _NAME.fullmatch(word)
    if whole is not None:
        value = _value(whole, values, recipe)
        if isinstance(value, Mapping):
            return [part for name, item in value.items() for part in (f"--{name}", _text(item))]
    return [_NAME.sub(lambda found: _in_path(word, _text(_value(found, values, recipe)), found), word)]


def _in_path(word: str, text: str, found: re.Match[str]) -> str:
    """A value as it stands in a word: one folder where it is a part of a path, but not its beginning."""
    return text if word == found.group(0) or found.start() == 0 else text.replace("/", "--")


def _value(found: re.Match[str], values: Mapping[str, Any], recipe: str) -> Any:
    name, part = found.groups()
    value = values.get(name)
    if part is not None and isinstance(value, Mapping):
        value = value.get(part)
    if value is None:
        raise UserError(
            f"Recipe {recipe!r}: {found.group(0)} stands for nothing at this scale. "
            f"Known: {', '.join(sorted(values))}."
        )
    return value


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_scale(scale: str) -> str:
    if scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    return scale


@cache
def _shared() -> dict[str, dict[str, Any]]:
    return dict(_read(_FOLDER / f"{_SHARED}.yaml"))


def _read(path: Path) -> Mapping[str, Any]:
    data = read_yaml(path, "recipe")
    if not isinstance(data, Mapping):
        raise UserError(f"Recipe {path} must be a mapping with title, claim, steps and values.")
    return data


def _recipe(name: str, data: Mapping[str, Any], where: str) -> Recipe:
    unknown = set(data) - {"title", "claim", "steps", "values"}
    steps, values = data.get("steps"), data.get("values") or {}
    if unknown:
        raise unknown_name(
            f"field of recipe {where}", str(min(unknown)), ["title", "claim", "steps", "values"]
        )
    if not isinstance(steps, list) or not steps or not all(_is_step(step) for step in steps):
        raise UserError(
            f"Recipe {where}: 'steps' must be a list of mappings with 'run', a command of prompt-hub, and "
            "'each', if it is to be repeated."
        )
    if not isinstance(values, Mapping) or not all(isinstance(part, Mapping) for part in values.values()):
        raise UserError(f"Recipe {where}: 'values' must hold a mapping a scale ({', '.join(SCALES)}).")
    for scale in values:
        _check_scale(str(scale))
    return Recipe(
        name,
        str(data.get("title", name)),
        str(data.get("claim", "")),
        tuple(Step(_words(step["run"], where), step.get("each") or {}) for step in steps),
        values,
    )


def _words(run: str, where: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(run))
    except ValueError as error:
        raise UserError(f"Recipe {where}: 'run' of a step cannot be read: {error}. It is {run!r}.") from None


def _check_verb(arguments: list[str], recipe: str) -> None:
    for refused in _REFUSED:
        if arguments[: len(refused)] == refused:
            raise UserError(
                f"Recipe {recipe!r}: a step may not run {' '.join(refused)!r}. A recipe that runs recipes "
                "may never end, and prompts are sent and fetched by hand. Remove the step."
            )


def _is_step(step: Any) -> bool:
    if not isinstance(step, Mapping) or not isinstance(step.get("run"), str):
        return False
    each = step.get("each") or {}
    names = isinstance(each, Mapping) and all(isinstance(name, str) for name in each.values())
    return names and set(step) <= {"run", "each"}
