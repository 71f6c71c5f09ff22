"""The trainable part: one prompt, in front of a backbone that the Trainer does not see."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, read_positions: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        encoder = self._encoder[0]
        batch = encoder.to_batch(input_ids, attention_mask, read_positions, labels)
        if self.training and encoder.trains_on_tokens:
            batch = encoder.training_batch(batch)
            return {"loss": self._here(encoder.backbone.target_loss(self.prompt, batch, by_token=True))}
        if encoder.task.kind == "generation":
            return {"loss": self._here(encoder.backbone.target_loss(self.prompt, batch))}
        logits = self._here(encoder.backbone.label_logits(self.prompt, batch, encoder.label_ids))
        assert batch.labels is not None
        labels = self._here(batch.labels)
        if encoder.task.kind == "regression":
            # The score is the probability of the second word; the loss is its cross-entropy.
            targets = torch.stack([1 - labels, labels], 1)
            return {"loss": F.cross_entropy(logits, targets), "logits": logits}
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def _here(self, answer: Tensor) -> Tensor:
        """On the prompt's device, where the Trainer wants the loss; the backbone may stand on another."""
        return answer.to(self.prompt.device)
