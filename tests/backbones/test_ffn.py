"""Feed-forward neurons are found by what flows through a model, whatever its modules are called."""

from __future__ import annotations

import pytest
import transformers as hf
from torch import nn

from prompt_hub.backbones.causal_lm import CausalLM
from prompt_hub.backbones.ffn import find_sites, in_stack
from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.errors import UserError
from tiny_models import KINDS

SIZE = dict(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    max_position_embeddings=32,
)  # fmt: skip
IDS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)

# Down, before, activation of the first site, as the models' sources have them.
EXPECTED = {
    "bert": ("bert.encoder.layer.0.output.dense", "bert.encoder.layer.0.intermediate.dense", "GELU"),
    "distilbert": (
        "distilbert.transformer.layer.0.ffn.lin2", "distilbert.transformer.layer.0.ffn.lin1", "GELU"
    ),
    "roberta": ("roberta.encoder.layer.0.output.dense", "roberta.encoder.layer.0.intermediate.dense", "GELU"),
    "gpt2": ("transformer.h.0.mlp.c_proj", "transformer.h.0.mlp.c_fc", "NewGELU"),
    "opt": ("model.decoder.layers.0.fc2", "model.decoder.layers.0.fc1", "ReLU"),
    "llama": ("model.layers.0.mlp.down_proj", "model.layers.0.mlp.gate_proj", "SiLU"),
    "qwen2": ("model.layers.0.mlp.down_proj", "model.layers.0.mlp.gate_proj", "SiLU"),
    "t5": ("encoder.block.0.layer.1.DenseReluDense.wo", "encoder.block.0.layer.1.DenseReluDense.wi", "ReLU"),
    "t5-v1.1": (
        "encoder.block.0.layer.1.DenseReluDense.wo", "encoder.block.0.layer.1.DenseReluDense.wi_0", "NewGELU"
    ),
    "bart": ("model.encoder.layers.0.fc2", "model.encoder.layers.0.fc1", "GELU"),
}  # fmt: skip
GATED = ("llama", "qwen2", "t5-v1.1")


@pytest.mark.parametrize("kind", KINDS)
def test_the_sites_are_those_of_the_models_source(tiny, kind):
    backbone = tiny(kind)
    sites = find_sites(backbone)
    down, before, activation = EXPECTED[kind]
    assert (sites[0].down_name, sites[0].before_name) == (down, before)
    assert sites[0].activation_name.startswith(activation)
    stacks = {"masked_lm": ["encoder"], "causal_lm": ["decoder"]}.get(backbone.family, ["encoder", "decoder"])
    assert [(site.stack, site.layer) for site in sites] == [(stack, n) for stack in stacks for n in range(2)]
    assert {site.width for site in sites} == {128 if kind == "gpt2" else 64}
    assert {site.gated for site in sites} == {kind in GATED}


def masked(model) -> MaskedLM:
    return MaskedLM("tiny", model, None)


def causal(model) -> CausalLM:
    return CausalLM("tiny", model, None)


@pytest.mark.parametrize(
    ("build", "gated"),
    [
        (lambda: masked(hf.ModernBertForMaskedLM(hf.ModernBertConfig(**SIZE, **IDS, cls_token_id=1))), True),
        (lambda: masked(hf.ElectraForMaskedLM(hf.ElectraConfig(**SIZE, embedding_size=16))), False),
        (lambda: causal(hf.Phi3ForCausalLM(hf.Phi3Config(**SIZE, **IDS, num_key_value_heads=2))), True),
        (
            lambda: causal(hf.Gemma2ForCausalLM(hf.Gemma2Config(**SIZE, num_key_value_heads=2, head_dim=16))),
            True,
        ),
        (
            lambda: causal(hf.Qwen3ForCausalLM(hf.Qwen3Config(**SIZE, num_key_value_heads=2, head_dim=24))),
            True,
        ),
        (lambda: causal(hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SIZE))), False),
    ],
    ids=["modernbert", "electra", "phi3", "gemma2", "qwen3", "gpt-neox"],
)
def test_architectures_that_the_code_does_not_know_are_found_too(build, gated):
    """Fused gates (ModernBERT, Phi-3), attention wider than the model (Qwen3), attention beside it (NeoX)."""
    sites = find_sites(build())
    assert [site.layer for site in sites] == [0, 1]
    assert all(site.width == 48 and site.gated is gated for site in sites)


def test_sixteen_bit_weights_change_nothing_about_the_sites(tiny_folder):
    from prompt_hub.backbones import load_backbone

    for kind in ("roberta", "llama", "t5"):
        folder = str(tiny_folder(kind))
        names = [
            [site.to_dict() for site in find_sites(load_backbone(folder, device="cpu", dtype=dtype))]
            for dtype in ("float32", "bfloat16")
        ]
        assert names[0] == names[1]


def test_an_activation_function_that_is_no_module_comes_from_the_configuration():
    config = hf.BertConfig(**SIZE)
    backbone = masked(hf.BertForMaskedLM(config))
    for layer in backbone.model.bert.encoder.layer:
        del layer.intermediate.intermediate_act_fn
        layer.intermediate.__dict__["intermediate_act_fn"] = nn.functional.gelu
    assert [site.activation_name for site in find_sites(backbone)] == ["GELUActivation"] * 2


def test_an_architecture_without_such_layers_is_told_what_was_looked_for_and_how_to_name_them():
    config = hf.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2)
    with pytest.raises(UserError) as refusal:
        find_sites(causal(hf.MambaForCausalLM(config)))
    said = str(refusal.value)
    for part in ("mamba", "activation function", "--site DOWN", "backbone.layers.*.mixer.out_proj"):
        assert part in said


def test_layers_that_share_one_module_are_refused():
    config = hf.AlbertConfig(**SIZE, embedding_size=16)
    with pytest.raises(UserError, match="share one feed-forward module"):
        find_sites(masked(hf.AlbertForMaskedLM(config)))


def test_sites_can_be_named_by_hand(tiny):
    backbone = tiny("llama")
    found = find_sites(backbone)
    by_hand = find_sites(backbone, "model.layers.*.mlp.down_proj, layers.*.mlp.gate_proj")
    assert [site.down for site in by_hand] == [site.down for site in found]
    assert [site.before for site in by_hand] == [site.before for site in found]
    assert {site.gated for site in by_hand} == {None}
    assert [site.before for site in find_sites(backbone, "layers.*.mlp.down_proj")] == [None, None]


@pytest.mark.parametrize(
    ("by_hand", "says"),
    [
        ("mlp.down_proj", r"is not DOWN or DOWN,BEFORE with a \*"),
        ("layers.*.down,", r"is not DOWN or DOWN,BEFORE"),
        ("layers.*.down_project", r"called 'layers.\*.down_project'.*model.layers.\*.mlp.down_proj"),
        ("layers.*.mlp.down_proj,layers.*.mlp.gate", r"called 'layers.\*.mlp.gate'"),
        ("layers.*.mlp.down_proj,layers.*.self_attn.q_proj", r"gives 32 numbers, but 64 enter"),
        ("layers.*.mlp.down_proj,layers.0*.mlp.up_proj", r"called 'layers.0\*"),
    ],
)
def test_a_name_that_fits_nothing_is_refused(tiny, by_hand, says):
    with pytest.raises(UserError, match=says):
        find_sites(tiny("llama"), by_hand)


def test_a_stack_of_different_widths_is_refused(tiny):
    wide = [*find_sites(tiny("gpt2")), *find_sites(tiny("llama"))]
    with pytest.raises(UserError, match=r"different widths \(64, 128\)"):
        in_stack(wide, "decoder")


def test_looking_leaves_no_hook_behind(tiny):
    backbone = tiny("opt")
    find_sites(backbone, "layers.*.fc2")
    assert not any(module._forward_hooks for module in backbone.model.modules())
