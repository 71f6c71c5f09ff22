"""Layers that torch compiles: the same numbers, from one compilation for all layers."""

from __future__ import annotations

import shutil

import pytest
import torch
from test_families import ONE_PIECE, assert_close, make_batch, make_prompt
from torch._dynamo.utils import counters

from prompt_hub.backbones import load_backbone
from prompt_hub.errors import UserError
from tiny_models import build

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++ on a CPU")
LAYERS = 4


@pytest.fixture
def deep(tmp_path):
    """A tiny backbone with layers between its first and its last."""

    def load(kind, layers=LAYERS):
        return load_backbone(str(build(kind, tmp_path / f"{kind}-{layers}", layers=layers)))

    return load


def answer(backbone, batch, prompt):
    logits = backbone.label_logits(prompt, batch, ONE_PIECE)
    return logits, torch.autograd.grad(logits.square().sum(), prompt)[0]


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "t5"])
def test_one_compilation_gives_all_layers_and_batches_the_same_numbers(deep, kind):
    torch._dynamo.reset()
    counters.clear()
    graphs = []
    for layers in (LAYERS, LAYERS + 2):
        backbone = deep(kind, layers)
        assert backbone.path in ("trimmed", "packed")  # its check is not compiled
        for lengths in ((3, 11, 7), (5, 2), (8, 9, 4, 6)):
            batch, prompt = make_batch(backbone, lengths), make_prompt(backbone).requires_grad_()
            expected, gradient = answer(backbone, batch, prompt)
            with backbone.compiled():
                found, other = answer(backbone, batch, prompt)
            assert_close(found, expected)
            assert_close(other, gradient, 2e-5)
            graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == graphs[:1] * 6 and graphs[0] > 0


def test_layers_may_run_again_compiled(deep):
    backbone = deep("gpt2")
    batch, prompt = make_batch(backbone), make_prompt(backbone).requires_grad_()
    expected, gradient = answer(backbone, batch, prompt)
    with backbone.compiled(), backbone.recomputed():
        found, other = answer(backbone, batch, prompt)
    assert_close(found, expected)
    assert_close(other, gradient, 2e-5)


def test_a_hook_inside_a_layer_is_called_though_it_came_later(deep):
    backbone = deep("roberta")
    batch, prompt, seen = make_batch(backbone), make_prompt(backbone).requires_grad_(), []
    with backbone.compiled():
        answer(backbone, batch, prompt)
        layer = backbone.model.roberta.encoder.layer[2]
        handle = layer.intermediate.register_forward_hook(lambda *parts: seen.append(parts[2].shape))
        backbone.label_logits(prompt, batch, ONE_PIECE)
        handle.remove()
    assert len(seen) == 1


def test_the_layers_are_themselves_again_after_the_last_block(deep):
    backbone = deep("gpt2")
    first, second = backbone.compiled(), backbone.compiled()
    layers = backbone.model.transformer.h
    with pytest.raises(RuntimeError, match="in between"), first:
        second.__enter__()
        assert ["forward" in layer.__dict__ for layer in layers] == [False, True, True, False]
        raise RuntimeError("in between")
    assert "forward" in layers[1].__dict__
    second.__exit__(None, None, None)
    assert not any("forward" in layer.__dict__ for layer in layers)


def test_a_model_without_known_layers_is_refused(tiny, monkeypatch):
    backbone = tiny("gpt2")
    other = torch.nn.Linear(2, 2)
    other.config = backbone.config
    monkeypatch.setattr(backbone, "model", other)
    with pytest.raises(UserError, match=r"Linear has none\. Leave --torch-compile out"), backbone.compiled():
        pass
