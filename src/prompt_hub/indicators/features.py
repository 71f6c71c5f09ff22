"""Indicators from features: how well the hidden states under a source prompt tell the target's classes apart.

A feature is what enters the language model's head where the label is read, a row of ``f [n, H]`` for each of
``n`` labelled target rows (``H`` hidden width, ``C`` classes that occur). Nothing is trained. The label words
play no part, so that a prompt which separates the classes but names them wrongly still counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from prompt_hub.indicators.base import Indicator, Needs
from prompt_hub.indicators.on_rows import OfRows, for_pairs

if TYPE_CHECKING:
    from torch import Tensor

    from prompt_hub.encoding.encoder import Encoder
    from prompt_hub.tasks import Split

_RATIOS = np.logspace(-10, 6, 161)
"""Of prior precision to noise precision, in units of the largest squared singular value of the features."""
_ROUNDS = 3


def log_me(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME: the largest log evidence of a Bayesian linear regression from features to labels, a row.

    You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", equation 2:
    ``y ~ N(f w, 1/beta)``, ``w ~ N(0, 1/alpha)``; one regression a class on its 0/1 labels, their mean.

    Instead of the paper's fixed-point iteration over alpha and beta the evidence is maximised over their
    ratio t alone, by a grid that is refined: for a given t the best beta is known,
    ``1/beta = (|f m - y|^2 + t |m|^2) / n``. That needs one singular value decomposition, finds the largest
    of several maxima, and stays finite where more features than rows fit the labels exactly. features:
    ``[n, H]``. labels: ``[n]``.
    """
    left, singular, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    squared = singular**2
    size = squared.max(initial=0.0)
    if not size > 0:
        # Features of zeros: any positive unit will do, t has no influence.
        size = 1.0
    return float(
        np.mean([_evidence(left, squared, (labels == c).astype(float), size) for c in np.unique(labels)])
    )


def _evidence(left: np.ndarray, squared: np.ndarray, y: np.ndarray, size: float) -> float:
    """Maximum over t. left: ``[n, r]`` left singular vectors, squared: ``[r]`` singular values squared."""
    n = len(y)
    along = (left.T @ y) ** 2
    beyond = max(float(y @ y - along.sum()), 0.0)

    def log_evidence(t: np.ndarray) -> np.ndarray:
        shrunk = t[:, None] / (t[:, None] + squared)
        # |f m - y|^2 + t |m|^2 in the basis of the singular vectors.
        misfit = np.maximum((along * shrunk).sum(1) + beyond, np.finfo(float).tiny)
        return 0.5 * (n * np.log(n / misfit) - n * (1 + np.log(2 * np.pi)) + np.log(shrunk).sum(1))

    ratios = _RATIOS * size
    for _ in range(_ROUNDS):
        found = log_evidence(ratios)
        best = int(found.argmax())
        low, high = ratios[max(best - 1, 0)], ratios[min(best + 1, len(ratios) - 1)]
        ratios = np.geomspace(low, high, len(ratios))
    return float(log_evidence(ratios).max()) / n


def h_score(features: np.ndarray, labels: np.ndarray, shrinkage: float | None = None) -> float:
    """H-score: tr(cov(f)^-1 cov(E[f | y])), the variance between classes in whitened features.

    Bao et al. 2019, "An Information-Theoretic Approach to Transferability in Task Transfer Learning". With no
    more rows than features the plain score is C - 1 whatever the features, so the covariance is shrunk
    towards a multiple of the identity (Ibrahim et al. 2022, "Newer is not always better: Rethinking
    Transferability Metrics, Their Peculiarities, Stability and Performance"), by default as far as Ledoit and
    Wolf 2004 say. features: ``[n, H]``. labels: ``[n]``. shrinkage: 0 (the plain score) to 1 (0).
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    n, width = centred.shape
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    spread = singular**2 / n
    kept = spread > spread.max(initial=0.0) * max(n, width) * np.finfo(float).eps
    spread, right = spread[kept], right[kept]
    if not len(spread):
        return 0.0
    amount = _ledoit_wolf(centred, spread) if shrinkage is None else shrinkage
    between = np.zeros(len(spread))
    for each in np.unique(labels):
        rows = centred[labels == each]
        between += len(rows) / n * (right @ rows.mean(0)) ** 2
    below = (1 - amount) * spread + amount * spread.sum() / width
    return float((1 - amount) * (between / below).sum())


def _ledoit_wolf(centred: np.ndarray, spread: np.ndarray) -> float:
    """How far a covariance is shrunk, 0 to 1. spread: its eigenvalues that are not 0.

    Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices".
    """
    n, width = centred.shape
    squares = float((spread**2).sum())
    distance = squares - spread.sum() ** 2 / width
    error = (float(((centred**2).sum(1) ** 2).sum()) / n - squares) / n
    return min(max(error, 0.0) / distance, 1.0) if distance > 0 else 1.0


def features_of(
    encoder: Encoder, prompt: Tensor | None, rows: Split, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """``[n, H]`` float32 features of a split under ``prompt`` (``[P, H]`` or None); ``[n]`` class indices."""
    from prompt_hub.encoding.batches import batches_by_length
    from prompt_hub.encoding.encoder import encode_split

    encoded = encode_split(encoder, rows)
    batches = batches_by_length(encoded.lengths, batch_size)
    with encoder.backbone.unchanged(prompt):
        parts = [
            encoder.backbone.read_features(prompt, encoder.batch([encoded[index] for index in indices])).cpu()
            for indices in batches
        ]
    places = np.argsort(np.concatenate(batches))
    return np.concatenate(parts)[places], np.array(rows.labels(), dtype=int)


def _of_features(score: Callable[[np.ndarray, np.ndarray], float]) -> OfRows:
    return lambda encoder, prompt, rows, size: score(*features_of(encoder, prompt, rows, size))


def _indicator(name: str, title: str, formula: str, score: Callable[..., float]) -> Indicator:
    return Indicator(
        name,
        title,
        formula,
        for_pairs(_of_features(score)),
        Needs.BACKBONE | Needs.TARGET_ROWS,
        kinds=("classification",),
    )


INDICATORS = (
    _indicator("logme", "LogME", "log evidence of a linear model from features to classes, a row", log_me),
    _indicator("h_score", "H-score", "tr(cov(f)^-1 cov(E[f | y])), covariance shrunk", h_score),
)
