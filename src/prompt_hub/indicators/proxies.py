"""Indicators that measure in small what they predict: source prompts on a few labelled target rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prompt_hub.indicators.base import Indicator, Needs
from prompt_hub.indicators.on_rows import for_pairs

if TYPE_CHECKING:
    from torch import Tensor

    from prompt_hub.encoding.encoder import Encoder
    from prompt_hub.tasks import Split


def score(encoder: Encoder, prompt: Tensor, rows: Split, batch_size: int) -> float:
    """The task's primary metric. ``rank --by score`` adds intervals and what a pick is expected to give."""
    from prompt_hub.encoding.encoder import encode_split
    from prompt_hub.evaluation.predict import predict
    from prompt_hub.tasks.metrics import compute_metrics, primary_metric

    values = predict(encoder, prompt, encode_split(encoder, rows), batch_size).values
    return compute_metrics(encoder.task, values, rows.references())[primary_metric(encoder.task)]


def loss(encoder: Encoder, prompt: Tensor, rows: Split, batch_size: int) -> float:
    """Mean of -log p(right class), p over the label words. Unlike the score it tells near misses apart."""
    from prompt_hub.encoding.encoder import encode_split
    from prompt_hub.evaluation.predict import label_scores

    scores = label_scores(encoder, prompt, encode_split(encoder, rows), batch_size).astype(np.float64)
    largest = scores.max(1)
    total = largest + np.log(np.exp(scores - largest[:, None]).sum(1))
    right = scores[np.arange(len(scores)), np.array(rows.labels(), dtype=int)]
    return float((total - right).mean())


INDICATORS = (
    Indicator(
        "score",
        "Score on a sample",
        "the target's metric on labelled rows, without training",
        for_pairs(score),
        Needs.BACKBONE | Needs.TARGET_ROWS,
    ),
    Indicator(
        "loss",
        "Loss on a sample",
        "mean of -log p(right class) on labelled rows, without training",
        for_pairs(loss),
        Needs.BACKBONE | Needs.TARGET_ROWS,
        higher_is_similar=False,
        kinds=("classification",),
    ),
)
