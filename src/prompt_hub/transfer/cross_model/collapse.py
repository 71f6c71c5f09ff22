"""Which prompts of a set are one and the same vector.

A projector that ignores its input gives one prompt for every source prompt; its "transfer" is then that of
one fixed prompt. The scores do not show it, the prompts do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt

SAME_COSINE = 0.9995
"""From here on a cosine is 1.000 to three digits."""


@dataclass(frozen=True)
class Alike:
    """Prompts that are one vector. lowest_cosine, largest_distance: over all pairs of them.

    projected: how many of them are known to come from a projector. tasks: those they are for, where known.
    """

    names: list[str]
    lowest_cosine: float
    largest_distance: float
    projected: int
    tasks: list[str]

    @property
    def is_collapse(self) -> bool:
        """Whether a projector made one vector for several tasks."""
        return self.projected > 1 and len(self.tasks) > 1


@dataclass(frozen=True)
class Comparison:
    """Over all pairs, symmetric, by name.

    cosine: ``[n, n]`` of the prompts as one vector each, rows that never reach a model left out; NaN where
    shapes differ. distance: ``[n, n]``, ``||a - b|| / max(||a||, ||b||)``.
    groups: the prompts that are alike, the largest group first; a prompt like no other is in none.
    """

    names: list[str]
    cosine: Tensor
    distance: Tensor
    groups: list[Alike]


def compare(prompts: Mapping[str, SoftPrompt], same_cosine: float = SAME_COSINE) -> Comparison:
    """Pairs with a cosine of at least ``same_cosine`` are alike, and so are those that a chain of them joins.

    Raises ``UserError`` for fewer than two prompts or an impossible cosine.
    """
    if len(prompts) < 2:
        raise UserError(f"One prompt is like itself. Name at least two, not {len(prompts)}.")
    if not 0 < same_cosine <= 1:
        raise UserError(
            f"The cosine from which prompts are alike must be above 0 and at most 1, not {same_cosine}."
        )
    names = list(prompts)
    cosine = torch.full((len(names), len(names)), torch.nan, dtype=torch.float64)
    distance = cosine.clone()
    for row, column in combinations_with_replacement(range(len(names)), 2):
        first, second = (prompts[names[index]] for index in (row, column))
        if first.embeddings.shape == second.embeddings.shape:
            found = _compare_two(first, second)
            cosine[row, column], distance[row, column] = found
            cosine[column, row], distance[column, row] = found
    groups = []
    for members in _joined(cosine >= same_cosine):
        pairs = cosine[members][:, members], distance[members][:, members]
        groups.append(_alike([names[index] for index in members], prompts, *pairs))
    return Comparison(names, cosine, distance, sorted(groups, key=lambda group: -len(group.names)))


def _compare_two(first: SoftPrompt, second: SoftPrompt) -> tuple[float, float]:
    """Cosine and relative distance; a file may not say which rows are dead, so those of either count."""
    dead = {*first.metadata.dead_rows, *second.metadata.dead_rows}
    live = [row for row in range(first.prompt_len) if row not in dead]
    a, b = (prompt.embeddings[live].double().flatten() for prompt in (first, second))
    lengths = a.norm().clamp(min=1e-30), b.norm().clamp(min=1e-30)
    return float((a / lengths[0]) @ (b / lengths[1])), float((a - b).norm() / max(lengths))


def _joined(alike: Tensor) -> list[list[int]]:
    """Groups of at least two that ``alike [n, n]`` joins."""
    groups: list[list[int]] = []
    rest = set(range(len(alike)))
    while rest:
        members: set[int] = set()
        border = {min(rest)}
        while border:
            members |= border
            border = {int(other) for one in border for other in alike[one].nonzero()} - members
        rest -= members
        if len(members) > 1:
            groups.append(sorted(members))
    return groups


def _alike(names: list[str], prompts: Mapping[str, SoftPrompt], cosine: Tensor, distance: Tensor) -> Alike:
    known = [prompts[name].metadata for name in names]
    return Alike(
        names,
        float(cosine.min()),
        float(distance.max()),
        sum((one.parent or {}).get("relation") == "projected" for one in known),
        sorted({one.task for one in known if one.task}),
    )
