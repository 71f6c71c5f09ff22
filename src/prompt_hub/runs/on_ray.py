"""Doing the work of a grid on a Ray cluster.

The process that calls ``run_on_ray`` alone reads and writes the grid: other machines need not see its file,
and an item is held as long as this process lives. They do need to see the paths that the work itself names.
When the process is killed, Ray ends its actors within seconds; what they still compute is not stored.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError, first_line
from prompt_hub.progress import progress_bar, set_quiet
from prompt_hub.runs.grid import Grid, Item
from prompt_hub.runs.work import (
    Deaths,
    Keys,
    Maker,
    Outcome,
    attempt,
    batches,
    cores,
    describe,
    progress_shower,
    store,
    thread_settings,
    worker_name,
)

POLL_SECONDS = 0.5


class RayWorker:
    """What an actor is made of: it builds its function at the first item, and keeps it."""

    def __init__(self, factory: str, context: dict[str, Any]) -> None:
        set_quiet(True)
        self._maker = Maker(factory, context)

    def is_there(self) -> bool:
        return True

    def do(self, item: Item) -> tuple[str, Outcome | None]:
        """(what kept the worker from working, or ""; outcome)"""
        try:
            work = self._maker.work
        except Exception as error:
            return describe(error), None
        return "", attempt(work, item)


def run_on_ray(
    folder: str | Path,
    worker_factory: str,
    context: dict[str, Any],
    jobs: int,
    *,
    address: str | None = None,
    only: Collection[str] | None = None,
    then: Callable[[], Collection[str]] | None = None,
    description: str = "work",
) -> None:
    """Like ``run_here``, with ``jobs`` Ray actors as workers.

    address: of a running cluster (``auto``, ``host:6379``, ``ray://host:10001``); None takes the one named by
    RAY_ADDRESS, or starts one on this machine for as long as the work takes. An actor gets an equal share of
    the cluster's cores, and of its GPUs if there are any. Raises ``UserError`` where Ray is not installed and
    where the cluster cannot be reached.
    """
    if jobs < 1:
        raise UserError(f"The number of jobs is {jobs}. It must be at least 1.")
    ray = _import_ray()
    with Grid.open(Path(folder)) as grid, ExitStack() as at_the_end:
        pool: _Pool | None = None
        for keys in batches(only, then):
            if not grid.goes_on(keys):
                continue
            counts = grid.counts(keys)
            if pool is None:
                at_the_end.enter_context(_cluster(ray, address, jobs))
                workers = jobs if then is not None else min(jobs, counts["open"] + counts["taken"])
                pool = _Pool(ray, grid, worker_factory, context, workers)
                at_the_end.callback(pool.stop)
            with progress_bar(description, sum(counts.values())) as bar:
                pool.run(keys, progress_shower(grid, keys, bar))


class _Pool:
    """Actors, and which item each of them is at."""

    def __init__(self, ray: Any, grid: Grid, factory: str, context: dict[str, Any], count: int) -> None:
        self._ray, self._grid = ray, grid
        self._only: Keys = None
        self._make = _actor_maker(ray, count, factory, context)
        self._deaths = Deaths(grid)
        self._idle: list[Any] = []
        self._at: dict[Any, tuple[Any, Item | None]] = {}  # answer to come: actor, item (None: it starts)
        self._started = 0
        for _ in range(count):
            self._start()

    def run(self, only: Keys, show: Callable[[], None]) -> None:
        self._only = only
        while True:
            show()
            while self._idle and (item := self._claim()) is not None:
                actor = self._idle.pop()
                self._at[actor.do.remote(item)] = (actor, item)
            at_work = any(item is not None for _, item in self._at.values())
            if not at_work and not self._grid.goes_on(self._only):
                return
            if not self._at:
                time.sleep(POLL_SECONDS)
                continue
            for answer in self._ray.wait(list(self._at), num_returns=1, timeout=POLL_SECONDS)[0]:
                self._settle(answer)

    def stop(self) -> None:
        for actor in [*self._idle, *(actor for actor, _ in self._at.values())]:
            self._ray.kill(actor)

    def _start(self) -> None:
        actor = self._make()
        self._at[actor.is_there.remote()] = (actor, None)

    def _claim(self) -> Item | None:
        self._started += 1
        return self._grid.claim(worker_name(self._started), self._only)

    def _settle(self, answer: Any) -> None:
        actor, item = self._at.pop(answer)
        try:
            said = self._ray.get(answer)
        except self._ray.exceptions.RayActorError as error:
            self._bury(item, first_line(error))
            return
        if item is not None:
            unable, outcome = said
            if unable:
                raise UserError(unable)
            store(self._grid, item.key, outcome)
        self._idle.append(actor)

    def _bury(self, item: Item | None, how: str) -> None:
        failed = self._deaths.add(None if item is None else item.key, how)
        if item is not None and not failed:
            self._grid.release(item.key)
        self._start()


def _actor_maker(ray: Any, count: int, factory: str, context: dict[str, Any]) -> Callable[[], Any]:
    """Equal shares of the cluster, none larger than its smallest machine."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    processors = int(sum(node.get("CPU", 0) for node in nodes))
    smallest = int(min((node["CPU"] for node in nodes if node.get("CPU")), default=1))
    share = max(1, min(processors // count, smallest))
    gpus = sum(node.get("GPU", 0) for node in nodes)
    options: dict[str, Any] = {
        "num_cpus": share,
        "num_gpus": min(1.0, gpus / count),
        "runtime_env": {"env_vars": thread_settings(1, share)},
    }
    actor = ray.remote(RayWorker).options(**options)
    return lambda: actor.remote(factory, context)


@contextmanager
def _cluster(ray: Any, address: str | None, jobs: int) -> Iterator[None]:
    """Connected to a cluster inside the block; one that was started for it ends with it."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    settings: dict[str, Any] = {"address": address}
    if address in (None, "local"):
        settings |= {"include_dashboard": False, "num_cpus": max(jobs, cores())}
    try:
        _check_that_someone_listens(address or "")
        ray.init(log_to_driver=False, logging_level="ERROR", **settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"No Ray cluster can be reached at {address!r}: {first_line(error)}. Start one (ray start "
            "--head) and give its address, or leave out --address for one on this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_that_someone_listens(address: str) -> None:
    """Ray itself would try for minutes. Raises ``OSError``."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "Ray is not installed. Install the extra that brings it: pip install 'prompt-hub[ray]'. "
            "Without it, --jobs starts several processes on this machine."
        ) from None
    return ray
