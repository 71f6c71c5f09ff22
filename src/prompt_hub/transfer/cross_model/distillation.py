"""A prompt for another backbone, fitted on unlabelled texts to what the source's prompt makes of them.

Knowledge distillation (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"): the
target is given the source's distribution over the label words, text by text, instead of labels. Tokenizers,
label words and families may differ; classes are matched by their order in the task. What the target is given
may also be how the source's prompt moved the source's distribution, added to the target's own (Liu et al.
2024, "Tuning Language Models by Proxy", add such a difference of logits when they decode).

Shape letters: ``n`` texts, ``C`` classes, ``P`` prompt length, ``H`` hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.batches import LengthBucketSampler
from prompt_hub.encoding.encoder import EncodedSplit, Encoder, encode_split
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.progress import progress_bar
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example
from prompt_hub.training.presets import learning_rate_for

MATCHES = {
    "answers": "the source's distribution under its prompt",
    "shift": "the target's without a prompt, moved as the source's prompt moves the source's",
    "centred-shift": "the same, with the class means of the source's distribution under its prompt",
}
"""What the target is to match, and what that is."""

LEAST_TEXTS = 10
HELD_OUT_SHARE = 0.2
MAX_GRADIENT_NORM = 1.0
CHECKS = 10
"""How often the match on the held-out texts is looked at, besides before the first step."""


@dataclass(frozen=True)
class DistillationSettings:
    """match: a name in ``MATCHES``. temperature: both distributions are taken of logits divided by it.

    learning_rate: AdamW's, falling to 0 in a straight line; None: the preset of the target's family. seed: of
    what is held out and of the order.
    """

    match: str = "answers"
    temperature: float = 1.0
    steps: int = 200
    batch_size: int = 16
    learning_rate: float | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        if self.match not in MATCHES:
            raise unknown_name("match", self.match, MATCHES)
        for name in ("temperature", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{name.replace('_', ' ')} must be a number above 0, not {value}.")
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name.replace('_', ' ')} must be at least 1, not {getattr(self, name)}.")

    def on(self, target: Backbone, layout: str) -> DistillationSettings:
        """The settings with the learning rate decided for this target."""
        rate = self.learning_rate or learning_rate_for(target, layout)
        return replace(self, learning_rate=rate)

    @property
    def rate(self) -> float:
        if self.learning_rate is None:
            raise ValueError("The learning rate is not decided yet: see DistillationSettings.on.")
        return self.learning_rate


@dataclass(frozen=True)
class Scores:
    """Label logits ``[n, C]`` float32 of the same texts: under a prompt, and without one."""

    prompted: Tensor
    plain: Tensor

    def relabelled(self) -> Scores:
        """Every class given the scores of the next one, the last those of the first."""
        return Scores(self.prompted.roll(-1, 1), self.plain.roll(-1, 1))


@dataclass(frozen=True)
class Distilled:
    """prompt, initial: ``[P, H]`` float32 on the CPU, at the best check and before the first step.

    curve: (step, divergence on the held-out texts), from step 0. texts, held_out: how many of each.
    constant: the divergence of the held-out texts' goal from its own mean: what a prompt comes to that
    gives every text the same answer, at best. agreement: on how many held-out texts the likeliest class is
    that of the goal; initial_agreement: before the first step.
    """

    prompt: Tensor
    initial: Tensor
    curve: list[tuple[int, float]]
    best_step: int
    texts: int
    held_out: int
    constant: float
    agreement: int
    initial_agreement: int

    def to_dict(self) -> dict[str, Any]:
        left_out = ("prompt", "initial")
        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in left_out}
        return {**numbers, "divergence": self.divergence}

    @property
    def divergence(self) -> float:
        """Of the prompt, on the held-out texts."""
        return dict(self.curve)[self.best_step]


def without_labels(split: Split) -> Split:
    """The texts alone. Labels are not looked at, not even to drop rows by them."""
    examples = [Example(one.text_a, one.text_b) for one in split.examples]
    return Split.of(split.name, examples, f"{split.source} (without labels)", split.dropped)


def source_scores(encoder: Encoder, prompt: Tensor | None, texts: Split, batch_size: int = 32) -> Scores:
    """What a source says about the texts under ``prompt`` and without one; None: without one both times."""
    plain = _scores(encoder, None, texts, batch_size)
    return Scores(plain if prompt is None else _scores(encoder, prompt, texts, batch_size), plain)


def goal_logits(source: Scores, target_plain: Tensor, match: str) -> Tensor:
    """``[n, C]`` logits whose softmax the target is to give. target_plain: ``[n, C]``, without a prompt.

    A backbone's label words have a likelihood of their own, whatever the text (Zhao et al. 2021, "Calibrate
    Before Use"). ``shift`` keeps the target's and adds what the source's prompt did to the source's;
    ``centred-shift`` takes over how likely each class is on average under the source's prompt, and only what
    differs between texts moves.
    """
    prompted, plain, own = (values.log_softmax(1) for values in (source.prompted, source.plain, target_plain))
    if match == "answers":
        return prompted
    moved = own + prompted - plain
    if match == "shift":
        return moved
    return moved - moved.mean(0) + prompted.mean(0)


def divergence(goal: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over texts of the Kullback-Leibler divergence of ``softmax(logits)`` from ``softmax(goal)``.

    Both ``[n, C]``, divided by the temperature first; times its square, so that gradients keep their size
    (Hinton et al. 2015, section 2).
    """
    found = F.kl_div(
        (logits / temperature).log_softmax(1),
        (goal / temperature).log_softmax(1),
        log_target=True,
        reduction="batchmean",
    )
    return found * temperature**2


def distil(
    source: Scores,
    encoder: Encoder,
    texts: Split,
    initial: Tensor,
    settings: DistillationSettings,
    description: str = "distil",
) -> Distilled:
    """Fit a prompt of the target so that its distribution over the label words is what ``match`` asks for.

    source: scores of the ``texts``, in their order. encoder: of the target. initial: ``[P, H]``. A fifth of
    the texts takes no part in the fit: what matches best on them is kept. Raises ``UserError`` for fewer than
    ``LEAST_TEXTS`` texts and where the prompt does not stay finite.
    """
    check_texts(texts)
    whole = encode_split(encoder, texts)
    goal = goal_logits(source, _scores(encoder, None, texts, settings.batch_size), settings.match)
    fitted, checked = _parts(len(texts), settings.seed)
    held_out, wanted = whole.only(checked), goal[checked]

    def check(prompt: Tensor) -> tuple[float, int]:
        scores = torch.from_numpy(label_scores(encoder, prompt, held_out, 2 * settings.batch_size))
        agreed = int((scores.argmax(1) == wanted.argmax(1)).sum())
        return float(divergence(wanted, scores, settings.temperature)), agreed

    start = initial.detach().float().cpu().clone()
    prompt = nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([prompt], lr=settings.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / settings.steps)
    every = max(1, settings.steps // CHECKS)
    batches = _batches(whole.only(fitted), settings)
    best, (lowest, agreed) = start, check(start)
    curve, best_step, initial_agreement = [(0, lowest)], 0, agreed
    with progress_bar(description, settings.steps) as bar:
        for step in range(1, settings.steps + 1):
            rows = [fitted[row] for row in next(batches)]
            batch = encoder.batch([whole[row] for row in rows])
            logits = encoder.backbone.label_logits(prompt, batch, encoder.label_ids)
            optimizer.zero_grad()
            divergence(goal[rows].to(logits.device), logits, settings.temperature).backward()
            nn.utils.clip_grad_norm_([prompt], MAX_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            if step % every == 0 or step == settings.steps:
                now = prompt.detach().clone()
                found, agree = check(now)
                curve.append((step, found))
                if found < lowest:
                    best, best_step, lowest, agreed = now, step, found, agree
            bar.advance(1, f"divergence on held-out texts {curve[-1][1]:.3f}")
    if not all(math.isfinite(value) for _, value in curve):
        raise UserError(
            f"Distillation diverged within {settings.steps} steps. Lower the learning rate (it was "
            f"{settings.rate:g}), for example --lr {settings.rate / 10:.2g}."
        )
    constant = float(divergence(wanted, _mean_answer(wanted, settings.temperature), settings.temperature))
    return Distilled(
        best, start, curve, best_step, len(fitted), len(checked), constant, agreed, initial_agreement
    )


def check_texts(texts: Split) -> None:
    if len(texts) < LEAST_TEXTS:
        raise UserError(
            f"Distillation needs at least {LEAST_TEXTS} texts, there are {len(texts)}. A hundred are usual."
        )


def _scores(encoder: Encoder, prompt: Tensor | None, texts: Split, batch_size: int) -> Tensor:
    return torch.from_numpy(label_scores(encoder, prompt, encode_split(encoder, texts), batch_size))


def _parts(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices that are fitted, and those that are held out."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    checked = round(count * HELD_OUT_SHARE)
    return sorted(order[checked:]), sorted(order[:checked])


def _batches(rows: EncodedSplit, settings: DistillationSettings) -> Iterator[list[int]]:
    size = min(settings.batch_size, len(rows))
    sampler = LengthBucketSampler(rows.lengths, size, settings.seed, drop_last=True)
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        order = list(sampler)
        yield from (order[start : start + size] for start in range(0, len(order), size))
        epoch += 1


def _mean_answer(goal: Tensor, temperature: float) -> Tensor:
    """``[n, C]``: the mean distribution, which is the constant nearest to all of them, as logits."""
    mean = (goal / temperature).softmax(1).mean(0, keepdim=True)
    return (mean.log() * temperature).expand_as(goal)
