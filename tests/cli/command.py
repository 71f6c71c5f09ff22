"""Runs the ``prompt-hub`` command, in this process as its entry point does, or in one that can be killed."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from prompt_hub.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was written where."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one line of stdout."""
        lines = self.stdout.splitlines()
        assert len(lines) == 1, f"stdout holds {len(lines)} lines: {self.stdout[:500]!r}"
        return json.loads(lines[0])

    @property
    def words(self) -> str:
        """stderr as one line, without the box that the option parser draws."""
        return " ".join(self.stderr.translate(str.maketrans("│╭╮╰╯─", "      ")).split())


class Terminal(io.StringIO):
    """Says that somebody is watching."""

    def isatty(self) -> bool:
        return True


def call(*arguments: object, stdin: str | bytes = b"", terminal: bool = False) -> Outcome:
    """``prompt-hub ARGUMENTS``; an exception that the command lets through fails the test.

    terminal: stderr is one, so that progress bars are drawn.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    code, interrupt = 0, signal.getsignal(signal.SIGINT)
    with (
        mock.patch.object(sys, "argv", ["prompt-hub", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            signal.signal(signal.SIGINT, interrupt)  # an interrupted command does not listen to it any more
    return Outcome(code, out.getvalue(), err.getvalue())


def succeeds(*arguments: object, stdin: str | bytes = b"") -> Outcome:
    outcome = call(*arguments, stdin=stdin)
    assert outcome.code == 0, outcome.stderr
    return outcome


def refuses(*arguments: object, says: tuple[str, ...], stdin: str | bytes = b"") -> Outcome:
    """Exit code 2, nothing on stdout, one message on stderr that holds every one of ``says``."""
    outcome = call(*arguments, stdin=stdin)
    assert outcome.code == 2, f"exit code {outcome.code}: {outcome.stderr or outcome.stdout}"
    assert "Traceback" not in outcome.stderr and outcome.stdout == ""
    assert outcome.stderr.count("Error") == 1, outcome.stderr
    missing = [word for word in says if word not in outcome.words]
    assert not missing, f"{missing} not in: {outcome.words}"
    return outcome


def started(*arguments: object, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """``prompt-hub ARGUMENTS`` as a process, and a process group, of its own."""
    command = [sys.executable, "-m", "prompt_hub", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=stderr, text=True, start_new_session=True
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def write_csv(path: Path, rows: list[tuple[str, object]], columns: str = "review,stars") -> Path:
    lines = [columns, *(f"{text},{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
