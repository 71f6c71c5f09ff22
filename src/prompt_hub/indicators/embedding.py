"""Indicators from the numbers of two prompts alone: Su et al. 2022, section 6.1 (E_* and C_*).

Computed in float64. Each pair is one small block of work, so memory does not grow with the number of prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from prompt_hub.indicators.base import Context, Indicator, Target, live_rows
from prompt_hub.progress import track

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

Similarity = Callable[[np.ndarray, np.ndarray], float]
"""Of two prompts ``[P, H]`` and ``[Q, H]``."""


def e_concat(p: np.ndarray, q: np.ndarray) -> float:
    """1 / (1 + ||P - Q||), the Euclidean distance of all numbers in a row. In (0, 1]."""
    return 1 / (1 + float(np.linalg.norm(p - q)))


def e_avg(p: np.ndarray, q: np.ndarray) -> float:
    """1 / (1 + mean of ||P_i - Q_j|| over all i, j). In (0, 1]; of a prompt with itself below 1."""
    squares = (p * p).sum(1)[:, None] + (q * q).sum(1) - 2 * p @ q.T
    # Rounding can take the square of a distance of 0 below 0.
    return 1 / (1 + float(np.sqrt(np.maximum(squares, 0)).mean()))


def c_concat(p: np.ndarray, q: np.ndarray) -> float:
    """The cosine of all numbers in a row. 0 for a prompt of zeros."""
    size = float(np.linalg.norm(p) * np.linalg.norm(q))
    return float(np.vdot(p, q)) / size if size else 0.0


def c_avg(p: np.ndarray, q: np.ndarray) -> float:
    """The mean cosine of P_i and Q_j over all i, j; of a prompt with itself below 1.

    A cosine is the product of two unit vectors, so the mean over all pairs is the product of the mean unit
    vectors.
    """
    return float(_unit(p).mean(0) @ _unit(q).mean(0))


def _unit(rows: np.ndarray) -> np.ndarray:
    """``[P, H]``, every row of length 1; a row of zeros stays one and has cosine 0 with everything."""
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, sizes, out=np.zeros_like(rows), where=sizes > 0)


def _of_pairs(similarity: Similarity, same_length: bool) -> Callable[..., np.ndarray]:
    """``Compute`` of a similarity; NaN for prompts of another width, or length where that matters."""

    def compute(sources: Sequence[SoftPrompt], targets: Sequence[Target], context: Context) -> np.ndarray:
        values = np.full((len(targets), len(sources)), np.nan)
        pairs = list(product(range(len(targets)), range(len(sources))))
        p = np.zeros((0, 0))
        for row, column in track(pairs, "compare prompts", len(pairs)):
            if column == 0:
                prompt = targets[row].prompt
                assert prompt is not None
                p = live_rows(prompt, context.all_rows)
            q = live_rows(sources[column], context.all_rows)
            if p.shape[1] == q.shape[1] and (not same_length or len(p) == len(q)):
                values[row, column] = similarity(p, q)
        return values

    return compute


def _indicator(title: str, similarity: Similarity, formula: str, same_length: bool) -> Indicator:
    return Indicator(
        title.lower(),
        title,
        formula,
        _of_pairs(similarity, same_length),
        reads_dead_rows=True,
        same_length=same_length,
    )


INDICATORS = (
    _indicator("E_concat", e_concat, "1 / (1 + ||P - Q||)", True),
    _indicator("E_avg", e_avg, "1 / (1 + mean over i, j of ||P_i - Q_j||)", False),
    _indicator("C_concat", c_concat, "cos(P, Q), all numbers in a row", True),
    _indicator("C_avg", c_avg, "mean over i, j of cos(P_i, Q_j)", False),
)
