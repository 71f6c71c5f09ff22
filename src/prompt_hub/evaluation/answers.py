"""What a prompt scored on each row: kept with a result, so that results can be compared row by row.

Two prompts that were scored on the same rows differ by less than their intervals suggest: what is hard for
one is mostly hard for the other. Their difference is therefore taken within each bootstrap sample of rows.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prompt_hub.tasks.metrics import (
    compute_metrics,
    metric_under_counts,
    per_example_scores,
    primary_metric,
    resample_counts,
)
from prompt_hub.tasks.task import Task


@dataclass(frozen=True)
class Answers:
    """Results on ``rows`` (``[n]`` indices, rising) of the ``total`` rows of a split, in the primary metric.

    scores: ``[n]`` values whose mean is the metric (for accuracy: right or wrong). For a metric that is no
    mean over rows they are None, and ``predictions`` and ``references``, ``[n]``, are there instead.
    """

    total: int
    rows: np.ndarray
    scores: np.ndarray | None = None
    predictions: np.ndarray | None = None
    references: np.ndarray | None = None

    @classmethod
    def of(
        cls, task: Task, total: int, rows: np.ndarray, values: Sequence[Any], references: Sequence[Any]
    ) -> Answers:
        """From predicted ``values`` and ``references`` of ``rows``."""
        scores = per_example_scores(task, values, references, primary_metric(task))
        if scores is not None:
            return cls(total, rows, scores)
        return cls(total, rows, None, np.asarray(values, np.float64), np.asarray(references, np.float64))

    def __len__(self) -> int:
        return len(self.rows)

    def on(self, rows: np.ndarray) -> Answers:
        """Only those of ``rows``."""
        if np.array_equal(rows, self.rows):
            return self
        wanted = np.isin(self.rows, rows)
        names = ("rows", "scores", "predictions", "references")
        parts = {name: values[wanted] for name in names if (values := getattr(self, name)) is not None}
        return replace(self, **parts)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Answers of one prompt to several selections of rows as one; of a row that is in two, the first."""
        rows, first = np.unique(np.concatenate([part.rows for part in parts]), return_index=True)

        def column(name: str) -> np.ndarray | None:
            columns = [getattr(part, name) for part in parts]
            return None if columns[0] is None else np.concatenate(columns)[first]

        return cls(parts[0].total, rows, column("scores"), column("predictions"), column("references"))

    def by_row(self) -> np.ndarray:
        """``[n]`` in 0..1: the scores, or right and wrong where the metric is no mean over rows."""
        if self.scores is not None:
            return self.scores
        assert self.predictions is not None and self.references is not None
        return np.equal(self.predictions, self.references).astype(np.float64)

    def score(self, task: Task) -> float:
        if self.scores is not None:
            return float(self.scores.mean())
        assert self.predictions is not None and self.references is not None
        found = compute_metrics(task, self.predictions.tolist(), self.references.tolist())
        return found[primary_metric(task)]

    def to_dict(self) -> dict[str, Any]:
        """JSON in which right and wrong take one bit a row, everything else four bytes."""
        every = len(self.rows) == self.total
        kept = np.zeros(self.total, bool)
        kept[self.rows] = True
        named = {"scores": self.scores, "predictions": self.predictions, "references": self.references}
        return {
            "total": self.total,
            "rows": None if every else _pack(kept),
            **{name: _pack(values) for name, values in named.items() if values is not None},
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Answers:
        """Raises ``ValueError`` where the numbers of rows do not fit together."""
        names = ("scores", "predictions", "references")
        columns = {name: _unpack(stored[name]) for name in names if name in stored}
        total, kept = stored["total"], stored["rows"]
        # Not counted out from the total: a number is quickly written.
        answered = len(next(iter(columns.values()), ()))
        marks = np.ones(answered) if kept is None else _unpack(kept)
        if len(marks) != total:
            raise ValueError(f"answers to {len(marks)} rows are said to be of {total}")
        rows = np.flatnonzero(marks)
        if any(len(values) != len(rows) for values in columns.values()):
            raise ValueError(f"not every answer to {len(rows)} rows is there")
        return cls(total, rows, **columns)


def resampled_scores(
    task: Task, answers: Sequence[Answers], n_resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """``[A, R]``: scores of A answers, all on the same rows, in the same R bootstrap samples.

    The samples are of the whole split: answers on other rows of it, in another call, are paired with these.
    """
    blocks = resample_counts(answers[0].total, n_resamples, seed)
    return np.concatenate([scores_under(task, answers, counts) for counts in blocks], axis=1)


def scores_under(task: Task, answers: Sequence[Answers], counts: np.ndarray) -> np.ndarray:
    """``[A, R]``: scores of A answers, all on the same rows, where row i counts ``counts[r, i]`` times.

    counts: ``[R, total]`` over the whole split. NaN where no row counts.
    """
    first, metric = answers[0], primary_metric(task)
    drawn = counts if len(first) == first.total else counts[:, first.rows]
    if first.scores is not None:
        scores = np.stack([each.scores for each in answers if each.scores is not None])
        return metric_under_counts(task, metric, drawn, scores=scores)
    return np.stack(
        [
            metric_under_counts(task, metric, drawn, predictions=each.predictions, references=each.references)
            for each in answers
        ]
    )


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """(low, high): percentile interval of bootstrap values; NaN where there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = _ends(known[None], level)[0].tolist()
    return low, high


def intervals(values: np.ndarray, level: float = 0.95) -> list[tuple[float, float]]:
    """``interval`` of every row of ``values [A, R]``."""
    if values.size and np.isfinite(values).all():
        return [(low, high) for low, high in _ends(values, level).tolist()]
    return [interval(row, level) for row in values]


def _ends(values: np.ndarray, level: float) -> np.ndarray:
    """``[A, 2]``: quantiles of finite ``values [A, R]``."""
    # np.quantile's linear interpolation, to a digit of 1e-15; for so few values it takes five times as long,
    # and finding four places by np.partition longer than putting all in order.
    last = values.shape[1] - 1
    places = [last * share for share in ((1 - level) / 2, (1 + level) / 2)]
    below = [int(place) for place in places]
    above = [min(place + 1, last) for place in below]
    ordered = np.sort(values, axis=1)
    return ordered[:, below] + (ordered[:, above] - ordered[:, below]) * (np.array(places) - below)


def _pack(values: np.ndarray) -> dict[str, Any]:
    if np.isin(values, (0, 1)).all():
        kind, data = "bits", np.packbits(values.astype(bool)).tobytes()
    else:
        kind, data = "float32", values.astype("<f4").tobytes()
    return {"as": kind, "n": len(values), "base64": base64.b64encode(data).decode("ascii")}


def _unpack(stored: dict[str, Any]) -> np.ndarray:
    data, n = base64.b64decode(stored["base64"]), stored["n"]
    is_bits = stored["as"] == "bits"
    if len(data) != (-(-n // 8) if is_bits else 4 * n):
        raise ValueError(f"{len(data)} bytes are said to hold {n} numbers")
    if is_bits:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(np.float64)
    return np.frombuffer(data, "<f4").astype(np.float64)
