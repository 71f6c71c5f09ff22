"""Several prompts in one batch: each row is answered under its own, and none waits for a batch of its own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prompt_hub.backbones.base import MixedPrompts
from prompt_hub.encoding.batches import batches_by_length
from prompt_hub.encoding.encoder import EncodedSplit, Encoder
from prompt_hub.evaluation.predict import Predictions, from_scores, predict
from prompt_hub.progress import track


@dataclass(frozen=True)
class Served:
    """A prompt ``[P, H]`` and the rows that it is to answer."""

    encoder: Encoder
    prompt: Tensor
    rows: EncodedSplit


def word_pass(encoder: Encoder, prompt: Tensor) -> Hashable:
    """What two prompts must have in common for one pass over label words.

    Words of one piece are read from the same forward whatever they are; longer ones take forwards of their
    own, which only prompts with the same words share.
    """
    several = any(len(pieces) > 1 for pieces in encoder.label_ids)
    words = tuple(map(tuple, encoder.label_ids)) if several else "one piece"
    return tuple(prompt.shape), encoder.layout.placement, words


def words_of_all(encoders: Sequence[Encoder]) -> tuple[list[tuple[int, ...]], list[list[int]]]:
    """Token ids of every label word once, and for each encoder which of them are its own, in its order."""
    own = [[tuple(pieces) for pieces in encoder.label_ids] for encoder in encoders]
    every = list(dict.fromkeys(word for words in own for word in words))
    return every, [[every.index(word) for word in words] for words in own]


def predict_mixed(served: Sequence[Served], batch_size: int, description: str = "") -> list[Predictions]:
    """Predictions for each prompt's rows; texts of like length share batches, whatever their prompt.

    All are of one backbone. Prompts of another length or layout, or with other label words of several pieces,
    take batches of their own, and so do prompts that generate text.
    """
    found: dict[int, Predictions] = {}
    groups: dict[Hashable, list[int]] = {}
    for number, one in enumerate(served):
        if one.encoder.task.kind == "generation":
            found[number] = predict(one.encoder, one.prompt, one.rows, batch_size, description)
        else:
            groups.setdefault(word_pass(one.encoder, one.prompt), []).append(number)
    for members in groups.values():
        scores = _mixed_scores([served[number] for number in members], batch_size, description)
        for number, own in zip(members, scores, strict=True):
            found[number] = from_scores(served[number].encoder, own)
    return [found[number] for number in range(len(served))]


@torch.no_grad()
def _mixed_scores(group: Sequence[Served], batch_size: int, description: str) -> list[np.ndarray]:
    """``[n, C]`` float32 label logits of each one's rows."""
    first = group[0].encoder
    every, own = words_of_all([one.encoder for one in group])
    prompts = torch.stack([one.prompt for one in group]).to(first.backbone.device)
    rows = [(number, row) for number, one in enumerate(group) for row in one.rows.rows]
    scores = np.zeros((len(rows), len(every)), np.float32)
    batches = batches_by_length([len(row) for _, row in rows], batch_size)
    answers = []
    for indices in track(batches, description, len(batches)):
        owner = torch.tensor([rows[index][0] for index in indices])
        mixed = MixedPrompts(prompts, owner.to(first.backbone.device))
        batch = first.batch([rows[index][1] for index in indices])
        answers.append(first.backbone.label_logits(mixed, batch, every))
    if answers:
        scores[np.concatenate(batches)] = torch.cat(answers).cpu().numpy()
    ends = np.cumsum([len(one.rows) for one in group])
    return [part[:, columns] for part, columns in zip(np.split(scores, ends[:-1]), own, strict=True)]
