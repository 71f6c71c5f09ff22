"""The score of one prompt on one task: metrics with n and intervals, and the floors beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.evaluation.answers import Answers
from prompt_hub.evaluation.pairs import FLOORS
from prompt_hub.evaluation.predict import predict
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.tasks.metrics import (
    METRIC_VERSION,
    bootstrap_interval,
    compute_metrics,
    majority_score,
    primary_metric,
)
from prompt_hub.tasks.splits import Split


@dataclass
class Evaluation:
    """What one evaluation found.

    metrics: the task's metrics and ``combined_score``. ci95: 95% bootstrap interval over the n examples,
    by metric. floors: the metrics of the majority class (of the evaluated labels: no constant answer does
    better), of the backbone without a prompt, and of one random prompt whose rows have the norms of this
    one. predicted: how often each class was answered. truncated: texts cut to fit. removed_overlap: rows
    left out because the prompt was trained on them.
    """

    task: str
    backbone: str
    layout: str
    n: int
    primary_metric: str
    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    floors: dict[str, dict[str, float]] = field(default_factory=dict)
    predicted: dict[str, int] = field(default_factory=dict)
    truncated: int = 0
    removed_overlap: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    metric_version: int = METRIC_VERSION
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        return self.metrics[self.primary_metric]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    encoder: Encoder,
    prompt: Tensor | None,
    split: Split,
    *,
    batch_size: int = 32,
    floors: Sequence[str] = FLOORS,
    seed: int = 0,
    removed_overlap: int = 0,
) -> Evaluation:
    """Score ``prompt`` (``[P, H]`` or None) on a labelled split.

    floors: which to compute beside it. seed: of the random prompt and the bootstrap. Raises ``UserError``
    for a split without rows or an unknown floor.
    """
    for name in floors:
        if name not in FLOORS:
            raise unknown_name("floor", name, FLOORS)
    task = encoder.task
    if not len(split):
        raise _nothing_left(task.name, removed_overlap)
    started = time.perf_counter()
    encoded = encode_split(encoder, split)
    found = predict(encoder, prompt, encoded, batch_size, f"evaluate {task.name}")
    result = scored(encoder, split, found.values, split.references(), encoded.truncated, seed)
    result.warnings += found.warnings
    result.removed_overlap = removed_overlap
    result.floors = _floors(encoder, prompt, split, floors, batch_size, seed)
    floor = result.floors.get("no_prompt")
    if prompt is not None and floor is not None and result.score < floor[result.primary_metric]:
        result.warnings.append(
            f"Below the backbone without a prompt: {result.primary_metric} {result.score:.3f} against "
            f"{floor[result.primary_metric]:.3f}."
        )
    result.seconds = round(time.perf_counter() - started, 3)
    return result


def evaluate_rows(
    encoder: Encoder,
    prompt: Tensor | None,
    split: Split,
    rows: np.ndarray,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> tuple[Evaluation, Answers]:
    """Score ``prompt`` on some rows of a split (``[n]`` indices, rising), without floors.

    The split is tokenised once, however many prompts and selections of rows follow.
    """
    if not len(rows):
        raise _nothing_left(encoder.task.name, len(split))
    started = time.perf_counter()
    encoded = encode_split(encoder, split).only(rows)
    every = split.references()
    references = [every[row] for row in rows]
    found = predict(encoder, prompt, encoded, batch_size, f"evaluate {encoder.task.name}")
    result = scored(encoder, split, found.values, references, encoded.truncated, seed)
    result.warnings += found.warnings
    result.seconds = round(time.perf_counter() - started, 3)
    return result, Answers.of(encoder.task, len(split), rows, found.values, references)


def _nothing_left(task: str, removed: int) -> UserError:
    why = f" after {removed} shared with the training data were removed" if removed else ""
    return UserError(f"Task {task!r}: no rows are left to evaluate{why}.")


def scored(
    encoder: Encoder,
    split: Split,
    values: Sequence[Any],
    references: Sequence[Any],
    truncated: int = 0,
    seed: int = 0,
) -> Evaluation:
    """Metrics, intervals and warnings of the ``values`` predicted for all or some rows of a split."""
    task = encoder.task
    result = Evaluation(
        task=task.name,
        backbone=encoder.backbone.name,
        layout=encoder.layout.name,
        n=len(references),
        primary_metric=primary_metric(task),
        metrics=compute_metrics(task, values, references),
        ci95={
            name: list(bootstrap_interval(task, values, references, name, seed=seed)) for name in task.metrics
        },
        truncated=truncated,
        data={"split": split.name, "fingerprint": split.fingerprint, "source": split.source},
    )
    if task.kind == "classification":
        counts = np.bincount(np.asarray(values, dtype=int), minlength=len(task.classes))
        result.predicted = {name: int(count) for name, count in zip(task.classes, counts, strict=True)}
    if truncated:
        result.warnings.append(f"{truncated} of {result.n} texts were cut to fit.")
    answered = [name for name, count in result.predicted.items() if count]
    if len(answered) == 1 and result.n > 1:
        result.warnings.append(f"Every answer is {answered[0]!r}.")
    return result


def _floors(
    encoder: Encoder, prompt: Tensor | None, split: Split, names: Sequence[str], batch_size: int, seed: int
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    encoded, references = encode_split(encoder, split), split.references()
    if "majority" in names:
        majority = majority_score(encoder.task, references, references)
        if majority is not None:
            found["majority"] = majority
    others: dict[str, Tensor | None] = {}
    if "no_prompt" in names and prompt is not None:
        others["no_prompt"] = None
    if "random_prompt" in names and prompt is not None:
        generator = torch.Generator().manual_seed(seed)
        others["random_prompt"] = random_like(prompt.detach().cpu(), generator)
    for name, other in others.items():
        description = f"floor {name.replace('_', ' ')}"
        values = predict(encoder, other, encoded, batch_size, description).values
        found[name] = compute_metrics(encoder.task, values, references)
    return found
