"""What users write down: commands, options, arguments, Python names and their parameters, keys of ``--json``.

``python tests/interface.py`` writes it for the version at hand, which is done at its release.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer
from json_page import documented
from transformers import TrainingArguments

import prompt_hub
from prompt_hub.cli.main import app
from prompt_hub.deprecation import Renamed

STORED = Path(__file__).parent / "fixtures" / "interface"

Interface = dict[str, dict[str, list[str]]]
"""``commands``, ``python`` and ``json``; options and arguments, a callable's parameters, or keys, by name."""


def interface(application: typer.Typer = app) -> Interface:
    commands = {
        name: [*sorted(_options(command)), *_arguments(command)] for name, command, _ in walk(application)
    }
    python = {name: _parameters(found) for name, found in callables()}
    # As the page has them, which a test holds against what is printed.
    keys = {f"prompt-hub {name}": sorted(keys) for name, keys in documented().items()}
    return {"commands": commands, "python": python, "json": keys}


def walk(application: typer.Typer) -> Iterator[tuple[str, Any, Callable[[str], str] | None]]:
    """Every command, with its full name and what it or a group round it knows of old names."""
    root = typer.main.get_command(application)
    yield from _below(root, "prompt-hub", None)


def _below(
    command: Any, name: str, outer: Callable[[str], str] | None
) -> Iterator[tuple[str, Any, Callable[[str], str] | None]]:
    normalise = command.context_settings.get("token_normalize_func", outer)
    yield name, command, normalise
    for each, inner in getattr(command, "commands", {}).items():
        yield from _below(inner, f"{name} {each}", normalise)


def callables() -> Iterator[tuple[str, Any]]:
    """Public functions and classes of the package, and the methods of classes that are its own."""
    for name in prompt_hub.__all__:
        found = getattr(prompt_hub, name)
        if not callable(found):
            continue
        yield name, found
        if inspect.isclass(found):
            for method, value in inspect.getmembers(found, inspect.isroutine):
                module = getattr(value, "__module__", None) or ""
                if not method.startswith("_") and module.startswith("prompt_hub."):
                    yield f"{name}.{method}", value


def _options(command: Any) -> set[str]:
    return {
        option
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def _arguments(command: Any) -> list[str]:
    return [each.name for each in command.params if each.param_type_name == "argument"]


def _parameters(found: Any) -> list[str]:
    """Without those that transformers adds, which change with its version."""
    try:
        names = list(inspect.signature(found).parameters)
    except ValueError:  # an exception's
        return []
    if inspect.isclass(found) and issubclass(found, TrainingArguments):
        foreign = set(inspect.signature(TrainingArguments).parameters)
        names = [name for name in names if name not in foreign]
    return names


def missing(before: Interface, application: typer.Typer = app) -> list[str]:
    """What of an earlier interface is refused now."""
    now = interface(application)
    normalisers = {name: normalise for name, _, normalise in walk(application)}
    lost = []
    for name, options in before["commands"].items():
        command = _current_command(name, normalisers)
        known = now["commands"].get(command)
        if known is None:
            lost.append(name)
            continue
        lost += [f"{name} {each}" for each in options if _current(each, normalisers[command]) not in known]
    found = dict(callables())
    for name, parameters in before["python"].items():
        if name not in found:
            lost.append(name)
            continue
        old = {change.old for change in renamed_in(found[name])}
        lost += [f"{name}({each}=)" for each in parameters if each not in {*now["python"][name], *old}]
    for name, keys in before["json"].items():
        # A command that is gone is among the lost already.
        known = now["json"].get(_current_command(name, normalisers), keys)
        lost += [f"{name} --json: {key}" for key in keys if key not in known]
    return lost


def renamed_in(found: Any) -> Iterable[Renamed]:
    """The old names that a callable, or a command's way to read names, still takes."""
    changes: tuple[Renamed, ...] = getattr(found, "renamed", ())
    return changes


def _current_command(name: str, normalisers: dict[str, Callable[[str], str] | None]) -> str:
    words = name.split()
    current = words[0]
    for word in words[1:]:
        current = f"{current} {_current(word, normalisers.get(current))}"
    return current


def _current(name: str, normalise: Callable[[str], str] | None) -> str:
    dashes = name[: len(name) - len(name.lstrip("-"))]
    return dashes + normalise(name.lstrip("-")) if normalise is not None else name


if __name__ == "__main__":  # with tests/cli on PYTHONPATH, as pytest has it
    path = STORED / f"{version('prompt-hub')}.json"
    path.write_text(json.dumps(interface(), indent=1) + "\n", encoding="utf-8")
    print(path)
