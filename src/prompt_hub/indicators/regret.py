"""What is lost by trusting an indicator: regret@k.

For one target: the best score that any other source reaches, less the best among the k sources that the
indicator puts first. 0 where the best one is among them.
"""

from __future__ import annotations

from math import comb

import numpy as np


def regret_at(k: int, predicted: np.ndarray, scores: np.ndarray) -> float:
    """Regret of one target over its sources: ``predicted [S]`` (larger is better) and ``scores [S]``.

    Ties are broken by lot: the expected regret over all orders of sources with equal predictions, so that
    the order in a file does not matter. NaN without a source.
    """
    if not len(scores):
        return float("nan")
    k = min(k, len(scores))
    border = np.sort(predicted)[::-1][k - 1]
    sure, drawn = scores[predicted > border], scores[predicted == border]
    return float(scores.max() - _expected_best(sure, np.sort(drawn), k - len(sure)))


def chance_regret_at(k: int, scores: np.ndarray) -> float:
    """Regret of k sources drawn by lot: what knowing nothing costs."""
    return regret_at(k, np.zeros(len(scores)), scores)


def _expected_best(sure: np.ndarray, drawn: np.ndarray, count: int) -> float:
    """Expected maximum of all of ``sure`` and of ``count`` of ``drawn`` (ascending), drawn without return."""
    floor = sure.max() if len(sure) else -np.inf
    n = len(drawn)
    # The largest of the draw is the element at place i if the others come from the i elements below it.
    chances = [comb(i, count - 1) / comb(n, count) for i in range(n)]
    # An element that is never the largest adds nothing, not -inf times 0.
    return float(
        sum(chance * max(value, floor) for chance, value in zip(chances, drawn, strict=True) if chance)
    )
