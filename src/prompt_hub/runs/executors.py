"""Doing the work of a grid: here, in one process or several, or on a Ray cluster (``on_ray.py``)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.progress import progress_bar
from prompt_hub.runs.grid import Grid
from prompt_hub.runs.on_ray import run_on_ray
from prompt_hub.runs.work import (
    Deaths,
    Keys,
    Maker,
    batches,
    cores,
    progress_shower,
    thread_settings,
    work_on,
    worker_name,
)
from prompt_hub.runs.worker_process import SECONDS_TO_STOP

__all__ = ["run_here", "run_on_ray"]


def run_here(
    folder: str | Path,
    worker_factory: str,
    context: dict[str, Any],
    jobs: int = 1,
    *,
    only: Collection[str] | None = None,
    then: Callable[[], Collection[str]] | None = None,
    description: str = "work",
) -> None:
    """Does what is open in the grid of ``folder``, and waits for what others work on there.

    worker_factory: ``module:function``; called with ``context`` (JSON) once in each worker, it returns the
    function that makes an item's result. jobs: 1 works in this process; more start as many processes, which
    share the cores. only: keys to keep to. then: called when these are done or failed; adds items that follow
    from the results and returns their keys, for the same workers, until it returns none. An error in an item
    is stored and stops nothing; a worker process that dies is replaced and its item done again (failed, when
    it dies three times at it). Raises ``UserError`` when the factory does, and when the grid cannot be
    written.
    """
    if jobs < 1:
        raise UserError(f"The number of jobs is {jobs}. It must be at least 1.")
    with Grid.open(Path(folder)) as grid:
        counts = grid.counts(only)
        workers = jobs if then is not None else min(jobs, counts["open"] + counts["taken"])
        if workers > 1:
            _Processes(grid, worker_factory, context, workers).run(batches(only, then), description)
            return
        maker = Maker(worker_factory, context)
        for keys in batches(only, then):
            with _shown(grid, keys, description) as show:
                work_on(grid, maker, worker_name(), keys, after=show)


@contextmanager
def _shown(grid: Grid, keys: Keys, description: str) -> Iterator[Callable[[], None]]:
    """A bar over the items with these keys; what it yields brings it up to date."""
    with progress_bar(description, sum(grid.counts(keys).values())) as bar:
        show = progress_shower(grid, keys, bar)
        show()
        yield show


class _Processes:
    """Worker processes of this machine, watched over."""

    def __init__(self, grid: Grid, factory: str, context: dict[str, Any], count: int) -> None:
        self._grid = grid
        self._only: Keys = None
        self._setting = {
            "folder": str(grid.path.parent.resolve()),
            "factory": factory,
            "context": context,
        }
        here = [path or os.getcwd() for path in sys.path]
        self._environment = {
            **os.environ,
            **thread_settings(count, cores()),
            "PYTHONPATH": os.pathsep.join(here),
        }
        self._deaths = Deaths(grid)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = count

    def run(self, every: Iterator[Keys], description: str) -> None:
        """One batch of keys after the other; the processes stay in between."""
        try:
            for self._only in every:
                if not self._grid.goes_on(self._only):
                    continue
                for process in self._processes:
                    _tell(process, self._order())
                while len(self._processes) < self._count:
                    self._start()
                with _shown(self._grid, self._only, description) as show:
                    self._watch(lambda: self._grid.goes_on(self._only), show)
            for process in self._processes:
                _tell(process, {"end": True})
            self._watch(lambda: bool(self._processes), lambda: None)
        finally:
            self._stop()

    def _watch(self, goes_on: Callable[[], bool], show: Callable[[], None]) -> None:
        while goes_on():
            time.sleep(0.1)
            for process in [process for process in self._processes if process.poll() is not None]:
                self._processes.remove(process)
                self._settle(process)
            show()

    def _order(self) -> dict[str, Any]:
        return {"only": None if self._only is None else sorted(self._only)}

    def _start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "prompt_hub.runs.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C comes here, not there
        )
        self._processes.append(process)
        _tell(process, self._setting)
        _tell(process, self._order())

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
        self._grid.reopen_abandoned()  # a worker that was stopped hard could not give back what it held


def _tell(process: subprocess.Popen[bytes], what: dict[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # where it has ended, its exit code says so
        process.stdin.write((json.dumps(what) + "\n").encode())
        process.stdin.flush()


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
