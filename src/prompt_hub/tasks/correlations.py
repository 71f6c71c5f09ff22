"""Correlations of weighted points, many weightings at once: a bootstrap is one call.

Shape letters: ``R`` weightings, ``n`` points. Weights are counts: how often a resample holds each point.
"""

from __future__ import annotations

import numpy as np


def weighted_pearson(x: np.ndarray, y: np.ndarray, counts: np.ndarray, undefined: float = 0.0) -> np.ndarray:
    """``[R]`` correlation of ``x`` and ``y``, each ``[n]`` or ``[R, n]``, under counts ``[R, n]``.

    undefined: the answer where one side is constant or no point has a weight.
    """
    x, spread_x = _centred(x, counts)
    y, spread_y = _centred(y, counts)
    top, below = (counts * x * y).sum(-1), np.sqrt(spread_x * spread_y)
    return np.divide(top, below, out=np.full_like(top, undefined), where=below > 0)


def weighted_spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray, undefined: float = 0.0) -> np.ndarray:
    """``[R]`` rank correlation of ``x [n]`` and ``y [n]``; equal values share the mean of their ranks."""
    return weighted_pearson(weighted_ranks(x, counts), weighted_ranks(y, counts), counts, undefined)


def weighted_kendall(x: np.ndarray, y: np.ndarray, counts: np.ndarray, undefined: float = 0.0) -> np.ndarray:
    """``[R]`` Kendall's tau-b of ``x [n]`` and ``y [n]``: pairs in the same order less pairs in another one.

    A point that a resample holds twice is tied with itself. Takes ``n^2`` numbers of memory.
    """
    up_x, up_y = (np.sign(values[:, None] - values[None, :]) for values in (x, y))

    def over_pairs(of_pairs: np.ndarray) -> np.ndarray:
        return (counts @ of_pairs * counts).sum(-1)

    top, below = over_pairs(up_x * up_y), np.sqrt(over_pairs(up_x**2) * over_pairs(up_y**2))
    return np.divide(top, below, out=np.full_like(top, undefined), where=below > 0)


def weighted_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``[R, n]`` average ranks of ``values [n]`` in the samples that hold each of them ``counts`` times."""
    order = np.argsort(values, kind="stable")
    is_new = np.r_[True, np.diff(values[order]) != 0]
    tied = np.add.reduceat(counts[:, order], np.flatnonzero(is_new), axis=1)
    ranks_by_value = np.cumsum(tied, axis=1) - (tied - 1) / 2
    ranks = np.empty_like(counts)
    ranks[:, order] = ranks_by_value[:, np.cumsum(is_new) - 1]
    return ranks


def _centred(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values less their weighted mean, and their sum of squares ``[R]``, exactly 0 if all are one value."""
    total = np.maximum(counts.sum(-1, keepdims=True), 1)
    centred = values - (counts * values).sum(-1, keepdims=True) / total
    squares = (counts * centred**2).sum(-1)
    # What rounding leaves of a constant is not a spread.
    squares[squares < 1e-24 * (counts * values**2).sum(-1)] = 0
    return centred, squares
