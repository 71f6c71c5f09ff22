"""Metrics of a task, their per-example parts, their bootstrap intervals and the majority floor.

Predictions and references are aligned sequences of length n. Classification: class indices. Regression:
floats. Generation: texts; a reference may be a sequence of accepted texts, of which the best counts. For
``bleu_paper`` a text may be a list of tokens instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.tasks import text_scores
from prompt_hub.tasks.correlations import weighted_pearson, weighted_spearman
from prompt_hub.tasks.task import Task

METRIC_VERSION = 1
"""Raised whenever a metric's value can change for equal input; part of every result's cache key."""

Metric = Callable[[Task, Sequence[Any], Sequence[Any]], float]
ExampleScores = Callable[[Sequence[Any], Sequence[Any]], np.ndarray]

_BLOCK_ELEMENTS = 1_000_000
"""Elements of one bootstrap block: 8 MB an array, whatever n is."""


# -- metrics that are means over examples ------------------------------------------------------------


def _accuracy_scores(predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
    return (np.asarray(predictions) == np.asarray(references)).astype(np.float64)


def _text_scores(score: text_scores.TextScore, name: str) -> ExampleScores:
    def scores(predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
        return np.array(
            [
                max(score(_text(prediction, name), _text(each, name)) for each in _accepted(reference))
                for prediction, reference in zip(predictions, references, strict=True)
            ]
        )

    return scores


def _bleu_scores(predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
    def tokens(text: Any) -> list[Any]:
        return text.split() if isinstance(text, str) else list(text)

    def best(prediction: Any, reference: Any) -> float:
        # A list beside a predicted list of tokens is one reference; beside a text it is several.
        is_tokens = not isinstance(prediction, str) and not _holds_sequences(reference)
        accepted = [reference] if is_tokens else _accepted(reference)
        return max(text_scores.bleu_paper(tokens(prediction), tokens(each)) for each in accepted)

    return np.array([best(*pair) for pair in zip(predictions, references, strict=True)])


def _holds_sequences(reference: Any) -> bool:
    return not isinstance(reference, str) and len(reference) > 0 and isinstance(reference[0], (list, tuple))


def _accepted(reference: Any) -> Sequence[Any]:
    if isinstance(reference, str):
        return [reference]
    if not len(reference):
        raise UserError("A reference is an empty list: every example needs at least one accepted text.")
    return reference


def _text(value: Any, metric: str) -> str:
    if not isinstance(value, str):
        raise UserError(
            f"Metric {metric} compares texts, got {type(value).__name__}. Decode the tokens first."
        )
    return value


_EXAMPLE_SCORES: dict[str, ExampleScores] = {
    "accuracy": _accuracy_scores,
    "exact_match": _text_scores(text_scores.exact_match, "exact_match"),
    "token_f1": _text_scores(text_scores.token_f1, "token_f1"),
    "rouge1": _text_scores(text_scores.rouge("rouge1"), "rouge1"),
    "rouge2": _text_scores(text_scores.rouge("rouge2"), "rouge2"),
    "rougeL": _text_scores(text_scores.rouge("rougeL"), "rougeL"),
    "bleu_paper": _bleu_scores,
}


def _mean_of(scores: ExampleScores) -> Metric:
    def metric(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> float:
        return float(scores(predictions, references).mean())

    return metric


# -- metrics of the confusion matrix -----------------------------------------------------------------


def _confusion(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
    """``[C, C]`` counts, references in rows, predictions in columns."""
    size = len(task.classes)
    cells = np.asarray(references, np.int64) * size + np.asarray(predictions, np.int64)
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def _f1_of(confusion: np.ndarray) -> np.ndarray:
    """``[..., C, C]`` to ``[...]``: F1 of class 1 when there are two classes, else the mean over classes.

    A class that is neither predicted nor present scores 0, as in scikit-learn.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    total = confusion.sum(-1) + confusion.sum(-2)
    by_class = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return by_class[..., 1] if confusion.shape[-1] == 2 else by_class.mean(-1)


def _matthews_of(confusion: np.ndarray) -> np.ndarray:
    """``[..., C, C]`` to ``[...]``: Matthews correlation (Gorodkin 2004), 0 when one side is constant."""
    counts = confusion.astype(np.float64)
    truth, predicted, n = counts.sum(-1), counts.sum(-2), counts.sum((-1, -2))
    hits = np.diagonal(counts, axis1=-2, axis2=-1).sum(-1)
    top = hits * n - (truth * predicted).sum(-1)
    below = np.sqrt((n**2 - (truth**2).sum(-1)) * (n**2 - (predicted**2).sum(-1)))
    return np.divide(top, below, out=np.zeros_like(top), where=below > 0)


_CONFUSION_METRICS = {"f1": _f1_of, "matthews": _matthews_of}


def _confusion_metric(formula: Callable[[np.ndarray], np.ndarray]) -> Metric:
    def metric(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> float:
        return float(formula(_confusion(task, predictions, references)))

    return metric


# -- correlations ------------------------------------------------------------------------------------


def _correlation(name: str) -> Metric:
    def metric(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> float:
        from scipy import stats

        x, y = np.asarray(predictions, np.float64), np.asarray(references, np.float64)
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            return 0.0
        function = stats.pearsonr if name == "pearson" else stats.spearmanr
        return float(function(x, y).statistic)

    return metric


METRICS: dict[str, Metric] = {
    **{name: _mean_of(scores) for name, scores in _EXAMPLE_SCORES.items()},
    **{name: _confusion_metric(formula) for name, formula in _CONFUSION_METRICS.items()},
    "pearson": _correlation("pearson"),
    "spearman": _correlation("spearman"),
}


# -- what the other rooms call -----------------------------------------------------------------------


def primary_metric(task: Task) -> str:
    """The metric a task is ranked by: its first."""
    return task.metrics[0]


def compute_metrics(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """The task's metrics in 0..1 (correlations -1..1), and ``combined_score``, their mean."""
    _check_pair(task, predictions, references)
    scores = {name: METRICS[name](task, predictions, references) for name in task.metrics}
    return {**scores, "combined_score": float(np.mean(list(scores.values())))}


def is_mean_over_examples(metric: str) -> bool:
    """Whether ``per_example_scores`` has values for it: not so for F1 and correlations."""
    _check_metric(metric)
    return metric in _EXAMPLE_SCORES


def per_example_scores(
    task: Task, predictions: Sequence[Any], references: Sequence[Any], metric: str
) -> np.ndarray | None:
    """``[n]`` float64 whose mean is the metric, or None for a metric that is no mean over examples."""
    _check_metric(metric)
    _check_pair(task, predictions, references)
    scores = _EXAMPLE_SCORES.get(metric)
    return None if scores is None else scores(predictions, references)


def bootstrap_interval(
    task: Task,
    predictions: Sequence[Any],
    references: Sequence[Any],
    metric: str,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """(low, high): percentile interval of a metric over resampled examples (Efron 1979)."""
    _check_metric(metric)
    _check_pair(task, predictions, references)
    if n_resamples < 1 or not 0 < level < 1:
        raise UserError(
            f"A bootstrap needs n_resamples >= 1 and a level between 0 and 1, got {n_resamples} and {level}."
        )
    rng = np.random.default_rng(seed)
    n = len(references)
    if metric in _CONFUSION_METRICS:
        # Resampling examples changes the confusion matrix as one multinomial draw over its cells.
        confusion = _confusion(task, predictions, references)
        draws = rng.multinomial(n, confusion.ravel() / n, n_resamples)
        values = _CONFUSION_METRICS[metric](draws.reshape(-1, *confusion.shape))
    elif metric in _EXAMPLE_SCORES:
        scores = _EXAMPLE_SCORES[metric](predictions, references)
        values = np.concatenate([counts @ scores / n for counts in _resampled(rng, n, n_resamples)])
    else:
        x, y = np.asarray(predictions, np.float64), np.asarray(references, np.float64)
        correlation = weighted_pearson if metric == "pearson" else weighted_spearman
        values = np.concatenate([correlation(x, y, counts) for counts in _resampled(rng, n, n_resamples)])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def majority_answer(task: Task, train_references: Sequence[Any]) -> float | None:
    """The best constant answer: the commonest training class, or the mean training score.

    None for generation, which has no such floor. Of equally common classes the first in class order.
    """
    if task.kind == "generation":
        return None
    if not len(train_references):
        raise UserError(f"The majority floor of task {task.name!r} needs at least one training label.")
    if task.kind == "regression":
        return float(np.mean(np.asarray(train_references, np.float64)))
    counts = Counter(int(label) for label in train_references)
    return min(counts, key=lambda label: (-counts[label], label))


def majority_score(
    task: Task, train_references: Sequence[Any], references: Sequence[Any]
) -> dict[str, float] | None:
    """``compute_metrics`` of the ``majority_answer``; None for generation."""
    constant = majority_answer(task, train_references)
    return None if constant is None else compute_metrics(task, [constant] * len(references), references)


def resample_counts(n: int, n_resamples: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each of n examples is drawn in each bootstrap sample: blocks ``[R, n]`` of whole numbers.

    The same arguments give the same draws, so that scores of several systems under them are paired.
    """
    return _resampled(np.random.default_rng(seed), n, n_resamples)


def metric_under_counts(
    task: Task,
    metric: str,
    counts: np.ndarray,
    *,
    scores: np.ndarray | None = None,
    predictions: np.ndarray | None = None,
    references: np.ndarray | None = None,
) -> np.ndarray:
    """``[R]``: the metric in each of R samples that hold example i ``counts[r, i]`` times.

    scores: ``per_example_scores``, for a metric that is their mean; ``[A, n]`` of several systems give
    ``[A, R]``. predictions and references, ``[n]``: for any other. A sample that holds nothing is NaN.
    """
    _check_metric(metric)
    drawn = counts.sum(-1)
    if scores is not None:
        values = np.asarray(scores, np.float64) @ counts.T / np.maximum(drawn, 1)
    elif metric in _CONFUSION_METRICS:
        size = len(task.classes)
        cells = np.asarray(references, np.int64) * size + np.asarray(predictions, np.int64)
        confusion = counts @ np.eye(size * size)[cells]
        values = _CONFUSION_METRICS[metric](confusion.reshape(-1, size, size))
    else:
        x, y = np.asarray(predictions, np.float64), np.asarray(references, np.float64)
        values = (weighted_pearson if metric == "pearson" else weighted_spearman)(x, y, counts)
    return np.where(drawn > 0, values, np.nan)


# -- checks and resampling ---------------------------------------------------------------------------


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)


def _check_pair(task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> None:
    if len(predictions) != len(references):
        raise UserError(
            f"Task {task.name!r}: {len(predictions)} predictions for {len(references)} references; "
            "they must be as many."
        )
    if not len(references):
        raise UserError(f"Task {task.name!r}: no examples to score.")
    if any(reference is None for reference in references):
        raise UserError(
            f"Task {task.name!r}: some references are None (unlabelled rows). Score labelled rows."
        )
    if task.kind == "classification":
        for what, values in (("prediction", predictions), ("reference", references)):
            wrong = [value for value in values if not 0 <= value < len(task.classes) or int(value) != value]
            if wrong:
                raise UserError(
                    f"Task {task.name!r}: {what} {wrong[0]!r} is no class index, "
                    f"allowed are 0 to {len(task.classes) - 1}."
                )
    elif task.kind == "regression" and not (
        np.isfinite(np.asarray(predictions, np.float64)).all()
        and np.isfinite(np.asarray(references, np.float64)).all()
    ):
        raise UserError(f"Task {task.name!r}: predictions and references must be finite numbers.")


def _resampled(rng: np.random.Generator, n: int, n_resamples: int) -> Iterator[np.ndarray]:
    """Blocks ``[R, n]`` of how often each example was drawn, R rows at a time."""
    rows = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, n_resamples, rows):
        size = min(rows, n_resamples - start)
        drawn = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
