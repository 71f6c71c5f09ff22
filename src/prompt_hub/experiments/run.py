"""Runs the commands of a recipe one after another; those that are done are not run again."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from prompt_hub.errors import UserError
from prompt_hub.runs.records import Record

_WRITES = ("--output", "--figure", "--figures")
_STDERR = 2


@dataclass(frozen=True)
class StepDone:
    """command: what somebody would type. seconds: of the run that finished it. earlier: not of this call."""

    command: str
    seconds: float
    earlier: bool = False


def shown(arguments: Sequence[str]) -> str:
    return shlex.join(["prompt-hub", *arguments])


def run_commands(
    recipe: str,
    scale: str,
    steps: Sequence[Sequence[str]],
    record_file: Path,
    *,
    quiet: bool = False,
    note: Callable[[int, str, bool], None] = lambda number, command, earlier: None,
) -> list[StepDone]:
    """Run every command in a process of its own and keep a record; what is done and still there is skipped.

    Each command resumes by itself, so that one that was interrupted goes on where it was. quiet: show what a
    command says only if it fails. note: called with number, command and whether it was done before, ahead of
    each. Raises ``UserError`` when a command fails; the record keeps what was finished.
    """
    before = _finished(record_file)
    record = Record("reproduce", {"recipe": recipe, "scale": scale})
    done: list[StepDone] = []

    def keep() -> None:
        record.result = {"steps": [asdict(step) for step in done]}
        record.save(record_file)

    for number, arguments in enumerate(steps):
        command = shown(arguments)
        earlier = command in before and _written(arguments)
        note(number, command, earlier)
        if earlier:
            done.append(StepDone(command, before[command], earlier=True))
            continue
        start = time.monotonic()
        _run(arguments, command, quiet)
        done.append(StepDone(command, round(time.monotonic() - start, 1)))
        keep()
    record.finish(record_file, {"steps": [asdict(step) for step in done]})
    return done


def _run(arguments: Sequence[str], command: str, quiet: bool) -> None:
    # stdout is for the answer of the caller alone.
    ended = subprocess.run(
        [sys.executable, "-m", "prompt_hub", *arguments],
        stdout=subprocess.PIPE if quiet else _STDERR,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if ended.returncode:
        said = f"\n{ended.stdout.rstrip()}" if quiet else ""
        raise UserError(
            f"Exit code {ended.returncode} of: {command}{said}\nWhat was finished is kept: the same "
            "reproduce command goes on from here."
        )


def _finished(record_file: Path) -> dict[str, float]:
    """Seconds by command, of an earlier call."""
    record = Record.load_or_set_aside(record_file)
    steps = record.result.get("steps", []) if record is not None else []
    return {step["command"]: step["seconds"] for step in steps}


def _written(arguments: Sequence[str]) -> bool:
    """Whether the files that the command writes are still there."""
    places = [value for name, value in pairwise(arguments) if name in _WRITES]
    return all(Path(place).exists() for place in places)
