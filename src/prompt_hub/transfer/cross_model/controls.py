"""A projected prompt on a task, beside the controls that tell transfer from an accident.

A high score alone says little: another prompt's image, or that of noise, may do as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.answers import Answers, interval, resampled_scores
from prompt_hub.evaluation.evaluate import Evaluation, evaluate_rows
from prompt_hub.evaluation.stored import fair_rows, fitting_encoder
from prompt_hub.progress import track
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.metrics import majority_score
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task
from prompt_hub.transfer.cross_model.base import CrossModelMap

PROJECTED = "projected"
START = "untrained start, projected"


@dataclass(frozen=True)
class Line:
    """One prompt on the target, in the task's primary metric.

    same_map: whether it is the image of another source under the same map. gain: score of the projected
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
        """Whether the projected prompt is not surely better."""
        return self.gain_ci95[0] <= 0


@dataclass(frozen=True)
class ProjectedScore:
    """evaluation: of the projected prompt. controls: in the table's order. majority: None if undefined.

    removed: rows left out because one of the prompts was trained on them; all are scored on the same rows.
    """

    evaluation: Evaluation
    controls: list[Line]
    majority: float | None
    removed: int
    warnings: list[str]

    @property
    def rivals(self) -> list[Line]:
        """Images of other sources that do as well: where there is one, the source does not matter."""
        return [line for line in self.controls if line.same_map and line.does_as_well]

    def verdict(self) -> str:
        if self.rivals:
            best = max(self.rivals, key=lambda line: line.score)
            low, high = best.gain_ci95
            return (
                f"On this task the map ignores its input, as far as these rows show: {best.name} does as "
                f"well (difference {best.gain:+.3f}, 95% interval {low:+.3f} to {high:+.3f})."
            )
        matters = (
            "The source matters: its image is above that of every other source by more than the interval."
        )
        if any(line.name == START and line.does_as_well for line in self.controls):
            return f"{matters} But its untrained start does as well: training added nothing that counts here."
        return matters

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


def evaluate_projected(
    found: CrossModelMap,
    prompt: SoftPrompt,
    backbone: Backbone,
    task: Task,
    split: Split,
    *,
    others: Mapping[str, SoftPrompt] | None = None,
    own: SoftPrompt | None = None,
    batch_size: int = 32,
    seed: int = 42,
) -> ProjectedScore:
    """Score the image of ``prompt`` on ``task``, and on the same rows its controls.

    Images under the same map: of each of ``others``, prompts of the source backbone for other tasks, of
    Gaussian rows with the norms of the prompt's (``gaussian source``), and of the prompt with its columns in
    another order (``shuffled source``). Besides: a random prompt with the norms of the image, the image of
    what the prompt's training began with (``untrained start``, where it is stored), no prompt, and ``own``, a
    prompt trained on the target backbone. Raises ``UserError`` for prompts and backbones that are
    not the map's, and for a target prompt with another layout.
    """
    found.check_target(backbone.identity)
    image = found.apply(prompt)
    images = {f"{name}, projected": found.apply(other) for name, other in (others or {}).items()}
    encoder, warnings = fitting_encoder(backbone, image, task)
    if own is not None:
        own.check_fits(backbone.identity, encoder.layout.name)
    rows = np.arange(len(split.examples))
    hashes = row_hashes(split.examples)
    for known in (image, *images.values(), *([own] if own is not None else [])):
        fair = fair_rows(known, task, hashes)
        rows = np.intersect1d(rows, fair.rows)
    generator = torch.Generator().manual_seed(seed)
    noise = random_like(prompt.embeddings, generator)
    order = torch.randperm(prompt.hidden, generator=generator)
    prompts: dict[str, tuple[Tensor | None, bool]] = {
        PROJECTED: (image.embeddings, True),
        **{name: (other.embeddings, True) for name, other in images.items()},
        "gaussian source, projected": (found.transform(noise), True),
        "shuffled source, projected": (found.transform(prompt.embeddings[:, order]), True),
        "random prompt": (random_like(image.embeddings, generator), False),
        **({START: (found.transform(prompt.initial), False)} if prompt.initial is not None else {}),
        "no prompt": (None, False),
    }
    if own is not None:
        prompts["target's own prompt"] = own.embeddings, False
    encoders = {name: _encoder_for(encoder, given) for name, (given, _) in prompts.items()}
    results: dict[str, tuple[Evaluation, Answers]] = {}
    for name, (given, _) in track(list(prompts.items()), "controls", len(prompts)):
        results[name] = evaluate_rows(encoders[name], given, split, rows, batch_size=batch_size, seed=seed)
    sampled = resampled_scores(task, [answers for _, answers in results.values()], seed=seed)
    evaluation = results[PROJECTED][0]
    controls = [
        Line(
            name=name,
            same_map=prompts[name][1],
            score=result.score,
            ci95=interval(samples),
            gain=evaluation.score - result.score,
            gain_ci95=interval(sampled[0] - samples),
        )
        for (name, (result, _)), samples in zip(results.items(), sampled, strict=True)
        if name != PROJECTED
    ]
    references = [split.references()[row] for row in rows]
    majority = majority_score(task, references, references)
    return ProjectedScore(
        evaluation,
        controls,
        None if majority is None else majority[evaluation.primary_metric],
        len(split.examples) - len(rows),
        warnings,
    )


def _encoder_for(encoder: Encoder, prompt: Tensor | None) -> Encoder:
    """The prompt's length decides how much text fits; a prompt of the same length shares the encoder."""
    if prompt is None or len(prompt) == encoder.prompt_len:
        return encoder
    return Encoder(encoder.backbone, encoder.task, len(prompt), encoder.layout)


def other_sources(places: list[str], prompt: SoftPrompt) -> dict[str, SoftPrompt]:
    """Prompts at ``places`` by name; refuses the prompt itself, which would be no control."""
    loaded = {place: SoftPrompt.from_pretrained(place) for place in places}
    for place, other in loaded.items():
        if other.hash == prompt.hash:
            raise UserError(
                f"{place} is the prompt that is projected, so it is no control. Name another one."
            )
    return loaded
