"""Which neurons: masks ``[L, F]`` of a share of all, by rank or by draw (``L`` layers, ``F`` FFN width).

Every function gives a boolean tensor with ``count(ratio, L * F)`` neurons; equal values are taken in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prompt_hub.errors import UserError


def count(ratio: float, neurons: int) -> int:
    """How many neurons a ratio is, at least one. Raises ``UserError`` outside (0, 1]."""
    if not 0 < ratio <= 1:
        raise UserError(f"A ratio of neurons is above 0 and at most 1, such as 0.2, not {ratio}.")
    return max(1, round(ratio * neurons))


def top(values: Tensor, ratio: float) -> Tensor:
    """The neurons with the highest values."""
    return _first(values.double().flatten().argsort(descending=True, stable=True), values, ratio)


def bottom(values: Tensor, ratio: float) -> Tensor:
    """The neurons with the lowest values."""
    return _first(values.double().flatten().argsort(stable=True), values, ratio)


def random(values: Tensor, ratio: float, seed: int) -> Tensor:
    """Neurons drawn from all."""
    generator = torch.Generator().manual_seed(seed)
    return _first(torch.randperm(values.numel(), generator=generator), values, ratio)


def random_active(values: Tensor, ratio: float, seed: int) -> Tensor:
    """Neurons drawn from the active ones (value above 0), then, when those are used up, from the others.

    A plain draw hits mostly neurons that do nothing under the prompt, and masking those is no fair control.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(values.numel(), generator=generator)
    active = (values.flatten() > 0)[drawn]
    return _first(torch.cat([drawn[active], drawn[~active]]), values, ratio)


def common(values: Tensor, others: Sequence[Tensor], ratio: float) -> Tensor:
    """The neurons that are active under the most of these prompts, among equals those of the highest mean."""
    every = torch.stack([values, *_checked(values, others)]).double()
    return _first(_ranked((every > 0).sum(0), every.mean(0)), values, ratio)


def specific(values: Tensor, others: Sequence[Tensor], ratio: float) -> Tensor:
    """The neurons active here and under the fewest others, among equals those of the highest value."""
    elsewhere = (torch.stack(_checked(values, others)) > 0).sum(0)
    return _first(_ranked((values > 0) * (len(others) + 1 - elsewhere), values.double()), values, ratio)


def _first(order: Tensor, values: Tensor, ratio: float) -> Tensor:
    chosen = torch.zeros(values.numel(), dtype=torch.bool)
    chosen[order[: count(ratio, values.numel())].cpu()] = True
    return chosen.reshape(values.shape)


def _ranked(first: Tensor, then: Tensor) -> Tensor:
    """Places from the highest ``first`` down, among equals from the highest ``then`` down."""
    by_second = then.flatten().argsort(descending=True, stable=True)
    return by_second[first.flatten()[by_second].argsort(descending=True, stable=True)]


def _checked(values: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
    if not others:
        raise UserError("What is common or specific needs the neurons of at least one other prompt.")
    for other in others:
        if other.shape != values.shape:
            raise UserError(
                f"Neurons of shape {list(values.shape)} and {list(other.shape)} are of different backbones. "
                "Name prompts of one backbone."
            )
    return list(others)
