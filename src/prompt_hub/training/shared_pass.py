"""Batches of several trainings, run through the backbone as one.

Rows of a batch do not meet inside a frozen model, so the losses of several prompts can be taken from one
forward, and one backward through their sum gives each prompt the gradient of its own loss.

Each training is an ordinary one in a thread of its own. The threads take turns: one runs at a time, up to
the place where it needs a gradient. When all of them have asked, the batches are run together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import MixedPrompts
from prompt_hub.encoding.batches import joined
from prompt_hub.evaluation.mixed import word_pass, words_of_all
from prompt_hub.training.module import PromptModule, aims_at_tokens, loss_of_logits, task_batch

Inputs = Mapping[str, Tensor]


class Stopped(Exception):
    """Raised in a training that cannot go on because the others were stopped."""


@dataclass
class _Asked:
    """What one training waits for: ``loss``, with the gradient of ``scale * loss`` added to its prompt's."""

    module: PromptModule
    inputs: Inputs
    scale: float
    loss: Tensor | None = None
    error: BaseException | None = None


class SharedPass:
    """Where ``count`` trainings meet. Who holds ``turn`` runs; waiting gives it to another."""

    def __init__(self, count: int) -> None:
        self.turn = Condition()
        self._going_on = count
        self._asked: dict[int, _Asked] = {}
        self._error: BaseException | None = None

    def step(self, number: int, module: PromptModule, inputs: Inputs, scale: float) -> Tensor:
        """In training ``number``'s thread: its loss, scaled, once the others have asked for theirs."""
        if self._error is not None:
            raise Stopped from self._error
        mine = self._asked[number] = _Asked(module, inputs, scale)
        self.turn.notify_all()
        self.turn.wait_for(lambda: mine.loss is not None or mine.error is not None)
        if mine.error is not None:
            raise mine.error
        assert mine.loss is not None
        return mine.loss

    def leave(self) -> None:
        """In a training's thread: it needs no more gradients."""
        self._going_on -= 1
        self.turn.notify_all()

    def serve(self) -> None:
        """Run batches together until all trainings have left."""
        while True:
            self.turn.wait_for(lambda: len(self._asked) == self._going_on)
            if not self._going_on:
                return
            asked = [self._asked[number] for number in sorted(self._asked)]
            self._asked.clear()
            try:
                add_gradients(asked)
            except BaseException as error:
                ended = error if isinstance(error, Exception) else Stopped()
                for each in asked:
                    each.error = ended
                if ended is not error:
                    raise
            finally:
                self.turn.notify_all()

    def stop(self, error: BaseException) -> None:
        """Let every training end at the next place where it needs a gradient."""
        self._error = error
        for each in self._asked.values():
            each.error = Stopped()
        self._asked.clear()
        self.turn.notify_all()


def add_gradients(asked: Sequence[_Asked]) -> None:
    """Each one's loss, and its gradient added to its prompt's, by as few passes as their kinds allow."""
    groups: dict[Any, list[_Asked]] = {}
    for each in asked:
        groups.setdefault(_kind(each.module), []).append(each)
    for group in groups.values():
        losses = losses_together([each.module for each in group], [each.inputs for each in group])
        scaled = [each.scale * loss for each, loss in zip(group, losses, strict=True)]
        torch.stack(scaled).sum().backward()
        for each, loss in zip(group, scaled, strict=True):
            each.loss = loss.detach()


def _kind(module: PromptModule) -> Any:
    """What two trainings must have in common to share a pass."""
    encoder = module.encoder
    if aims_at_tokens(encoder, module.training):
        return module.prompt.shape, encoder.layout.placement, "tokens"
    return word_pass(encoder, module.prompt)


def losses_together(modules: Sequence[PromptModule], inputs: Sequence[Inputs]) -> list[Tensor]:
    """The loss of each module on its own batch, from one forward; all are of one ``_kind``."""
    encoders, training = [module.encoder for module in modules], modules[0].training
    backbone = encoders[0].backbone
    batches = [
        task_batch(encoder, encoder.to_batch(**given), training)
        for encoder, given in zip(encoders, inputs, strict=True)
    ]
    sizes = [batch.size for batch in batches]
    owner = [number for number, size in enumerate(sizes) for _ in range(size)]
    prompts = MixedPrompts(torch.stack([module.prompt for module in modules]), backbone.constant(owner))
    batch = joined(batches, encoders[0].pad_id)
    if aims_at_tokens(encoders[0], training):
        parts = backbone.target_logits(prompts, batch).split(sizes)
        targets = [each.labels.shape[1] for each in batches if each.labels is not None]
        parts = [part[:, :width] for part, width in zip(parts, targets, strict=True)]
    else:
        every, own = words_of_all(encoders)
        parts = backbone.label_logits(prompts, batch, every).split(sizes)
        parts = [
            part.index_select(1, backbone.constant(columns)) for part, columns in zip(parts, own, strict=True)
        ]
    here = modules[0].prompt.device
    return [
        loss_of_logits(encoder, part.to(here), each, training)["loss"]
        for encoder, part, each in zip(encoders, parts, batches, strict=True)
    ]
