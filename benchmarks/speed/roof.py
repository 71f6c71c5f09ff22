"""How fast the machine multiplies matrices of a model's shapes: the roof that no step can pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from operations import Architecture

from speed.setting import Setting

_LEAST_GPU_SECONDS = 0.02


@dataclass(frozen=True)
class Roof:
    """The fastest of the model's matrix products. size: tokens, inputs, outputs. run: some of it at once."""

    size: tuple[int, int, int]
    operations: int
    run: Callable[[], None]


def roof_of(arch: Architecture, tokens: int, setting: Setting) -> Roof:
    """tokens: of a batch, prompt included."""
    sizes = [
        (tokens, arch.hidden, arch.feed_forward),
        (tokens, arch.feed_forward, arch.hidden),
        (tokens, arch.hidden, arch.heads + 2 * arch.key_heads),
    ]
    candidates = [_candidate(size, setting) for size in sizes]
    for _, run in candidates:
        run()
    rates = [_rate(size, run, setting) for size, run in candidates]
    (size, run), rate = max(zip(candidates, rates, strict=True), key=lambda found: found[1])
    operations = 2 * size[0] * size[1] * size[2]
    # Long enough for the clock, short beside a step.
    times = max(1, min(200, int((0.02 if setting.on_gpu else 0.2) * rate / operations)))

    def repeated() -> None:
        for _ in range(times):
            run()

    return Roof(size, times * operations, repeated)


def _candidate(
    size: tuple[int, int, int], setting: Setting
) -> tuple[tuple[int, int, int], Callable[[], object]]:
    place = setting.place
    tokens, inputs, outputs = size
    left = torch.randn(tokens, inputs, device=place.device).to(place.dtype)
    # As a linear map holds its weight.
    right = torch.randn(outputs, inputs, device=place.device).to(place.dtype).t()
    return size, lambda: torch.matmul(left, right)


def _rate(size: tuple[int, int, int], run: Callable[[], object], setting: Setting) -> float:
    """Operations a second, the best of three."""
    return 2 * size[0] * size[1] * size[2] / min(setting.timed(run) for _ in range(3))


def guessed_rate(arch: Architecture, setting: Setting) -> float:
    """Useful operations a second that a model may reach, before anything of it was measured."""
    roof = roof_of(arch, 512, setting)
    return 0.5 * roof.operations / setting.timed(roof.run)


def guessed_seconds(arch: Architecture, operations: int, setting: Setting) -> float:
    """Of a batch with so many useful operations; a GPU needs a while for the smallest."""
    return max(operations / guessed_rate(arch, setting), _LEAST_GPU_SECONDS if setting.on_gpu else 0.0)
