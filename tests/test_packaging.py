"""The built wheel: small, complete, and enough by itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from prompt_hub.experiments import recipe_names
from prompt_hub.mini.backbones import MINI_BACKBONES
from prompt_hub.tasks import task_names

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    if shutil.which("git") is None:
        pytest.skip("git is not installed: there is no list of the files to build from")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if tracked.returncode:
        pytest.skip("not a git checkout: there is no list of the files to build from")
    # Built from a copy: setuptools writes beside the sources.
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    return next(folder.glob("*.whl"))


def test_every_pinned_version_but_torchs_is_locked_by_hashes():
    pinned = set(re.findall(r"^([\w.-]+==\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    locked = {}
    for block in (ROOT / "requirements.lock").read_text().split("\n")[1:]:
        if "==" in block:
            name = block.removesuffix(" \\")
            locked[name] = 0
        elif block.strip():
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", block), block
            locked[name] += 1
    assert {each for each in pinned if not each.startswith("torch==")} == set(locked)
    assert all(count > 0 for count in locked.values())


def test_it_is_small_and_holds_the_data(wheel):
    assert wheel.stat().st_size < 12_000_000
    names = set(zipfile.ZipFile(wheel).namelist())
    for backbone in MINI_BACKBONES:
        for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            assert f"prompt_hub/mini/backbones/{backbone}/{file}" in names
    for task in task_names():
        assert f"prompt_hub/tasks/registry/{task}.yaml" in names
    for recipe in (*recipe_names(), "scales"):
        assert f"prompt_hub/experiments/recipes/{recipe}.yaml" in names
    assert not [name for name in names if name.startswith(("tests/", "pretraining/", "benchmarks/"))]


def test_the_tour_runs_from_the_wheel_alone(wheel, tmp_path):
    place = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(place)
    environment = {**os.environ, "PYTHONPATH": str(place), "HF_HUB_OFFLINE": "1"}
    command = "quickstart --tasks mini/film,mini/hotel --steps 5 --device cpu --quiet --json --output tour"
    code = (
        "import sys, prompt_hub; from prompt_hub.cli.main import run; "
        f"assert prompt_hub.__file__.startswith({str(place)!r}), prompt_hub.__file__; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["training"]["tasks"]) == {"mini/film", "mini/hotel"}
    assert (tmp_path / "tour" / "transfer.png").is_file()
