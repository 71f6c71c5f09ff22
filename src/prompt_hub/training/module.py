"""The trainable part: one prompt, in front of a backbone that the Trainer does not see."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompt_hub.backbones.base import Batch, target_cross_entropy
from prompt_hub.encoding.encoder import Encoder


class PromptModule(nn.Module):
    """Loss and label logits of a batch under a trainable prompt ``[P, H]`` in float32.

    The backbone is reached through the encoder, which is no submodule: checkpoints hold the prompt alone,
    ``train()`` does not switch the backbone's dropout on, and data-parallel wrappers reduce one gradient.
    """

    def __init__(self, encoder: Encoder, initial: Tensor) -> None:
        super().__init__()
        self.prompt = nn.Parameter(initial.detach().clone().float())
        self._encoder = (encoder,)

    @property
    def encoder(self) -> Encoder:
        return self._encoder[0]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, read_positions: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        batch = self.encoder.to_batch(input_ids, attention_mask, read_positions, labels)
        return task_loss(self.encoder, self.prompt, batch, self.training)


def task_loss(encoder: Encoder, prompt: Tensor, batch: Batch, training: bool) -> dict[str, Tensor]:
    """``loss``, a scalar, of a labelled batch under ``prompt [P, H]``, and ``logits [B, C]`` where there are.

    training: whether T5 under layout ``paper`` is trained (on tokens) or watched (on label words). Both are
    on the prompt's device, where the Trainer wants the loss; the backbone may stand on another.
    """
    batch = task_batch(encoder, batch, training)
    if aims_at_tokens(encoder, training):
        logits = encoder.backbone.target_logits(prompt, batch)
    else:
        logits = encoder.backbone.label_logits(prompt, batch, encoder.label_ids)
    return loss_of_logits(encoder, logits.to(prompt.device), batch, training)


def aims_at_tokens(encoder: Encoder, training: bool) -> bool:
    """Whether the loss is over target tokens and the whole vocabulary, not over label words."""
    return encoder.task.kind == "generation" or (training and encoder.trains_on_tokens)


def task_batch(encoder: Encoder, batch: Batch, training: bool) -> Batch:
    """The batch as the backbone is given it."""
    return encoder.training_batch(batch) if training and encoder.trains_on_tokens else batch


def loss_of_logits(encoder: Encoder, logits: Tensor, batch: Batch, training: bool) -> dict[str, Tensor]:
    """As ``task_loss``. logits: ``[B, C]`` of the label words, or ``[B, T, V]`` where the aim is tokens."""
    assert batch.labels is not None
    labels = batch.labels.to(logits.device)
    if aims_at_tokens(encoder, training):
        by_token = training and encoder.trains_on_tokens
        return {"loss": target_cross_entropy(logits, labels, by_token)}
    if encoder.task.kind == "regression":
        # The score is the probability of the second word; the loss is its cross-entropy.
        targets = torch.stack([1 - labels, labels], 1)
        return {"loss": F.cross_entropy(logits, targets), "logits": logits}
    return {"loss": F.cross_entropy(logits, labels), "logits": logits}
