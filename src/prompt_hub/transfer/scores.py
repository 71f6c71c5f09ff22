"""Candidates by what they score on a small labelled sample of the target, without training.

All are scored on the same rows, so that their differences are taken row by row. Shape letters: ``A``
candidates, ``R`` bootstrap samples, ``n`` rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.answers import Answers, interval, resampled_scores, scores_under
from prompt_hub.evaluation.evaluate import Evaluation, evaluate_rows
from prompt_hub.indicators.base import LEAST_ROWS
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.tasks.metrics import majority_score, primary_metric, resample_counts
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task
from prompt_hub.transfer.candidates import Candidate, Candidates

Loader = Callable[[int | None], Split]
"""Rows of the target, at most so many; a larger limit holds all rows of a smaller one."""

NEARLY_ALL = 0.95
"""A candidate that has seen this share of the target's rows leaves none to score it on."""

RESAMPLES = 1000


@dataclass(frozen=True)
class Sample:
    """rows: labelled ones that no candidate has seen. removed: how many were left out for that."""

    rows: Split
    removed: int


@dataclass(frozen=True)
class Standing:
    """What one candidate scored. first: share of the bootstrap samples in which it is the best.

    gain_ci95: of its score less that of the backbone without a prompt, row by row.
    """

    candidate: Candidate
    evaluation: Evaluation
    answers: Answers
    first: float
    gain: float
    gain_ci95: tuple[float, float]

    @property
    def score(self) -> float:
        return self.evaluation.score


@dataclass(frozen=True)
class Standings:
    """Best first. floors: scores on the same rows. expected: see ``expected_score``."""

    standings: list[Standing]
    metric: str
    floors: dict[str, float]
    expected: float
    sample: Sample


def draw_sample(
    load: Loader, size: int, candidates: Candidates, seed: int, avoid: np.ndarray | None = None
) -> Sample:
    """At most ``size`` rows that no candidate was trained on.

    Candidates that were trained on nearly all of the target's rows are left out. Of the others, rows that any
    of them has seen are: all are then scored on the same rows. Reads more rows until there are enough. avoid:
    hashes of rows that are left out besides.
    """
    limit, avoided = size, np.zeros(0, np.int64) if avoid is None else avoid
    while True:
        rows = load(limit)
        hashes = row_hashes(rows.examples)
        seen = {each.name: each.prompt.has_seen(hashes) for each in candidates.found}
        trained = {name: float(each.mean()) for name, each in seen.items() if each.mean() >= NEARLY_ALL}
        others = [each for name, each in seen.items() if name not in trained]
        known = np.any([np.isin(hashes, avoided), *others], axis=0)
        if (~known).sum() >= size or len(rows) < limit or not len(rows):
            break
        limit *= 4
    candidates.leave_out(
        {name: f"it was trained on {share:.0%} of the target's rows" for name, share in trained.items()}
    )
    free = np.flatnonzero(~known).tolist()
    chosen = sorted(random.Random(seed).sample(free, min(size, len(free))))
    if len(chosen) < LEAST_ROWS:
        raise UserError(
            f"Only {len(chosen)} rows of {rows.source} are left after {int(known.sum())} that a candidate "
            f"was trained or scored on; at least {LEAST_ROWS} are needed. Rank by an indicator, or leave "
            "such prompts out."
        )
    candidates.warnings += [
        f"{each.name} does not say which rows it was trained on; overlap was not checked."
        for each in candidates.found
        if each.prompt.train_rows is None
    ]
    kept = Split.of(rows.name, [rows.examples[index] for index in chosen], rows.source)
    return Sample(kept, int(known.sum()))


def score_candidates(
    backbone: Backbone,
    task: Task,
    candidates: Candidates,
    sample: Sample,
    layout: str,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Standings:
    """Every candidate on the sample, the floors beside them, and how sure the order is."""
    encoders = _encoders(backbone, task, candidates, layout)
    rows, metric = sample.rows, primary_metric(task)
    found: list[tuple[Candidate, Evaluation, Answers]] = []
    every = np.arange(len(rows))
    how = {"batch_size": batch_size, "seed": seed}
    for candidate in candidates.found:
        prompt = candidate.prompt.embeddings
        found.append((candidate, *evaluate_rows(encoders[candidate.name], prompt, rows, every, **how)))
    found.sort(key=lambda each: (-each[1].score, each[0].name))
    best = found[0][0]
    plain, plain_answers = evaluate_rows(encoders[best.name], None, rows, every, **how)
    noise = random_like(best.prompt.embeddings, torch.Generator().manual_seed(seed))
    random_prompt, _ = evaluate_rows(encoders[best.name], noise, rows, every, **how)
    floors = {"no_prompt": plain.score, "random_prompt": random_prompt.score}
    majority = majority_score(task, rows.references(), rows.references())
    if majority is not None:
        floors = {"majority": majority[metric], **floors}
    answers = [each for *_, each in found]
    resampled = resampled_scores(task, [*answers, plain_answers], RESAMPLES, seed)
    share = _best(resampled[:-1]).mean(1)
    standings = [
        Standing(
            *each,
            first=float(first),
            gain=each[1].score - plain.score,
            gain_ci95=interval(values - resampled[-1]),
        )
        for each, first, values in zip(found, share, resampled, strict=False)
    ]
    return Standings(standings, metric, floors, expected_score(task, answers, seed), sample)


def expected_score(task: Task, answers: Sequence[Answers], seed: int = 0) -> float:
    """What picking the best of a sample gives on other rows.

    The best score of several is too good: part of it is luck with these rows. So the best is picked on each
    bootstrap sample and scored on the rows which that sample leaves out (Efron and Tibshirani 1997,
    "Improvements on cross-validation: the .632+ bootstrap method"). Slightly too low, since a bootstrap
    sample holds fewer different rows.
    """
    total, weight = 0.0, 0
    for counts in resample_counts(len(answers[0]), RESAMPLES, seed):
        picked = _best(scores_under(task, answers, counts))
        others = scores_under(task, answers, (counts == 0).astype(float))
        values = (picked * others).sum(0)
        known = np.isfinite(values)
        total, weight = total + float(values[known].sum()), weight + int(known.sum())
    return total / weight if weight else float("nan")


def _encoders(backbone: Backbone, task: Task, candidates: Candidates, layout: str) -> dict[str, Encoder]:
    """One a candidate, before anything is scored; a prompt that leaves no room for text is left out."""
    encoders, problems = {}, {}
    for each in candidates.found:
        try:
            encoders[each.name] = Encoder(backbone, task, each.prompt.prompt_len, layout)
        except UserError as error:
            problems[each.name] = str(error).rstrip(".")
    candidates.leave_out(problems)
    candidates.warnings += dict.fromkeys(text for each in encoders.values() for text in each.warnings)
    return encoders


def _best(values: np.ndarray) -> np.ndarray:
    """``[A, R]``: 1 for the best of each sample, shared evenly where several are."""
    best = values == values.max(0)
    return best / np.maximum(best.sum(0), 1)
