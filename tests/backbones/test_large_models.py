"""Backbones that are spread over devices or whose weights are quantised."""

from __future__ import annotations

import importlib.util
from importlib.util import find_spec

import pytest
import torch
from test_families import ONE_PIECE, assert_close, make_batch, make_prompt

from prompt_hub.backbones import load_backbone
from prompt_hub.errors import UserError
from tiny_models import build

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (extra quantization)"
)

MAPS = {
    "gpt2": {
        "transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.h.0": "cpu",
        "transformer.h.1": "disk", "transformer.ln_f": "cpu", "lm_head": "cpu",
    },
    "llama": {
        "model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.layers.0": "disk",
        "model.layers.1": "cpu", "model.norm": "disk", "lm_head": "disk",
    },
    "roberta": {
        "roberta.embeddings": "cpu", "roberta.encoder.layer.0": "disk", "roberta.encoder.layer.1": "cpu",
        "lm_head": "cpu",
    },
    "t5-v1.1": {
        "shared": "cpu", "encoder.embed_tokens": "cpu", "decoder.embed_tokens": "cpu",
        "encoder.block.0": "disk", "encoder.block.1": "cpu", "encoder.final_layer_norm": "cpu",
        "decoder.block.0": "cpu", "decoder.block.1": "disk", "decoder.final_layer_norm": "cpu",
        "lm_head": "disk",
    },
}  # fmt: skip


def logits_and_gradient(backbone, prompt, batch):
    prompt = prompt.clone().requires_grad_()
    logits = backbone.label_logits(prompt, batch, ONE_PIECE)
    (gradient,) = torch.autograd.grad(logits.square().sum(), prompt)
    return logits.detach(), gradient


@pytest.mark.parametrize("kind", MAPS)
def test_a_device_map_changes_no_number(tiny, tiny_folder, kind):
    """Layers whose weights lie on the disk, the head among them where it is not tied."""
    whole = tiny(kind)
    spread = load_backbone(str(tiny_folder(kind)), device=MAPS[kind], dtype="float32")
    assert any(parameter.device.type == "meta" for parameter in spread.model.parameters())
    assert spread.identity.embedding_hash == whole.identity.embedding_hash
    batch, prompt = make_batch(whole), make_prompt(whole)
    expected = logits_and_gradient(whole, prompt, batch)
    for found in (
        logits_and_gradient(spread, prompt, batch),
        recomputed(spread, prompt, batch),
    ):
        assert_close(found[0], expected[0])
        assert_close(found[1], expected[1], 2e-5)


def recomputed(backbone, prompt, batch):
    with backbone.recomputed():
        return logits_and_gradient(backbone, prompt, batch)


def test_balanced_takes_the_devices_there_are(tiny, tiny_folder):
    spread = load_backbone(str(tiny_folder("gpt2")), device="balanced", dtype="float32")
    batch, prompt = make_batch(spread), make_prompt(spread)
    expected = tiny("gpt2").label_logits(prompt, batch, ONE_PIECE)
    assert_close(spread.label_logits(prompt, batch.to(spread.device), ONE_PIECE).cpu(), expected, 1e-4)


def test_embeddings_on_the_disk_are_refused(tiny_folder):
    everything = {"model": "disk", "lm_head": "disk"}
    with pytest.raises(UserError, match="would not stay on a device"):
        load_backbone(str(tiny_folder("llama")), device=everything, dtype="float32")


def test_float16_is_refused_where_the_embeddings_could_not_be_told(tiny_folder):
    with pytest.raises(UserError, match="--dtype bfloat16"):
        load_backbone(str(tiny_folder("gpt2")), device="balanced", dtype="float16")


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_without_the_package_the_message_says_what_to_install(tiny_folder, monkeypatch, bits):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )
    with pytest.raises(UserError, match=rf"--dtype {bits} needs.*pip install 'prompt-hub\[quantization\]'"):
        load_backbone(str(tiny_folder("gpt2")), dtype=bits)


def nearest_nf4(weight: torch.Tensor, block: int = 64) -> torch.Tensor:
    """Each number as the nearest of the 16 levels of NF4 (Dettmers et al. 2023, appendix E), by blocks."""
    levels = torch.tensor(
        [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0,
         0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]
    )  # fmt: skip
    rows = weight.reshape(-1, block)
    size = rows.abs().amax(1, keepdim=True)
    nearest = ((rows / size)[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * size).reshape(weight.shape)


@needs_bitsandbytes
def test_4bit_computes_with_weights_rounded_to_nf4(tmp_path):
    """The plain model whose weights were rounded by hand gives the same logits and gradient."""
    folder = str(build("llama", tmp_path / "llama", width=64))
    quantized = load_backbone(folder, device="cpu", dtype="4bit")
    whole, rounded = (load_backbone(folder, device="cpu", dtype="float32") for _ in "ab")
    for name, module in rounded.model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            module.weight.data = nearest_nf4(module.weight.data)
    assert quantized.precision == "4bit" and quantized.dtype == torch.float32
    assert quantized.identity.embedding_hash == rounded.identity.embedding_hash
    batch, prompt = make_batch(rounded), make_prompt(rounded)
    expected = logits_and_gradient(rounded, prompt, batch)
    with torch.no_grad():
        # bitsandbytes changes the weights for inference after such a forward; gradients must survive it.
        quantized.label_logits(prompt, batch, ONE_PIECE)
    found = logits_and_gradient(quantized, prompt, batch)
    unrounded = logits_and_gradient(whole, prompt, batch)
    for value, reference, far in zip(found, expected, unrounded, strict=True):
        assert_close(value, reference, 1e-4)
        assert (value - far).abs().max() > 0.02 * far.abs().max()


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["roberta", "t5", "llama"])
def test_8bit_is_near_the_whole_weights_and_gives_gradients(tiny, tiny_folder, kind):
    whole = tiny(kind)
    quantized = load_backbone(str(tiny_folder(kind)), device="cpu", dtype="8bit")
    assert any(parameter.dtype == torch.int8 for parameter in quantized.model.parameters())
    batch, prompt = make_batch(whole), make_prompt(whole)
    expected = logits_and_gradient(whole, prompt, batch)
    found = logits_and_gradient(quantized, prompt, batch)
    assert_close(found[0], expected[0], 0.1)
    cosine = torch.nn.functional.cosine_similarity(found[1].flatten(), expected[1].flatten(), 0)
    assert cosine > 0.95
