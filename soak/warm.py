"""Commands as forks of a process that has the libraries loaded: a start takes milliseconds, not seconds."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS_AT_MOST = 300.0


def warm_up() -> None:
    """Loads what commands need. No thread may be started here: a fork has only the one that forks."""
    import torch
    import transformers

    import prompt_hub.cli.main
    import prompt_hub.hub  # the rest of the package

    torch.set_num_threads(1)
    del transformers, prompt_hub


@dataclass(frozen=True)
class Ended:
    """code: the exit code, -9 after ``kill -9``. said: stdout and stderr together."""

    code: int
    said: str

    @property
    def is_orderly(self) -> bool:
        """It did its work, or refused with one message, or was interrupted; no traceback."""
        return self.code in (0, 2, 130) and "Traceback" not in self.said


class Command:
    """``prompt-hub ARGUMENTS`` in a process group of its own."""

    def __init__(self, arguments: list[str], folder: Path, prepare: Callable[[], None] | None = None) -> None:
        """folder: where it runs and its output goes. prepare: called in the new process before it starts."""
        self._said = folder / "said.txt"
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(arguments, folder, prepare)

    def _run(self, arguments: list[str], folder: Path, prepare: Callable[[], None] | None) -> None:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            target = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for descriptor in (1, 2):
                os.dup2(target, descriptor)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.argv = ["prompt-hub", *arguments]
            if prepare is not None:
                prepare()
            from prompt_hub.cli.main import run

            run()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def after(self, seconds: float) -> bool:
        """Waits; whether the command still runs then."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._code() is not None:
                return False
            time.sleep(0.002)
        return self._code() is None

    def signal(self, number: int) -> None:
        if self._code() is None:
            os.killpg(self.pid, number)

    def wait(self) -> Ended:
        end = time.monotonic() + SECONDS_AT_MOST
        while (code := self._code()) is None:
            if time.monotonic() > end:
                self.signal(signal.SIGKILL)
            time.sleep(0.005)
        # Killed at once, it has not even begun to say something.
        said = self._said.read_text(encoding="utf-8", errors="replace") if self._said.exists() else ""
        return Ended(code, said)

    _ended: int | None = None

    def _code(self) -> int | None:
        if self._ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended = os.waitstatus_to_exitcode(status)
        return self._ended
