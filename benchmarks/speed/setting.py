"""What one run measures on, and how long it may go on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from machine import accelerator, load, machine
from shapes import SST2_LENGTH_COUNTS, Place

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class NotReached(Exception):
    """There is no time left for a measurement."""


@dataclass
class Setting:
    """device, dtype: of the models. deadline: of ``time.monotonic``. rounds: timed ones of a measurement."""

    device: str
    dtype: str
    deadline: float
    rounds: int = 5
    small: bool = False
    threads: int = 1
    counts: tuple[int, ...] = SST2_LENGTH_COUNTS
    host: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.host = {
            **machine(self.threads),
            "accelerator": accelerator(self.device),
            "load": load(),
        }

    @property
    def place(self) -> Place:
        return Place(self.device, DTYPES[self.dtype])

    @property
    def on_gpu(self) -> bool:
        return self.place.pins

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def check(self, seconds: float) -> None:
        """Raises ``NotReached`` where a measurement takes longer than there is time."""
        if self.left() <= 0:
            raise NotReached("the time was over")
        if seconds > self.left():
            raise NotReached(f"it takes longer than there was time (about {_rounded(seconds)} s)")

    def wait(self) -> None:
        """Until the device has done what was queued."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def timed(self, run: Any, *arguments: Any) -> float:
        """Seconds of ``run(*arguments)``, the device's part included."""
        self.wait()
        started = time.perf_counter()
        run(*arguments)
        self.wait()
        return time.perf_counter() - started


def _rounded(seconds: float) -> str:
    return f"{float(f'{seconds:.1g}'):g}"
