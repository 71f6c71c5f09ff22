"""The order in which the documents are trained on: a function of the seed, so that a run can be continued."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from objectives import Objective

Group = tuple[int, np.ndarray]
"""A key and the ``[B]`` rows that have it."""


def grouped(keys: np.ndarray, rows: np.ndarray, sizes: dict[int, int]) -> list[Group]:
    """Rows cut into groups of one key each, of at most ``sizes[key]`` rows, in the rows' order."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    bounds = [0, *(np.flatnonzero(np.diff(keys)) + 1), len(keys)]
    return [
        (int(keys[start]), rows[at : min(at + sizes[int(keys[start])], stop)])
        for start, stop in pairwise(bounds)
        if stop > start
        for at in range(start, stop, sizes[int(keys[start])])
    ]


def row_counts(objective: Objective, keys: np.ndarray, tokens: int) -> dict[int, int]:
    """How many rows of each key make about ``tokens`` tokens."""
    return {int(key): max(1, round(tokens / objective.cost(int(key)))) for key in np.unique(keys)}


def epoch(objective: Objective, seed: int, number: int) -> list[Group]:
    """One pass over the documents in random order. Groups much smaller than the others are left out.

    The recipe's first passes are over the short documents alone.
    """
    recipe = objective.recipe
    random = np.random.default_rng([seed, 0, number])
    keys = objective.keys(random)
    sizes = row_counts(objective, keys, recipe.batch_tokens)
    rows = random.permutation(len(keys))
    if number < recipe.short_passes:
        rows = rows[objective.documents.lengths[rows] <= recipe.short]
    groups = [group for group in grouped(keys[rows], rows, sizes) if 4 * len(group[1]) >= sizes[group[0]]]
    return [groups[index] for index in random.permutation(len(groups))]


def groups_from(objective: Objective, seed: int, number: int, place: int) -> Iterator[tuple[int, int, Group]]:
    """Groups without end from ``place`` of pass ``number`` on, each with its pass and the place behind it."""
    while True:
        groups = epoch(objective, seed, number)
        for index in range(place, len(groups)):
            yield number, index + 1, groups[index]
        number, place = number + 1, 0
