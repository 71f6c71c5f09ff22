"""Layers that run again in the backward pass: the same gradients from fewer kept values."""

from __future__ import annotations

import pytest
import torch
from test_families import ONE_PIECE, SEVERAL_PIECES, assert_close, make_batch, make_prompt, target_batch

from prompt_hub.backbones import MixedPrompts
from prompt_hub.errors import UserError
from tiny_models import CAUSAL, KINDS, SEQ2SEQ


class Kept:
    """Bytes that the forward keeps for the backward, each memory counted once."""

    def __init__(self, backbone) -> None:
        weights = (*backbone.model.parameters(), *backbone.model.buffers())
        self.others = {tensor.untyped_storage().data_ptr() for tensor in weights}
        self.storages: dict[int, torch.UntypedStorage] = {}

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.keep, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.hooks.__exit__(*error)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.others:
            self.storages[storage.data_ptr()] = storage
        return tensor

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self.storages.values())


@pytest.mark.parametrize("words", [ONE_PIECE, SEVERAL_PIECES], ids=["one piece", "several pieces"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_same_and_less_is_kept(tiny, kind, words):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone).requires_grad_()
    expected = backbone.reference_label_logits(prompt, batch, words)
    (gradient,) = torch.autograd.grad(expected.square().sum(), prompt)
    with Kept(backbone) as whole:
        backbone.label_logits(prompt, batch, words)
    with backbone.recomputed():
        with Kept(backbone) as kept:
            logits = backbone.label_logits(prompt, batch, words)
        (found,) = torch.autograd.grad(logits.square().sum(), prompt)
    assert_close(logits, expected)
    assert_close(found, gradient, 2e-5)
    assert kept.bytes < whole.bytes


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_targets_and_mixed_prompts_too(tiny, kind):
    backbone = tiny(kind)
    prompts = torch.stack([make_prompt(backbone, seed=seed) for seed in (1, 2)]).requires_grad_()
    mixed, batch = MixedPrompts(prompts, torch.tensor([1, 0, 1])), target_batch(backbone)
    (expected,) = torch.autograd.grad(backbone.target_loss(mixed, batch), prompts)
    with backbone.recomputed():
        (found,) = torch.autograd.grad(backbone.target_loss(mixed, batch), prompts)
    assert_close(found, expected, 2e-5)


def test_the_layers_are_themselves_again_after_the_last_block(tiny):
    backbone = tiny("gpt2")
    first, second = backbone.recomputed(), backbone.recomputed()
    layer = backbone.model.transformer.h[0]
    with pytest.raises(RuntimeError, match="in between"), first:
        second.__enter__()
        assert "forward" in layer.__dict__
        raise RuntimeError("in between")
    assert backbone.is_recomputed and "forward" in layer.__dict__
    second.__exit__(None, None, None)
    assert not backbone.is_recomputed and "forward" not in layer.__dict__


def test_a_model_without_known_layers_is_refused(tiny, monkeypatch):
    backbone = tiny("gpt2")
    monkeypatch.setattr(backbone, "model", torch.nn.Linear(2, 2))
    with (
        pytest.raises(UserError, match=r"Linear has none\. Leave --gradient-checkpointing out"),
        backbone.recomputed(),
    ):
        pass
