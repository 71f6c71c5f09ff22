"""What can happen to a command, each at a moment that a random generator chooses.

A fault gets the scene (``scene.py``), disturbs one or more runs of its command, and gives back how the last
of them ended. It leaves the scene such that the same command can go on.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soak.scene import Scene
    from soak.warm import Command, Ended


def killed(scene: Scene) -> Ended:
    """The process and its workers are killed."""
    return _signalled(scene, signal.SIGKILL).wait()


def _signalled(scene: Scene, number: int) -> Command:
    command = scene.start()
    command.after(scene.moment())
    command.signal(number)
    return command


def power_loss(scene: Scene) -> Ended:
    """``kill -9``, and the last written file ends somewhere.

    SQLite's own file is left out: it is written with fsync, and the log beside it is what a power loss cuts.
    """
    ended = killed(scene)
    files = [path for path in scene.output.rglob("*") if path.is_file() and path.name != "grid.sqlite"]
    if files:
        last = max(files, key=lambda path: path.stat().st_mtime_ns)
        os.truncate(last, scene.chooser.randrange(last.stat().st_size + 1))
    return ended


def interrupted(scene: Scene) -> Ended:
    """The process group gets SIGINT."""
    return _signalled(scene, signal.SIGINT).wait()


def interrupted_twice(scene: Scene) -> Ended:
    """SIGINT, and another one before it has ended."""
    command = _signalled(scene, signal.SIGINT)
    command.after(scene.chooser.random() * 0.1)
    command.signal(signal.SIGINT)
    return command.wait()


def full_disk(scene: Scene) -> Ended:
    """The output lies on a disk that is full at some byte; then there is room again."""
    size = scene.chooser.randrange(1, max(2, scene.bytes_needed // 4096)) * 4
    scene.mount(f"size={size}k")
    ended = scene.start().wait()
    scene.remount("size=256m")
    return ended


def read_only(scene: Scene) -> Ended:
    """A run is killed, the disk can only be read while the command runs again; then it can be written."""
    scene.mount("size=256m")
    killed(scene)
    scene.remount("ro")
    ended = scene.start().wait()
    scene.remount("rw")
    return ended


def vanished_rows(scene: Scene) -> Ended:
    """The file of training rows is gone for a while."""
    rows = scene.material / "train.csv"
    away = rows.with_suffix(".away")
    command = scene.start()
    command.after(scene.moment() * scene.chooser.choice([0, 1]))
    rows.rename(away)
    try:
        return command.wait()
    finally:
        away.rename(rows)


def clock_jumps(scene: Scene) -> Ended:
    """The wall clock jumps up to a day ahead and back while the command runs, and a run is killed."""
    killed(scene)
    seed = scene.chooser.random()

    def prepare() -> None:
        import random

        chooser, real = random.Random(seed), time.time
        time.time = lambda: real() + chooser.uniform(-86400, 86400)

    return scene.start(prepare).wait()


def out_of_memory(scene: Scene) -> Ended:
    """Batches of more than a few rows do not fit while the command evaluates."""
    most = scene.chooser.choice([1, 2, 5])

    def prepare() -> None:
        import torch

        from prompt_hub.backbones.causal_lm import CausalLM

        whole = CausalLM.label_logits

        def label_logits(self: CausalLM, prompt: object, batch: object, label_ids: object) -> object:
            if len(batch.input_ids) > most and not torch.is_grad_enabled():  # type: ignore[attr-defined]
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return whole(self, prompt, batch, label_ids)  # type: ignore[arg-type]

        CausalLM.label_logits = label_logits  # type: ignore[method-assign, assignment]

    return scene.start(prepare).wait()


def dead_worker(scene: Scene) -> Ended:
    """One of two worker processes is killed; the command itself lives."""
    seconds = scene.chooser.uniform(0, 15)  # workers load their libraries first
    while True:
        command = scene.start(more=["--jobs", "2"])
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        found: list[str] = []
        while command.after(0.01) and len(found) < 2:
            found = children.read_text(encoding="ascii").split()
        if command.after(seconds):
            with suppress(ProcessLookupError):
                os.kill(int(scene.chooser.choice(found)), signal.SIGKILL)
                return command.wait()
        # It was over before. Once more, and earlier.
        command.wait()
        shutil.rmtree(scene.output)
        seconds /= 2


FAULTS: dict[str, tuple[Callable[[Scene], Ended], tuple[str, ...]]] = {
    "kill -9": (killed, ("train", "matrix", "project", "report")),
    "power loss": (power_loss, ("train", "matrix", "project", "report")),
    "Ctrl-C": (interrupted, ("train", "matrix", "project", "report")),
    "Ctrl-C twice": (interrupted_twice, ("train", "matrix", "project", "report")),
    "full disk": (full_disk, ("train", "matrix", "project", "report")),
    "read-only disk": (read_only, ("train", "matrix", "project", "report")),
    "vanished file of rows": (vanished_rows, ("train",)),
    "clock jumps": (clock_jumps, ("train", "matrix", "project")),
    "out of memory": (out_of_memory, ("train", "matrix")),
    "dead worker": (dead_worker, ("matrix",)),
}
"""By name: the fault, and the jobs it can happen to."""
NEED_MOUNT = {"full disk", "read-only disk"}
