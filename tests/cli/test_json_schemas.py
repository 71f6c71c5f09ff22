"""``docs/json.md`` says what every command prints with ``--json``: no key more, none less, of these types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from json_examples import EXAMPLES, make_world, run_example
from json_page import PAGE, documented
from typer.main import get_command

from prompt_hub.cli.main import app

TYPES = {str: "text", bool: "flag", int: "integer", float: "number", list: "list", dict: "mapping"}

_MEANING = re.compile(r"^\| `(\w+)` \| (.+) \|$", flags=re.MULTILINE)


def commands_with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(path)
    for name, part in getattr(command, "commands", {}).items():
        yield from commands_with_json(part, (*path, name))


def types_in(data: dict[str, Any]) -> dict[str, set[str]]:
    """Types by key; ``list[].key`` for mappings in a list. null is ``null``."""
    found: dict[str, set[str]] = {}

    def add(key: str, value: Any) -> None:
        found.setdefault(key, set()).add("null" if value is None else TYPES[type(value)])

    for key, value in data.items():
        add(key, value)
        for item in value if isinstance(value, list) else ():
            if isinstance(item, dict):
                for inner, part in item.items():
                    add(f"{key}[].{inner}", part)
    return found


def described(data: dict[str, Any]) -> str:
    """The line of the page that a result asks for."""
    return ", ".join(f"`{key}` {' or '.join(sorted(types))}" for key, types in types_in(data).items())


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_folder):
    """A folder with data and two backbones, in which the examples are run one after another."""
    folder = tmp_path_factory.mktemp("json")
    make_world(folder)
    (folder / "models").mkdir()
    for kind in ("bert", "gpt2"):
        (folder / "models" / kind).symlink_to(tiny_folder(kind))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPT_HUB_DATA", str(folder / "data"))
        patch.setenv("PROMPT_HUB_BACKBONES", str(folder / "models"))
        patch.chdir(folder)
        yield folder


def test_the_page_and_the_examples_name_every_command_that_has_json():
    known = set(commands_with_json(get_command(app)))
    assert set(EXAMPLES) == known
    assert set(documented()) == known


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(world):
    page, problems = documented(), []
    for command in EXAMPLES:
        data = run_example(command)
        found, said = types_in(data), page[command]
        wrong = [key for key in found if key not in said or not found[key] <= said[key][1]]
        filled = {key for key, value in data.items() if value}
        wrong += [
            key
            for key, (optional, _) in said.items()
            if key not in found and not optional and ("[]" not in key or key.split("[]")[0] in filled)
        ]
        if wrong:
            problems.append(f"{command}: {', '.join(sorted(wrong))}\n{described(data)}")
    assert not problems, "\n\n".join(problems)


def test_every_key_has_a_meaning_and_every_meaning_a_key():
    keys = {key.rsplit(".", 1)[-1] for said in documented().values() for key in said}
    meanings = dict(_MEANING.findall(PAGE.read_text(encoding="utf-8")))
    assert keys == set(meanings)
