"""What a backbone says under a prompt: label scores or texts, in the order of the examples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from prompt_hub.encoding.batches import batches_by_length
from prompt_hub.encoding.encoder import EncodedSplit, Encoder
from prompt_hub.evaluation.fitting import halved, in_batches_that_fit
from prompt_hub.progress import track


@dataclass(frozen=True)
class Predictions:
    """values: ``[n]`` class indices, scores or texts. probabilities: ``[n, C]``, None for texts.

    warnings: what happened on the way.
    """

    values: list[int] | list[float] | list[str]
    probabilities: np.ndarray | None = None
    warnings: list[str] = field(default_factory=list)


def label_scores(
    encoder: Encoder, prompt: Tensor | None, encoded: EncodedSplit, batch_size: int, description: str = ""
) -> np.ndarray:
    """``[n, C]`` float32 label logits, texts of like length together, in the order of the rows.

    Smaller batches are taken where memory runs out.
    """
    return in_batches_that_fit(
        lambda size: _label_scores(encoder, prompt, encoded, size, description), batch_size
    )[0]


@torch.no_grad()
def _label_scores(
    encoder: Encoder, prompt: Tensor | None, encoded: EncodedSplit, batch_size: int, description: str
) -> np.ndarray:
    scores = np.zeros((len(encoded), len(encoder.label_ids)), np.float32)
    batches = batches_by_length(encoded.lengths, batch_size)
    found = []
    with encoder.backbone.unchanged(prompt):
        for indices in track(batches, description, len(batches)):
            batch = encoder.batch([encoded[index] for index in indices])
            found.append(encoder.backbone.label_logits(prompt, batch, encoder.label_ids))
    if found:
        # Brought over in one piece: a GPU would stand still after every batch otherwise.
        scores[np.concatenate(batches)] = torch.cat(found).cpu().numpy()
    return scores


@torch.no_grad()
def _generated_texts(
    encoder: Encoder, prompt: Tensor | None, encoded: EncodedSplit, batch_size: int, description: str
) -> list[str]:
    """``[n]`` greedy answers. A causal model's answer ends at its first line break, as its targets do."""
    texts = [""] * len(encoded)
    batches = batches_by_length([len(row.ids) for row in encoded.rows], batch_size)
    with encoder.backbone.unchanged(prompt):
        for indices in track(batches, description, len(batches)):
            batch = encoder.batch([encoded[index] for index in indices], with_targets=False)
            output = encoder.backbone.generate(prompt, batch, encoder.task.max_target_length)
            decoded = encoder.tokenizer.batch_decode(output, skip_special_tokens=True)
            for index, text in zip(indices, decoded, strict=True):
                text = text.strip()
                if encoder.backbone.family == "causal_lm":
                    text = text.split("\n", 1)[0].strip()
                texts[index] = text
    return texts


def predict(
    encoder: Encoder, prompt: Tensor | None, encoded: EncodedSplit, batch_size: int, description: str = ""
) -> Predictions:
    """Predictions of the task's kind: argmax class, expected score, or text.

    Smaller batches are taken where memory runs out, with a warning.
    """

    def run(size: int) -> Predictions:
        if encoder.task.kind == "generation":
            return Predictions(_generated_texts(encoder, prompt, encoded, size, description))
        return from_scores(encoder, _label_scores(encoder, prompt, encoded, size, description))

    found, took = in_batches_that_fit(run, batch_size)
    return replace(found, warnings=halved(batch_size, took))


def from_scores(encoder: Encoder, scores: np.ndarray) -> Predictions:
    """Label logits ``[n, C]`` to predictions; for a regression low + (high - low) p(second word)."""
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    if encoder.task.kind == "regression":
        assert encoder.task.label_range is not None
        low, high = encoder.task.label_range
        return Predictions([float(low + (high - low) * p) for p in probabilities[:, 1]], probabilities)
    return Predictions([int(index) for index in scores.argmax(1)], probabilities)
