"""A projected prompt on a task, beside the controls that tell transfer from an accident.

A high score alone says little: another prompt's image, or that of noise, may do as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import fitting_encoder
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task
from prompt_hub.transfer.cross_model.base import CrossModelMap
from prompt_hub.transfer.cross_model.beside import ScoreBesideControls, Tried, fair_to_all, score_beside
from prompt_hub.transfer.cross_model.lengths import resample, resized

PROJECTED = "projected"
START = "untrained start, projected"
CONSTANT_INPUT = "constant-input projector"


@dataclass(frozen=True)
class ProjectedScore(ScoreBesideControls):
    """Of the image of a prompt; lines with ``same_map`` are images of other sources under the same map.

    kind: what the map is called, ``map`` or ``projector``.
    """

    kind: str = "map"

    @property
    def judged(self) -> str:
        return PROJECTED

    def verdict(self) -> str:
        if self.rivals:
            best = max(self.rivals, key=lambda line: line.score)
            low, high = best.gain_ci95
            return (
                f"On this task the {self.kind} ignores its input, as far as these rows show: {best.name} "
                f"does as well (difference {best.gain:+.3f}, 95% interval {low:+.3f} to {high:+.3f})."
            )
        matters = (
            "The source matters: its image is above that of every other source by more than the interval."
        )
        if any(line.name == START and line.does_as_well for line in self.controls):
            return f"{matters} But its untrained start does as well: training added nothing that counts here."
        return matters


def evaluate_projected(
    found: CrossModelMap,
    prompt: SoftPrompt,
    backbone: Backbone,
    task: Task,
    split: Split,
    *,
    others: Mapping[str, SoftPrompt] | None = None,
    own: SoftPrompt | None = None,
    target_length: int | None = None,
    batch_size: int = 32,
    seed: int = 42,
) -> ProjectedScore:
    """Score the image of ``prompt`` on ``task``, and on the same rows its controls.

    Images under the same map: of each of ``others``, prompts of the source backbone for other tasks, of
    Gaussian rows with the norms of the prompt's (``gaussian source``), and of the prompt with its columns in
    another order (``shuffled source``). With a trained map, what the same training gives for one fixed source
    (``constant-input projector``). Besides: a random prompt with the norms of the image, the image of
    what the prompt's training began with (``untrained start``, where it is stored), no prompt, and ``own``, a
    prompt trained on the target backbone. target_length: all images are brought to so many rows
    (``lengths.resized``); None: as the map gives them. Rows that one of the prompts or the map was trained on
    are left out, except on its own task. Raises ``UserError`` for prompts and backbones that are not the
    map's, and for a target prompt with another layout.
    """
    found.check_target(backbone.identity)

    def image_of(given: SoftPrompt) -> SoftPrompt:
        made = found.apply(given)
        return made if target_length is None else resized(made, target_length)

    def in_length(rows: Tensor) -> Tensor:
        return rows if target_length is None else resample(rows, target_length, image.metadata.dead_rows)

    image = image_of(prompt)
    images = {f"{name}, projected": image_of(other) for name, other in (others or {}).items()}
    encoder, warnings = fitting_encoder(backbone, image, task)
    if own is not None:
        own.check_fits(backbone.identity, encoder.layout.name)
    rows = fair_to_all([image, *images.values(), *([own] if own is not None else [])], task, split)
    if task.name not in found.train_tasks:
        rows = rows[~found.has_seen(row_hashes(split.examples))[rows]]
    generator = torch.Generator().manual_seed(seed)
    noise = random_like(prompt.embeddings, generator)
    order = torch.randperm(prompt.hidden, generator=generator)
    prompts: dict[str, tuple[Tensor | None, bool]] = {
        PROJECTED: (image.embeddings, True),
        **{name: (other.embeddings, True) for name, other in images.items()},
        "gaussian source, projected": (in_length(found.transform(noise)), True),
        "shuffled source, projected": (in_length(found.transform(prompt.embeddings[:, order])), True),
        **({CONSTANT_INPUT: (in_length(found.constant), True)} if found.constant is not None else {}),
        "random prompt": (random_like(image.embeddings, generator), False),
        **(
            {START: (in_length(found.transform(prompt.initial)), False)} if prompt.initial is not None else {}
        ),
        "no prompt": (None, False),
    }
    if own is not None:
        prompts["target's own prompt"] = own.embeddings, False
    tried = {name: Tried(encoder, *given) for name, given in prompts.items()}
    evaluation, lines, majority = score_beside(
        PROJECTED, tried, task, split, rows, batch_size=batch_size, seed=seed
    )
    kind = "map" if found.network is None else "projector"
    return ProjectedScore(evaluation, lines, majority, len(split.examples) - len(rows), warnings, kind)


def other_sources(places: list[str], prompt: SoftPrompt) -> dict[str, SoftPrompt]:
    """Prompts at ``places`` by name; refuses the prompt itself, which would be no control."""
    loaded = {place: SoftPrompt.from_pretrained(place) for place in places}
    for place, other in loaded.items():
        if other.hash == prompt.hash:
            raise UserError(
                f"{place} is the prompt that is projected, so it is no control. Name another one."
            )
    return loaded
