"""One prompt's score on a task beside those of its controls, on the same rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.evaluation.answers import Answers, interval, resampled_scores
from prompt_hub.evaluation.evaluate import Evaluation, evaluate_rows
from prompt_hub.evaluation.stored import fair_rows
from prompt_hub.progress import track
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.metrics import majority_score
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task


@dataclass(frozen=True)
class Tried:
    """A prompt to be scored, ``[P, H]`` or None, by the encoder of its backbone.

    other_source: whether it was made as the judged prompt was, from something else than its source.
    """

    encoder: Encoder
    prompt: Tensor | None
    other_source: bool = False


@dataclass(frozen=True)
class Line:
    """One control, in the task's primary metric.

    same_map: whether it was made as the judged prompt was, from another source. gain: score of the judged
    prompt minus this one; its interval is over the same bootstrap samples for both.
    """

    name: str
    same_map: bool
    score: float
    ci95: tuple[float, float]
    gain: float
    gain_ci95: tuple[float, float]

    @property
    def does_as_well(self) -> bool:
        """Whether the judged prompt is not surely better."""
        return self.gain_ci95[0] <= 0


@dataclass(frozen=True)
class ScoreBesideControls(ABC):
    """evaluation: of the judged prompt. controls: in the table's order. majority: None if undefined.

    removed: rows left out because one of the prompts was trained on them; all are scored on the same rows.
    """

    evaluation: Evaluation
    controls: list[Line]
    majority: float | None
    removed: int
    warnings: list[str]

    @property
    def rivals(self) -> list[Line]:
        """Prompts made in the same way from other sources that do as well: the source does not matter."""
        return [line for line in self.controls if line.same_map and line.does_as_well]

    @property
    @abstractmethod
    def judged(self) -> str:
        """What the judged prompt is called in a table."""

    @abstractmethod
    def verdict(self) -> str:
        """What the controls say, in a sentence or two."""

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.evaluation.to_dict(),
            "controls": [{**vars(line), "does_as_well": line.does_as_well} for line in self.controls],
            "majority": self.majority,
            "removed_overlap": self.removed,
            "source_matters": not self.rivals,
            "verdict": self.verdict(),
            "warnings": [*self.warnings, *self.evaluation.warnings],
        }


def fair_to_all(prompts: Sequence[SoftPrompt], task: Task, split: Split) -> np.ndarray:
    """``[n]`` indices, rising, of the rows that every prompt may be scored on (``fair_rows``)."""
    rows = np.arange(len(split.examples))
    hashes = row_hashes(split.examples)
    for prompt in prompts:
        rows = np.intersect1d(rows, fair_rows(prompt, task, hashes).rows)
    return rows


def score_beside(
    judged: str,
    tried: Mapping[str, Tried],
    task: Task,
    split: Split,
    rows: np.ndarray,
    *,
    batch_size: int = 32,
    seed: int = 42,
) -> tuple[Evaluation, list[Line], float | None]:
    """The evaluation of the prompt named ``judged``, a line for each of the others, and the majority's score.

    rows: ``[n]`` indices into ``split``, rising; all are scored on them.
    """
    results: dict[str, tuple[Evaluation, Answers]] = {}
    for name, one in track(list(tried.items()), "controls", len(tried)):
        encoder = _encoder_for(one.encoder, one.prompt)
        results[name] = evaluate_rows(encoder, one.prompt, split, rows, batch_size=batch_size, seed=seed)
    samples = resampled_scores(task, [answers for _, answers in results.values()], seed=seed)
    sampled = dict(zip(results, samples, strict=True))
    evaluation = results[judged][0]
    lines = [
        Line(
            name=name,
            same_map=tried[name].other_source,
            score=result.score,
            ci95=interval(sampled[name]),
            gain=evaluation.score - result.score,
            gain_ci95=interval(sampled[judged] - sampled[name]),
        )
        for name, (result, _) in results.items()
        if name != judged
    ]
    every = split.references()
    references = [every[row] for row in rows]
    majority = majority_score(task, references, references)
    return evaluation, lines, None if majority is None else majority[evaluation.primary_metric]


def _encoder_for(encoder: Encoder, prompt: Tensor | None) -> Encoder:
    """The prompt's length decides how much text fits; a prompt of the same length shares the encoder."""
    if prompt is None or len(prompt) == encoder.prompt_len:
        return encoder
    return Encoder(encoder.backbone, encoder.task, len(prompt), encoder.layout)
