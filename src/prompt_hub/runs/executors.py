"""Doing the work of a grid: here, in one process or several, or on a Ray cluster (``on_ray.py``)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.progress import progress_bar
from prompt_hub.runs.grid import Grid
from prompt_hub.runs.on_ray import run_on_ray
from prompt_hub.runs.work import Deaths, Maker, cores, progress_shower, thread_settings, work_on, worker_name
from prompt_hub.runs.worker_process import SECONDS_TO_STOP

__all__ = ["run_here", "run_on_ray"]


def run_here(
    folder: str | Path,
    worker_factory: str,
    context: dict[str, Any],
    jobs: int = 1,
    *,
    only: Collection[str] | None = None,
    description: str = "work",
) -> None:
    """Does what is open in the grid of ``folder``, and waits for what others work on there.

    worker_factory: ``module:function``; called with ``context`` (JSON) once in each worker, it returns the
    function that makes an item's result. jobs: 1 works in this process; more start as many processes, which
    share the cores. only: keys to keep to. An error in an item is stored and stops nothing; a worker process
    that dies is replaced and its item done again (failed, when it dies three times at it). Raises
    ``UserError`` when the factory does, and when the grid cannot be written.
    """
    if jobs < 1:
        raise UserError(f"The number of jobs is {jobs}. It must be at least 1.")
    with Grid.open(Path(folder)) as grid:
        counts = grid.counts(only)
        with progress_bar(description, sum(counts.values())) as bar:
            show = progress_shower(grid, only, bar)
            show()
            workers = min(jobs, counts["open"] + counts["taken"])
            if workers <= 1:
                work_on(grid, Maker(worker_factory, context), worker_name(), only, after=show)
            else:
                _Processes(grid, worker_factory, context, workers, only).run(show)


class _Processes:
    """Worker processes of this machine, watched over."""

    def __init__(
        self, grid: Grid, factory: str, context: dict[str, Any], count: int, only: Collection[str] | None
    ) -> None:
        self._grid = grid
        self._only = only
        asked = {
            "folder": str(grid.path.parent.resolve()),
            "factory": factory,
            "context": context,
            "only": None if only is None else sorted(only),
        }
        self._asked = (json.dumps(asked) + "\n").encode()
        here = [path or os.getcwd() for path in sys.path]
        self._environment = {
            **os.environ,
            **thread_settings(count, cores()),
            "PYTHONPATH": os.pathsep.join(here),
        }
        self._deaths = Deaths(grid)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = count

    def run(self, show: Callable[[], None]) -> None:
        try:
            for _ in range(self._count):
                self._start()
            while self._processes:
                time.sleep(0.1)
                for process in [process for process in self._processes if process.poll() is not None]:
                    self._processes.remove(process)
                    self._settle(process)
                show()
        finally:
            self._stop()

    def _start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "prompt_hub.runs.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C comes here, not there
        )
        self._processes.append(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # where it has ended, its exit code says so
            process.stdin.write(self._asked)
            process.stdin.flush()

    def _settle(self, process: subprocess.Popen[bytes]) -> None:
        said = _last_words(process)
        if process.returncode == 0:
            return
        if said:
            if said["user"]:
                raise UserError(said["error"])
            raise RuntimeError(f"A worker process could not work. It said:\n{said['details']}")
        self._deaths.add(self._grid.left_undone_by(process.pid), _exit_in_words(process.returncode))
        if self._grid.goes_on(self._only):
            self._start()

    def _stop(self) -> None:
        """Ends those that still run; what they were at is open again."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _last_words(process)


def _last_words(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    text = process.stdout.read().decode()
    process.stdout.close()
    try:
        said: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return said


def _exit_in_words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
