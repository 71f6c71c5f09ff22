"""Encoders compute what is read and no more: the numbers of the plain forward, or not at all."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import transformers
from test_families import LENGTHS, ONE_PIECE, SEVERAL_PIECES, assert_close, make_batch, make_prompt
from transformers.activations import NewGELUActivation

from prompt_hub.backbones import Batch, MixedPrompts, Placement, load_backbone
from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.backbones.packed_runs import NotPackable
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import recording, sites_for
from tiny_models import MASKED

PAPER = Placement(mask_in_prompt_row=True, prompt_positions="none")


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


@pytest.fixture
def bert(tiny):
    return tiny("bert")


@pytest.mark.parametrize("kind", MASKED)
def test_known_structures_run_trimmed(tiny, kind):
    assert tiny(kind).path == "trimmed"


@pytest.mark.parametrize("label_ids", [ONE_PIECE, SEVERAL_PIECES], ids=["one-piece", "several-pieces"])
@pytest.mark.parametrize("lengths", [(5,), (1,), (4, 4, 4), (1, 1), (13, 2, 7, 1, 3)], ids=str)
@pytest.mark.parametrize("kind", MASKED)
def test_logits_and_prompt_gradient_are_those_of_the_plain_forward(tiny, kind, lengths, label_ids):
    assert_both_ways(tiny(kind), make_batch(tiny(kind), lengths), label_ids=label_ids)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_papers_placement_too(tiny, kind):
    batch = replace(make_batch(tiny(kind)), placement=PAPER)
    assert_both_ways(tiny(kind), batch)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", MASKED)
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


@pytest.mark.parametrize("kind", MASKED)
def test_without_a_prompt_too(tiny, kind):
    backbone, batch = tiny(kind), make_batch(tiny(kind))
    with torch.inference_mode():
        found = backbone.label_logits(None, batch, ONE_PIECE)
        assert_close(found, backbone.reference_label_logits(None, batch, ONE_PIECE))


def test_half_precision_is_as_near_as_its_digits_allow():
    backbone, double = model_of("Bert"), model_of("Bert")
    backbone.model.bfloat16()
    double.model.double()
    assert backbone.path == double.path == "trimmed"
    batch, prompt = make_batch(double), make_prompt(double)
    expected = double.reference_label_logits(prompt, batch, ONE_PIECE)
    assert_close(double.label_logits(prompt, batch, ONE_PIECE), expected)
    assert_close(backbone.label_logits(prompt, batch, ONE_PIECE), expected, 0.1)


# -- how much is computed ------------------------------------------------------------------------------


def test_the_last_layer_answers_only_where_it_is_read(bert):
    assert bert.path == "trimmed"
    seen = []
    for site in sites_for(bert):

        def note(module, inputs):
            seen.append(tuple(inputs[0].shape[:2]))

        note.any_rows = True
        site.down.register_forward_pre_hook(note)
    try:
        bert.label_logits(make_prompt(bert), make_batch(bert), ONE_PIECE)
    finally:
        for site in sites_for(bert):
            site.down._forward_pre_hooks.clear()
    assert seen == [(len(LENGTHS), 5 + max(LENGTHS)), (len(LENGTHS), 1)]


def test_the_first_layer_maps_the_prompt_once_and_the_text_without_gradient(bert, monkeypatch):
    assert bert.path == "trimmed"
    seen = []
    value = bert.model.bert.encoder.layer[0].attention.self.value
    whole = value.forward
    monkeypatch.setattr(
        value, "forward", lambda rows: seen.append((tuple(rows.shape[:2]), rows.requires_grad)) or whole(rows)
    )
    bert.label_logits(make_prompt(bert).requires_grad_(), make_batch(bert), ONE_PIECE)
    assert seen == [((1, 5), True), ((len(LENGTHS), max(LENGTHS)), False)]
    seen.clear()
    prompts = torch.stack([make_prompt(bert, seed=seed) for seed in (1, 2)])
    bert.label_logits(MixedPrompts(prompts, torch.tensor([0, 1, 1, 0])), make_batch(bert), ONE_PIECE)
    assert [shape for shape, _ in seen] == [(len(LENGTHS), 5 + max(LENGTHS))]


# -- stepping aside ------------------------------------------------------------------------------------


def test_a_trimmed_forward_steps_aside_for_whoever_looks_at_rows(bert):
    with recording(sites_for(bert), torch.zeros(4, 1, dtype=torch.long)):
        assert bert.path.startswith("plain (a hook hangs on ")
        assert_both_ways(bert, make_batch(bert))
    seen = []
    layer = bert.model.bert.encoder.layer[-1]
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    try:
        bert.label_logits(make_prompt(bert), make_batch(bert), ONE_PIECE)
    finally:
        handle.remove()
    assert seen == [5 + max(LENGTHS)] and bert.path == "trimmed"


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [("quantized", "8bit", "its weights are quantised"), ("is_sharded", True, "the model is sharded")],
)
def test_and_for_weights_that_are_not_plain(bert, monkeypatch, attribute, value, reason):
    monkeypatch.setattr(bert, attribute, value)
    assert bert.path == f"plain ({reason})"


def test_and_for_a_model_in_train_mode_or_on_several_devices(bert, monkeypatch):
    monkeypatch.setattr(bert.model, "training", True)
    assert bert.path == "plain (the model is in train() mode)"
    monkeypatch.setattr(bert.model, "training", False)
    monkeypatch.setattr(bert.model, "hf_device_map", {"bert": 0, "cls": 1}, raising=False)
    assert bert.path == "plain (the model is spread over several devices)"


@pytest.mark.parametrize("kind", MASKED)
def test_held_neurons_are_held(tiny, kind):
    backbone = tiny(kind)
    sites = sites_for(backbone)
    chosen = torch.rand(len(sites), sites[0].width, generator=torch.Generator().manual_seed(0)) < 0.5
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    free = backbone.label_logits(prompt, batch, ONE_PIECE)
    with held_neurons(sites, chosen, 0.3):
        assert backbone.path == "trimmed"
        assert_both_ways(backbone, batch)
        assert (backbone.label_logits(prompt, batch, ONE_PIECE) - free).abs().max() > 1e-2


def test_an_attention_of_ones_own_is_left_alone():
    def halved(module, query, key, value, attention_mask, **named):
        return 0.5 * value.transpose(1, 2), None

    transformers.AttentionInterface.register("halved", halved)
    backbone = model_of("Bert")
    assert backbone.path == "trimmed"
    backbone.model.set_attn_implementation("halved")
    assert backbone.path == "plain (its attention is halved)"
    assert_both_ways(backbone, make_batch(backbone))


def test_a_model_whose_tokens_mix_before_attention_is_found_out():
    backbone = model_of("Bert")
    key = backbone.model.bert.encoder.layer[0].attention.self.query
    whole = key.forward
    key.forward = lambda rows: whole(rows + rows.mean(1, keepdim=True))
    assert backbone.path == "plain (a trimmed forward gives other numbers than the plain one)"


def test_the_model_is_left_as_it_was_after_an_error(bert, monkeypatch):
    assert bert.path == "trimmed"
    batch, prompt = make_batch(bert), make_prompt(bert)
    monkeypatch.setattr("prompt_hub.backbones.trimmed_encoder._rows_of", lambda *parts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bert.label_logits(prompt, batch, ONE_PIECE)
    assert bert.config._attn_implementation == "sdpa"
    assert not any("forward" in module.__dict__ for module in bert.model.modules())


def test_a_batch_that_cannot_be_trimmed_takes_the_ordinary_way(bert, monkeypatch):
    assert bert.path == "trimmed"

    def refuse(*parts):
        raise NotPackable("not this batch")

    monkeypatch.setattr("prompt_hub.backbones.trimmed_encoder._rows_of", refuse)
    assert_both_ways(bert, make_batch(bert))


# -- other architectures -------------------------------------------------------------------------------

SMALL = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, pad_token_id=0)


def model_of(name: str, **settings) -> MaskedLM:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(vocab_size=99, **(SMALL | settings))
    model = getattr(transformers, f"{name}ForMaskedLM")(config)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim > 1 or parameter_name.endswith("bias"):
                parameter.normal_(0, 0.15)
    return MaskedLM(name, model, SimpleNamespace(pad_token_id=0, mask_token_id=4))


@pytest.mark.parametrize(
    ("name", "settings", "path"),
    [
        ("Bert", {"num_hidden_layers": 1}, "trimmed"),
        ("Electra", {"embedding_size": 16}, "trimmed"),
        ("XLMRoberta", {}, "trimmed"),
        ("RobertaPreLayerNorm", {}, "trimmed"),
        ("ModernBert", {"global_attn_every_n_layers": 2}, "trimmed"),
        ("ModernBert", {"global_attn_every_n_layers": 5, "local_attention": 6}, "trimmed"),
        ("DebertaV2", {}, "plain (its attention cannot be exchanged)"),
        ("Albert", {"embedding_size": 16}, "plain (its list of layers was not found)"),
        ("MPNet", {}, "plain (its attention cannot be exchanged)"),
    ],
)
def test_other_models_run_trimmed_where_that_is_exact(name, settings, path):
    backbone = model_of(name, **settings)
    assert backbone.path == path
    for lengths in (LENGTHS, (4, 4, 4), (30, 9)):
        assert_both_ways(backbone, make_batch(backbone, lengths))


def test_a_text_may_be_read_at_several_positions(bert):
    batch = make_batch(bert, (5, 7))
    batch = Batch(batch.input_ids, batch.attention_mask, torch.tensor([[1, 2, 4], [6, 0, 3]]))
    prompt = make_prompt(bert)
    rows = torch.tensor([7, 8])
    found = bert._logits_at_mask(prompt, batch, rows)
    assert found.shape == (2, 3, 2)
    assert_close(found, bert._plain_logits(prompt, batch, rows))


def test_gelu_in_steps_is_one_kernel_also_where_layers_run_again(tiny_folder):
    backbone = load_backbone(tiny_folder("bert"))
    for layer in backbone.model.bert.encoder.layer:
        layer.intermediate.intermediate_act_fn = StepwiseGELU()
    batch = make_batch(backbone)
    assert backbone.path == "trimmed"
    assert_both_ways(backbone, batch)
    StepwiseGELU.calls = 0
    with_gradient(backbone.label_logits, make_prompt(backbone), batch)
    with backbone.recomputed():
        again = with_gradient(backbone.label_logits, make_prompt(backbone), batch)
    assert StepwiseGELU.calls == 0
    expected = with_gradient(backbone.reference_label_logits, make_prompt(backbone), batch)
    assert StepwiseGELU.calls > 0
    for value, reference in zip(again, expected, strict=True):
        assert_close(value, reference)


class StepwiseGELU(NewGELUActivation):
    calls = 0

    def forward(self, values):
        StepwiseGELU.calls += 1
        return super().forward(values)
