"""The paper's placement of mask, prompt and positions, against arrays from the original 1.0 code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import RobertaForMaskedLM

from prompt_hub.backbones import Batch, Placement
from prompt_hub.backbones.masked_lm import MaskedLM

TASKS = ("SST2", "tweetevalsentiment", "laptop", "MNLI", "QNLI", "QQP", "ethicsdeontology")


class MaskToken:
    mask_token_id = 50264


@pytest.fixture(scope="module")
def oracle(shared):
    folder = shared / "paper" / "oracle" / "roberta"
    model = RobertaForMaskedLM.from_pretrained(folder / "model")
    arrays = {name: torch.as_tensor(value) for name, value in np.load(folder / "oracle.npz").items()}
    return MaskedLM("roberta", model, MaskToken()), arrays, json.loads((folder / "meta.json").read_text())


def batch_of(arrays) -> Batch:
    ids = arrays["inputx"][:, 100:].long()
    mask = arrays["mask"][:, 100:].long()
    read = torch.zeros(len(ids), 1, dtype=torch.long)
    return Batch(ids, mask, read, placement=Placement(mask_in_prompt_row=True, prompt_positions="none"))


def label_ids(meta, task):
    return [[token] for token in meta["tasks"][task]["label_token_ids"]]


@pytest.mark.parametrize("task", TASKS)
def test_scores_equal_the_original_codes(oracle, task):
    backbone, arrays, meta = oracle
    for index, prompt in enumerate(arrays["prompts"]):
        scores = backbone.label_logits(prompt, batch_of(arrays), label_ids(meta, task))
        assert torch.allclose(scores, arrays[f"scores_{task}"][index], atol=2e-4, rtol=0)


@pytest.mark.parametrize("task", ["SST2", "MNLI"])
def test_prompt_gradients_equal_the_original_codes(oracle, task):
    backbone, arrays, meta = oracle
    prompt = arrays["prompts"][0].clone().requires_grad_(True)
    scores = backbone.label_logits(prompt, batch_of(arrays), label_ids(meta, task))
    torch.nn.functional.cross_entropy(scores, arrays[f"labels_{task}"].long()).backward()
    assert torch.allclose(prompt.grad, arrays[f"grad_prompt0_{task}"], atol=2e-4, rtol=0)
    assert prompt.grad[0].abs().max() > 0


def test_row_0_never_reaches_the_model_but_row_1_does(oracle):
    backbone, arrays, meta = oracle
    prompt, batch, ids = arrays["prompts"][0], batch_of(arrays), label_ids(meta, "MNLI")
    before = backbone.label_logits(prompt, batch, ids)
    for row, reaches in ((0, False), (1, True)):
        changed = prompt.clone()
        changed[row] += torch.randn(prompt.shape[1], generator=torch.Generator().manual_seed(row))
        moved = (backbone.label_logits(changed, batch, ids) - before).abs().max().item()
        assert (moved > 1e-3) is reaches
