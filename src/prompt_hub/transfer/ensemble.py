"""Several prompts as one predictor, without training.

The score of class c for a text x is the mean of the prompts' label log-probabilities,

    s(c | x) = 1/K * sum over k of log p_k(c | x),

where p_k is the softmax over the label words under prompt k; the answer is the class with the largest score.
This is the logarithmic opinion pool (Genest and Zidek 1986, "Combining probability distributions"): a prompt
that is sure that a class is wrong weighs more than one that is undecided.

Shape letters: ``K`` prompts, ``n`` rows, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.evaluation.answers import Answers, interval, resampled_scores
from prompt_hub.evaluation.evaluate import FLOORS, Evaluation, scored
from prompt_hub.evaluation.predict import from_scores, label_scores
from prompt_hub.evaluation.stored import fair_rows, fitting_encoder
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.metrics import compute_metrics, majority_score
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task


@dataclass
class EnsembleResult:
    """evaluation: of the ensemble, with its floors. members: of each prompt by itself, on the same rows.

    gain: the ensemble's score less that of ``best``, the member with the best one, and its 95% interval, row
    by row. ``best`` is chosen on these rows, so that the gain is rather too small.
    """

    evaluation: Evaluation
    members: dict[str, Evaluation]
    best: str
    gain: float
    gain_ci95: list[float]

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.evaluation.to_dict(),
            "members": {name: each.to_dict() for name, each in self.members.items()},
            "best_member": self.best,
            "gain_over_best": self.gain,
            "gain_ci95": self.gain_ci95,
        }

    def table(self) -> pd.DataFrame:
        """A row each for the ensemble, its members (best first) and its floors: kind, name, metric, ..."""
        metric = self.evaluation.primary_metric
        members = sorted(self.members.items(), key=lambda item: -item[1].score)
        found = [("ensemble", "ensemble", self.evaluation), *(("member", *item) for item in members)]
        rows = [
            {
                "kind": kind,
                "name": name,
                "metric": metric,
                "n": each.n,
                "score": each.score,
                "low": each.ci95[metric][0],
                "high": each.ci95[metric][1],
            }
            for kind, name, each in found
        ]
        rows += [
            {"kind": "floor", "name": name, "metric": metric, "n": self.evaluation.n, "score": values[metric]}
            for name, values in self.evaluation.floors.items()
        ]
        return pd.DataFrame(rows)


@dataclass
class _Member:
    prompt: SoftPrompt
    encoder: Encoder
    warnings: list[str] = field(default_factory=list)


def evaluate_ensemble(
    backbone: Backbone,
    prompts: Mapping[str, SoftPrompt],
    task: Task,
    split: Split,
    *,
    layout: str | None = None,
    force: bool = False,
    batch_size: int = 32,
    floors: Sequence[str] = FLOORS,
    seed: int = 0,
) -> EnsembleResult:
    """Score two or more prompts together and one by one on a labelled split of ``task``.

    Rows that any of them was trained on are left out for all, except for prompts of ``task`` itself, where
    they stay and are reported. The floor ``random_prompt`` is an ensemble too, of random prompts with the
    norms of these. ``UserError`` for prompts that do not fit, and for tasks that generate text.
    """
    for name in floors:
        if name not in FLOORS:
            raise unknown_name("floor", name, FLOORS)
    if len({prompt.hash for prompt in prompts.values()}) < 2:
        raise UserError(
            f"An ensemble takes at least two different prompts; there is one: {', '.join(prompts)}."
        )
    if task.kind == "generation":
        raise UserError(
            f"Task {task.name!r} generates text, which has no label probabilities to average. Ensembles are "
            "for tasks with label words."
        )
    members = {
        name: _Member(prompt, *fitting_encoder(backbone, prompt, task, layout, force))
        for name, prompt in prompts.items()
    }
    rows, warnings = _unseen(members, task, split)
    removed = len(split) - len(rows)
    if not len(rows):
        raise UserError(
            f"Task {task.name!r}: no rows are left after {removed} that a prompt was trained on were removed."
        )
    singles = {
        name: _log_probabilities(each.encoder, each.prompt.embeddings, rows, batch_size, name)
        for name, each in members.items()
    }
    pooled = np.mean(list(singles.values()), axis=0)
    first = next(iter(members.values())).encoder
    result = _scored(first, rows, pooled, seed)
    result.removed_overlap, result.warnings = removed, warnings + result.warnings
    result.layout = ", ".join(sorted({each.encoder.layout.name for each in members.values()}))
    alone = {name: _scored(each.encoder, rows, singles[name], seed) for name, each in members.items()}
    result.floors = _floors(members, rows, floors, batch_size, seed)
    best = max(alone, key=lambda name: alone[name].score)
    drawn = resampled_scores(
        task, [_answers(first, rows, each) for each in (pooled, singles[best])], seed=seed
    )
    return EnsembleResult(
        result, alone, best, result.score - alone[best].score, list(interval(drawn[0] - drawn[1]))
    )


def _unseen(members: Mapping[str, _Member], task: Task, split: Split) -> tuple[Split, list[str]]:
    """The rows to score on, and warnings about them and about the prompts."""
    hashes = row_hashes(split.examples)
    kept, warnings = np.arange(len(split)), []
    for name, member in members.items():
        warnings += [f"{name}: {warning}" for warning in member.warnings]
        fair = fair_rows(member.prompt, task, hashes)
        kept = np.intersect1d(kept, fair.rows)
        if fair.shared is None:
            warnings.append(f"{name} does not say which rows it was trained on; overlap was not checked.")
        elif fair.shared and not fair.removed:
            warnings.append(f"{fair.shared} of {len(split)} texts were also in the training data of {name}.")
    if len(kept) < len(split):
        warnings.append(f"{len(split) - len(kept)} rows were left out because a prompt was trained on them.")
    return split.only(kept), warnings


def _log_probabilities(
    encoder: Encoder, prompt: Tensor | None, rows: Split, batch_size: int, label: str
) -> np.ndarray:
    """``[n, C]``: log-softmax over the label words."""
    scores = label_scores(encoder, prompt, encode_split(encoder, rows), batch_size, f"evaluate {label}")
    shifted = scores.astype(np.float64) - scores.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _scored(encoder: Encoder, rows: Split, scores: np.ndarray, seed: int) -> Evaluation:
    values = from_scores(encoder, scores).values
    return scored(encoder, rows, values, rows.references(), encode_split(encoder, rows).truncated, seed)


def _answers(encoder: Encoder, rows: Split, scores: np.ndarray) -> Answers:
    values = from_scores(encoder, scores).values
    return Answers.of(encoder.task, len(rows), np.arange(len(rows)), values, rows.references())


def _floors(
    members: Mapping[str, _Member], rows: Split, names: Sequence[str], batch_size: int, seed: int
) -> dict[str, dict[str, float]]:
    """The metrics of the majority class, of no prompt, and of an ensemble of random prompts."""
    first = next(iter(members.values())).encoder
    task, references = first.task, rows.references()
    found: dict[str, dict[str, float]] = {}
    if "majority" in names:
        majority = majority_score(task, references, references)
        if majority is not None:
            found["majority"] = majority
    pools: dict[str, list[tuple[Encoder, Tensor | None]]] = {}
    if "no_prompt" in names:
        pools["no_prompt"] = [(first, None)]
    if "random_prompt" in names:
        generator = torch.Generator().manual_seed(seed)
        pools["random_prompt"] = [
            (each.encoder, random_like(each.prompt.embeddings, generator)) for each in members.values()
        ]
    for name, pool in pools.items():
        label = f"floor {name.replace('_', ' ')}"
        scores = np.mean([_log_probabilities(*each, rows, batch_size, label) for each in pool], axis=0)
        found[name] = compute_metrics(task, from_scores(first, scores).values, references)
    return found
