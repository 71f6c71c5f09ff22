"""The code that a page prints, run as somebody would who copies it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import succeeds

ROOT = Path(__file__).parents[1]
Block = tuple[str, str]


def blocks(page: Path) -> list[Block]:
    """(language, code) of every bash and python block, in order."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(bash|python)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def environment(data: Path, models: Path) -> dict[str, str]:
    """Where ``python`` is this one, and tasks and backbones are found by their names."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROMPT_HUB_DATA": str(data),
        "PROMPT_HUB_BACKBONES": str(models),
        "PYTHONWARNINGS": "ignore",
    }


def run(language: str, code: str, folder: Path, environment: dict[str, str]) -> str:
    """In a process of its own. Fails with the code and what it printed, else returns stdout."""
    line = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def plain_commands(code: str) -> list[list[str]] | None:
    """The arguments of every ``prompt-hub`` line of a block; None where something else wants a shell."""
    lines = [shlex.split(line, comments=True) for line in code.replace("\\\n", " ").splitlines()]
    lines = [words for words in lines if words]
    needs_shell = any(words[0] != "prompt-hub" for words in lines) or re.search(r"[$|<>;&*?`~{}]", code)
    return None if needs_shell else [words[1:] for words in lines]


class Session:
    """Somebody who types what is printed: commands into a shell, the rest into one Python that stays open.

    shell, python: the folders that they are in. names: what the Python session has defined so far.
    """

    def __init__(
        self, shell: Path, data: Path, models: Path, patch: pytest.MonkeyPatch, python: Path | None = None
    ) -> None:
        self.shell, self.names = shell, dict[str, Any]()
        self._environment = environment(data, models)
        for variable in ("PROMPT_HUB_DATA", "PROMPT_HUB_BACKBONES"):
            patch.setenv(variable, self._environment[variable])
        patch.chdir(python or shell)

    def python(self, code: str) -> None:
        exec(compile(code, "printed", "exec"), self.names)

    def bash(self, code: str) -> str:
        """What the commands print to stdout. Those that want no shell run here: processes start slowly."""
        commands = plain_commands(code)
        if commands is None:
            return run("bash", code, self.shell, self._environment)
        before = Path.cwd()
        os.chdir(self.shell)
        try:
            return "".join(succeeds(*arguments).stdout for arguments in commands)
        finally:
            os.chdir(before)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]
