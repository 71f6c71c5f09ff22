"""A stored prompt distilled into a prompt of another backbone, and its score beside controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import fitting_encoder
from prompt_hub.prompts.initialisers import initial_prompt, random_like
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task
from prompt_hub.training.presets import init_for, instruction_for
from prompt_hub.transfer.cross_model.base import carried_layout
from prompt_hub.transfer.cross_model.beside import ScoreBesideControls, Tried, fair_to_all, score_beside
from prompt_hub.transfer.cross_model.distillation import (
    DistillationSettings,
    Distilled,
    Scores,
    check_texts,
    distil,
    source_scores,
    without_labels,
)

DISTILLED = "distilled"
START = "untrained start"


@dataclass(frozen=True)
class Distillation:
    """Everything that the prompt and its controls have in common: they differ in the source alone.

    source, target: encoders of the task for the two backbones. texts: without labels. initial: ``[P, H]``,
    where every fit begins, made by the initialiser ``init``. warnings: about the source's prompt.
    """

    prompt: SoftPrompt
    source: Encoder
    target: Encoder
    texts: Split
    initial: Tensor
    init: str
    settings: DistillationSettings
    warnings: list[str]

    @classmethod
    def prepare(
        cls,
        prompt: SoftPrompt,
        source: Backbone,
        target: Backbone,
        task: Task,
        texts: Split,
        settings: DistillationSettings | None = None,
        *,
        prompt_len: int | None = None,
        init: str | None = None,
    ) -> Distillation:
        """Checks everything before anything is computed. Labels of ``texts`` are taken off unread.

        prompt_len: rows of the new prompt; None: those of ``prompt``. init: initialiser spec; None: that of
        the target's family. Raises ``UserError`` for a prompt of another backbone than ``source``, a task
        that generates text, and too few texts.
        """
        if task.kind == "generation":
            raise UserError(
                f"Task {task.name!r} generates text. Distillation compares distributions over label words, "
                "so it needs a task with label words."
            )
        check_texts(texts)
        source_encoder, warnings = fitting_encoder(source, prompt, task)
        layout = carried_layout(source_encoder.layout.name, source.family, target.family)
        encoder = Encoder(target, task, prompt_len or prompt.prompt_len, layout)
        if prompt.train_rows is None:
            warnings.append(
                "The source does not say which rows it was trained on, so the new prompt counts as trained "
                "on the texts of its distillation alone."
            )
        settings = (settings or DistillationSettings()).on(target, layout)
        init = init or init_for(target, layout)
        initial = initial_prompt(
            init,
            target,
            encoder.prompt_len,
            settings.seed,
            text=instruction_for(task, target.family),
            label_words=[encoder.spaced(word) for word in encoder.label_words],
        )
        return cls(prompt, source_encoder, encoder, without_labels(texts), initial, init, settings, warnings)

    def scores(self, prompt: Tensor | None) -> Scores:
        """What the source says about the texts under a prompt of its own, or under none."""
        return source_scores(self.source, prompt, self.texts, self.settings.batch_size)

    def fit(self, source: Scores, description: str = "distil") -> Distilled:
        return distil(source, self.target, self.texts, self.initial, self.settings, description)

    def run(self) -> tuple[SoftPrompt, Distilled]:
        """The new prompt, and how near it came on the texts that were held out."""
        found = self.fit(self.scores(self.prompt.embeddings), f"distil {self.target.task.name}")
        return self._stored(found), found

    def _stored(self, found: Distilled) -> SoftPrompt:
        task, known = self.target.task, self.prompt.metadata
        rows = torch.from_numpy(row_hashes(self.texts.examples))
        if self.prompt.train_rows is not None:
            # What the source has learned from its rows is in what it says about the texts.
            rows = torch.cat([rows, self.prompt.train_rows]).unique()
        metadata = PromptMetadata(
            backbone=self.target.backbone.identity.to_dict(),
            layout=self.target.layout.name,
            template=self.target.template,
            label_words=list(self.target.label_words),
            classes=list(task.classes),
            task=task.name,
            task_type=task.type,
            task_definition=task.to_dict(),
            data={
                "source": self.texts.source,
                "fingerprint": self.texts.fingerprint,
                "n": len(self.texts),
            },
            seed=self.settings.seed,
            hyperparameters={
                **{name: value for name, value in asdict(self.settings).items() if name != "seed"},
                "prompt_len": self.target.prompt_len,
                "init": self.init,
                "best_step": found.best_step,
            },
            metrics={
                "held-out texts": {
                    "divergence": found.divergence,
                    "divergence at the start": found.curve[0][1],
                    "same answer as asked": found.agreement / found.held_out,
                    "n": found.held_out,
                }
            },
            parent={
                "hash": self.prompt.hash,
                "relation": "distilled",
                "task": known.task,
                "backbone": self.source.backbone.name,
                "match": self.settings.match,
            },
        )
        return SoftPrompt(found.prompt, metadata, rows, found.initial)


@dataclass(frozen=True)
class DistilledScore(ScoreBesideControls):
    """Of a distilled prompt; lines with ``same_map`` were distilled from something else than its source."""

    @property
    def judged(self) -> str:
        return DISTILLED

    def verdict(self) -> str:
        if self.rivals:
            best = max(self.rivals, key=lambda line: line.score)
            low, high = best.gain_ci95
            return (
                f"On this task the source does not matter, as far as these rows show: {best.name} does as "
                f"well (difference {best.gain:+.3f}, 95% interval {low:+.3f} to {high:+.3f})."
            )
        matters = (
            "The source matters: what was distilled from it is above what was distilled from anything else "
            "by more than the interval."
        )
        start = next((line for line in self.controls if line.name == START), None)
        if start is not None and start.gain_ci95[1] < 0:
            return (
                f"{matters} But its untrained start is better, by {-start.gain:.3f}: the target was taught "
                "the source's mistakes. Use the start."
            )
        if start is not None and start.does_as_well:
            return f"{matters} But its untrained start does as well: distillation added nothing that counts."
        return matters


def evaluate_distilled(
    distillation: Distillation,
    made: SoftPrompt,
    split: Split,
    *,
    others: Mapping[str, SoftPrompt] | None = None,
    own: SoftPrompt | None = None,
    batch_size: int = 32,
) -> DistilledScore:
    """Score the distilled prompt ``made`` on labelled rows of its task, and on the same rows its controls.

    Distilled in the same way, from the same start: from each of ``others`` (prompts of the source backbone),
    from Gaussian rows with the norms of the source's prompt, from the source without a prompt, and from the
    source with every class given the scores of the next one. Besides: where the fit began, a random prompt
    with the norms of ``made``, no prompt, the source's prompt on its own backbone, and ``own``, a prompt
    trained on the target. Raises ``UserError`` for prompts that are not of these backbones.
    """
    task, target, source = distillation.target.task, distillation.target, distillation.source
    prompt, seed = distillation.prompt.embeddings, distillation.settings.seed
    for other in (others or {}).values():
        other.check_fits(source.backbone.identity, source.layout.name)
    if own is not None:
        own.check_fits(target.backbone.identity, target.layout.name)
    generator = torch.Generator().manual_seed(seed)
    plain = distillation.scores(None)
    sources = {
        **{name: distillation.scores(other.embeddings) for name, other in (others or {}).items()},
        "gaussian source": distillation.scores(random_like(prompt, generator)),
        "source without its prompt": plain,
        "source with labels shuffled": distillation.scores(prompt).relabelled(),
    }
    tried = {DISTILLED: Tried(target, made.embeddings)}
    for name, scores in sources.items():
        found = distillation.fit(scores, f"control: {name}")
        tried[f"{name}, distilled"] = Tried(target, found.prompt, other_source=True)
    tried |= {
        START: Tried(target, distillation.initial),
        "random prompt": Tried(target, random_like(made.embeddings, generator)),
        "no prompt": Tried(target, None),
        "the source on its own backbone": Tried(source, prompt),
    }
    if own is not None:
        tried["target's own prompt"] = Tried(target, own.embeddings)
    known = [made, *(others or {}).values(), *([own] if own is not None else [])]
    rows = fair_to_all(known, task, split)
    evaluation, lines, majority = score_beside(
        DISTILLED, tried, task, split, rows, batch_size=batch_size, seed=seed
    )
    warnings = [*distillation.warnings, *target.warnings]
    return DistilledScore(evaluation, lines, majority, len(split.examples) - len(rows), warnings)


def settings_of(distillation: Distillation) -> dict[str, Any]:
    """What makes two distillations the same one, for a record."""
    return {
        **asdict(distillation.settings),
        "prompt": distillation.prompt.hash,
        "source_backbone": distillation.source.backbone.identity.to_dict(),
        "target_backbone": distillation.target.backbone.identity.to_dict(),
        "task": distillation.target.task.name,
        "task_fingerprint": distillation.target.task.fingerprint(),
        "texts": distillation.texts.fingerprint,
        "n": len(distillation.texts),
        "prompt_len": distillation.target.prompt_len,
        "layout": distillation.target.layout.name,
        "init": distillation.init,
    }
