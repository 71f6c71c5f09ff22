"""Neurons held at a value while the backbone runs: masked at 0, or induced at another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.ffn import FFNSite
from prompt_hub.errors import UserError


@contextmanager
def held_neurons(sites: Sequence[FFNSite], chosen: Tensor, to: float | Tensor = 0.0) -> Iterator[None]:
    """Inside the block the ``chosen`` neurons have the value ``to`` at every position of every forward.

    sites: one a layer. chosen: ``[L, F]`` bool (layers, FFN width). to: 0 masks them (as the paper's 2.0 code
    does), a number or ``[L, F]`` induces them, such as the mean over a task's rows. What is held is what
    enters the map back to the hidden width. Raises ``UserError`` for a mask of another shape.
    """
    shape = (len(sites), sites[0].width)
    if tuple(chosen.shape) != shape or chosen.dtype != torch.bool:
        raise UserError(
            f"The neurons to hold must be a bool tensor of layers by neurons {list(shape)}, not "
            f"{chosen.dtype} {list(chosen.shape)}."
        )
    values = to if isinstance(to, Tensor) else torch.full(shape, float(to))
    if tuple(values.shape) != shape or not values.isfinite().all():
        raise UserError(
            f"The values to hold neurons at must be finite and of shape {list(shape)}, not "
            f"{list(values.shape)}{'' if values.isfinite().all() else ' with NaN or infinity'}."
        )
    handles: list[Any] = []
    try:
        for site, where, value in zip(sites, chosen, values, strict=True):
            if where.any():
                handles.append(site.down.register_forward_pre_hook(_holder(where, value)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _holder(where: Tensor, value: Tensor) -> Callable[..., tuple[Any, ...]]:
    moved: dict[Any, tuple[Tensor, Tensor]] = {}

    def hold(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        neurons = inputs[0]
        kind = (neurons.device, neurons.dtype)
        if kind not in moved:
            # Once, not in every forward: a GPU waits for each copy from the host.
            moved[kind] = where.to(neurons.device), value.to(neurons.device, neurons.dtype)
        mask, held = moved[kind]
        return (torch.where(mask, held, neurons), *inputs[1:])

    # Rows may come in any order and number (backbones/packed_check.py).
    hold.any_rows = True  # type: ignore[attr-defined]
    return hold
