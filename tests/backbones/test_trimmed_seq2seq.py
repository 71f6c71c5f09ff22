"""A short decoder makes no keys of the encoder's positions: the plain numbers, or the plain way."""

from __future__ import annotations

import pytest
import torch
import transformers
from test_families import LENGTHS, ONE_PIECE, SEVERAL_PIECES, assert_close, make_batch, make_prompt
from transformers.activations import NewGELUActivation

from prompt_hub.backbones import MixedPrompts
from prompt_hub.backbones.seq2seq_lm import Seq2SeqLM
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import recording, sites_for
from tiny_models import SEQ2SEQ


def with_gradient(path, prompt, batch, label_ids=ONE_PIECE):
    """Label logits and the gradient of a loss over them; several prompts ``[K, P, H]`` take turns."""
    leaf = prompt.clone().requires_grad_()
    owner = torch.arange(batch.size) % len(leaf)
    logits = path(MixedPrompts(leaf, owner) if leaf.ndim == 3 else leaf, batch, label_ids)
    torch.nn.functional.cross_entropy(logits, torch.arange(batch.size) % 3).backward()
    return logits.detach(), leaf.grad


def assert_both_ways(backbone, batch, prompt=None, label_ids=ONE_PIECE):
    prompt = make_prompt(backbone) if prompt is None else prompt
    found = with_gradient(backbone.label_logits, prompt, batch, label_ids)
    expected = with_gradient(backbone.reference_label_logits, prompt, batch, label_ids)
    for value, reference in zip(found, expected, strict=True):
        assert_close(value, reference)


def rows_mapped(backbone, monkeypatch):
    """How many rows enter each map of the encoder's output that a decoder's attention has."""
    seen = []
    for module in backbone.model.get_decoder().modules():
        for name in ("EncDecAttention", "encoder_attn"):
            attention = getattr(module, name, None)
            for part in () if attention is None else ("k", "v", "k_proj", "v_proj"):
                linear = getattr(attention, part, None)
                if linear is not None:
                    whole = linear.forward
                    monkeypatch.setattr(
                        linear,
                        "forward",
                        lambda rows, whole=whole: seen.append(rows.shape[1]) or whole(rows),
                    )
    return seen


@pytest.mark.parametrize("label_ids", [ONE_PIECE, SEVERAL_PIECES], ids=["one-piece", "several-pieces"])
@pytest.mark.parametrize("lengths", [(5,), (1, 1), (13, 2, 7, 1, 3)], ids=str)
@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_logits_and_prompt_gradient_are_those_of_the_plain_forward(tiny, kind, lengths, label_ids):
    assert tiny(kind).path == "trimmed"
    assert_both_ways(tiny(kind), make_batch(tiny(kind), lengths), label_ids=label_ids)


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_no_keys_of_the_encoders_positions_are_made(tiny, kind, monkeypatch):
    backbone = tiny(kind)
    assert backbone.path == "trimmed"
    seen = rows_mapped(backbone, monkeypatch)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    found = backbone.label_logits(prompt, batch, ONE_PIECE)
    assert seen == []
    assert_close(found, backbone.reference_label_logits(prompt, batch, ONE_PIECE))
    assert seen == [5 + max(LENGTHS)] * 4


def test_a_word_of_many_pieces_makes_them(tiny, monkeypatch):
    backbone = tiny("t5")
    long_word = [[9], [17, 30, 12, 7, 8, 9, 10, 11, 12]]
    assert_both_ways(backbone, make_batch(backbone, (3, 9, 2)), label_ids=[*long_word, [23]])
    seen = rows_mapped(backbone, monkeypatch)
    backbone.label_logits(make_prompt(backbone), make_batch(backbone), long_word)
    assert seen == [5 + max(LENGTHS)] * 4


def test_the_encoders_first_layer_maps_the_prompt_once_and_the_text_without_gradient(tiny, monkeypatch):
    backbone = tiny("t5")
    assert backbone.path == "trimmed"
    seen = []
    key = backbone.model.encoder.block[0].layer[0].SelfAttention.k
    whole = key.forward
    monkeypatch.setattr(
        key, "forward", lambda rows: seen.append((tuple(rows.shape[:2]), rows.requires_grad)) or whole(rows)
    )
    backbone.label_logits(make_prompt(backbone).requires_grad_(), make_batch(backbone), ONE_PIECE)
    assert seen == [((1, 5), True), ((len(LENGTHS), max(LENGTHS)), False)]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_several_prompts_in_a_batch_and_either_attention(tiny, kind, implementation):
    backbone = tiny(kind)
    prompts = torch.stack([make_prompt(backbone, seed=seed) for seed in (1, 2, 3)])
    backbone.model.set_attn_implementation(implementation)
    try:
        assert backbone.path == "trimmed"
        for rows in (prompts, prompts[0]):
            assert_both_ways(backbone, make_batch(backbone), rows)
    finally:
        backbone.model.set_attn_implementation("sdpa")


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_held_neurons_are_held(tiny, kind):
    backbone = tiny(kind)
    sites = sites_for(backbone)
    chosen = torch.rand(len(sites), sites[0].width, generator=torch.Generator().manual_seed(0)) < 0.5
    with held_neurons(sites, chosen, 0.3):
        assert backbone.path == "trimmed"
        assert_both_ways(backbone, make_batch(backbone))


def test_a_trimmed_forward_steps_aside(tiny, monkeypatch):
    backbone = tiny("t5")
    with recording(sites_for(backbone), torch.zeros(4, 1, dtype=torch.long)):
        assert backbone.path.startswith("plain (a hook hangs on ")
        assert_both_ways(backbone, make_batch(backbone))
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    expected = with_gradient(backbone.reference_label_logits, prompt, batch)
    with backbone.recomputed():
        assert backbone.path == "plain (layers are recomputed)"
        found = with_gradient(backbone.label_logits, prompt, batch)
    for value, reference in zip(found, expected, strict=True):
        assert_close(value, reference)
    monkeypatch.setattr(backbone, "quantized", "4bit")
    assert backbone.path == "plain (its weights are quantised)"


def test_the_model_is_left_as_it_was_after_an_error(tiny, monkeypatch):
    backbone = tiny("t5")
    assert backbone.path == "trimmed"
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    monkeypatch.setattr("prompt_hub.backbones.trimmed_seq2seq._OverPositions.attend", lambda *parts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backbone.label_logits(prompt, batch, ONE_PIECE)
    stacks = (backbone.model, backbone.model.encoder, backbone.model.decoder)
    assert {stack.config._attn_implementation for stack in stacks} == {"sdpa"}
    assert not any("forward" in module.__dict__ for module in backbone.model.modules())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("MT5", {"d_kv": 8, "num_layers": 3, "num_heads": 4, "d_ff": 64, "decoder_start_token_id": 0}),
        ("MBart", {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}),
    ],
)
def test_other_models_run_trimmed(name, settings):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(vocab_size=99, d_model=32, pad_token_id=0, **settings)
    config.decoder_start_token_id = 0
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.15)
    backbone = Seq2SeqLM(name, model, None)
    assert backbone.path == "trimmed"
    assert_both_ways(backbone, make_batch(backbone))


def test_the_encoders_gelu_is_one_kernel(tiny, monkeypatch):
    backbone, rows = tiny("t5-v1.1"), []
    whole = NewGELUActivation.forward
    monkeypatch.setattr(
        NewGELUActivation, "forward", lambda self, values: rows.append(values.shape[1]) or whole(self, values)
    )
    batch = make_batch(backbone)
    with_gradient(backbone.label_logits, make_prompt(backbone), batch)
    with torch.no_grad():
        backbone.label_logits(make_prompt(backbone), batch, ONE_PIECE)
    assert rows and set(rows) == {1}, "the decoder's one step is left to the model"
