"""The rooms stand on each other in one direction, and the command line starts without the heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "prompt_hub"

# From the ground floor up; a room imports only rooms listed before it (and itself).
FLOORS = [
    ["errors", "deprecation"],
    ["reading"],
    ["atomic", "documents", "progress"],
    ["mini"],
    ["backbones"],
    ["tasks"],
    ["runs"],
    ["prompts"],
    ["encoding"],
    ["reports"],
    ["evaluation"],
    ["training"],
    ["neurons"],
    ["indicators"],
    ["transfer"],
    ["overview"],
    ["quickstart"],
    ["experiments"],
    ["training_args"],
    ["hub", "cli"],
    ["__init__", "__main__"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names = (
                [module] if module != "prompt_hub" else [f"prompt_hub.{alias.name}" for alias in node.names]
            )
        rooms |= {name.split(".")[1] for name in names if name.startswith("prompt_hub.")}
    return rooms


def test_every_room_has_its_floor():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} == set(FLOOR)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path):
    own = room_of(path)
    above = {
        room for room in imported_rooms(path) if room in FLOOR and room != own and FLOOR[room] >= FLOOR[own]
    }
    assert not above, f"{path.name} (room {own}) imports {sorted(above)}"


def test_the_facade_and_the_command_line_do_not_know_each_other():
    assert "cli" not in imported_rooms(PACKAGE / "hub.py")
    for path in (PACKAGE / "cli").glob("*.py"):
        assert "hub" not in imported_rooms(path)


@pytest.mark.parametrize(
    "module", ["prompt_hub", "prompt_hub.cli.main", "prompt_hub.tasks", "prompt_hub.prompts.store"]
)
def test_light_parts_import_neither_torch_nor_transformers(module):
    code = f"import sys, {module}; assert not {{'torch', 'transformers'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
