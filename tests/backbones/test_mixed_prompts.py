"""Several prompts in one batch: each row is answered as it is alone under its own prompt."""

from __future__ import annotations

import pytest
import torch
from test_families import (
    LENGTHS,
    ONE_PIECE,
    SEVERAL_PIECES,
    assert_close,
    make_batch,
    make_prompt,
    target_batch,
)

from prompt_hub.backbones import Batch, MixedPrompts, Placement
from prompt_hub.errors import UserError
from tiny_models import CAUSAL, KINDS, SEQ2SEQ

OWNERS = [1, 0, 2, 1]


def prompts_of(backbone) -> torch.Tensor:
    return torch.stack([make_prompt(backbone, seed=seed) for seed in range(3)])


def row_alone(batch: Batch, row: int) -> Batch:
    length = LENGTHS[row]
    return Batch(
        batch.input_ids[row : row + 1, :length],
        batch.attention_mask[row : row + 1, :length],
        batch.read_positions[row : row + 1],
        placement=batch.placement,
    )


@pytest.mark.parametrize("words", [ONE_PIECE, SEVERAL_PIECES], ids=["one piece", "several pieces"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_answered_under_its_own_prompt(tiny, kind, words):
    backbone = tiny(kind)
    batch, prompts = make_batch(backbone), prompts_of(backbone).requires_grad_()
    weights = torch.randn(len(LENGTHS), len(words), generator=torch.Generator().manual_seed(5))
    together = backbone.label_logits(MixedPrompts(prompts, torch.tensor(OWNERS)), batch, words)
    (gradient,) = torch.autograd.grad((together * weights).sum(), prompts)
    alone = torch.cat(
        [
            backbone.reference_label_logits(prompts[owner], row_alone(batch, row), words)
            for row, owner in enumerate(OWNERS)
        ]
    )
    (expected,) = torch.autograd.grad((alone * weights).sum(), prompts)
    assert_close(together, alone)
    assert_close(gradient, expected, 2e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_mixed_prompts_without_packing_give_the_same(tiny, kind):
    backbone = tiny(kind)
    batch, prompts = make_batch(backbone), MixedPrompts(prompts_of(backbone), torch.tensor(OWNERS))
    assert backbone.path == "packed"
    packed = backbone.label_logits(prompts, batch, SEVERAL_PIECES)
    handle = backbone.model.register_forward_hook(lambda module, inputs, output: None)
    try:
        assert backbone.path.startswith("shared cache")
        assert_close(packed, backbone.label_logits(prompts, batch, SEVERAL_PIECES))
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_the_papers_placement_mixes_too(tiny, kind):
    backbone = tiny(kind)
    batch, prompts = make_batch(backbone), prompts_of(backbone)
    batch.placement = Placement(True, "none")
    together = backbone.label_logits(MixedPrompts(prompts, torch.tensor(OWNERS)), batch, ONE_PIECE)
    alone = [
        backbone.label_logits(prompts[owner], row_alone(batch, row), ONE_PIECE)
        for row, owner in enumerate(OWNERS)
    ]
    assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_targets_and_generation_mix(tiny, kind):
    backbone = tiny(kind)
    prompts, batch = prompts_of(backbone), target_batch(backbone)
    logits = backbone.target_logits(MixedPrompts(prompts, torch.tensor([2, 0, 1])), batch)
    for row, owner in enumerate([2, 0, 1]):
        real = batch.labels[row] != -100
        assert_close(logits[row, real], backbone.target_logits(prompts[owner], batch)[row, real])
    batch = make_batch(backbone)
    together = backbone.generate(MixedPrompts(prompts, torch.tensor(OWNERS)), batch, 6)
    for row, owner in enumerate(OWNERS):
        assert backbone.generate(prompts[owner], row_alone(batch, row), 6)[0] == together[row]


def test_prompts_of_another_width_are_refused(tiny):
    backbone = tiny("gpt2")
    with pytest.raises(UserError, match=r"\[K, P, 32\]"):
        backbone.label_logits(
            MixedPrompts(torch.zeros(2, 5, 31), torch.tensor([0, 1, 0, 1])), make_batch(backbone), ONE_PIECE
        )
