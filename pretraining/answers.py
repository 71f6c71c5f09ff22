"""How well a model fills in the answer words of documents that it is not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from objectives import Objective, to_device
from schedule import grouped, row_counts
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

TOKENS = 4000
"""Tokens of a batch without gradients."""


@torch.no_grad()
def answer_accuracy(model: PreTrainedModel, objective: Objective, most: int | None = None) -> dict[str, Any]:
    """Share of the (first ``most``) answers that are the likeliest of all tokens, in all and for each word.

    ``words`` has for each answer word: accuracy, number of answers.
    """
    rows, positions = objective.documents.answer_places()
    keys = objective.question_keys(rows, positions)
    asked = np.flatnonzero(keys > 0)[:most]
    targets, hits, losses = [], [], []
    model.eval()
    for key, places in grouped(keys[asked], asked, row_counts(objective, keys[asked], TOKENS)):
        batch = to_device(objective.question(rows[places], positions[places], key), model.device)
        with torch.autocast(model.device.type, torch.bfloat16):
            logits = objective.logits(model, batch).float()
        targets.append(batch["targets"])
        hits.append(logits.argmax(-1) == batch["targets"])
        losses.append(cross_entropy(logits, batch["targets"], reduction="none"))
    model.train()
    target, hit = torch.cat(targets), torch.cat(hits).float()
    words = {
        objective.tokenizer.decode([token]).strip(): (round(hit[target == token].mean().item(), 3),
                                                      int((target == token).sum()))
        for token in target.unique().tolist()
    }  # fmt: skip
    return {
        "answer_accuracy": round(hit.mean().item(), 4),
        "held_out_answer_loss": round(torch.cat(losses).mean().item(), 4),
        "words": dict(sorted(words.items())),
    }
