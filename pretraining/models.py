"""Fresh models of the four kinds, set up so that one core trains them quickly."""

from __future__ import annotations

import math

import torch
from recipe import POSITIONS, Recipe
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AttentionInterface,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.pytorch_utils import Conv1D

LINEAR_GAIN = 0.7
"""Linear layers start at N(0, gain² / fan-in); the usual fixed 0.02 is too small for widths of about 100."""


def plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, is_causal: bool | None = None, **_: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """SDPA in float32 inside bfloat16 autocast: ``[B, heads, N, d]`` each, the result ``[B, N, heads, d]``.

    On a CPU the bfloat16 kernel is ten times slower than this for lengths that 32 does not divide.
    """
    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    with torch.autocast(query.device.type, enabled=False):
        output = scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attention_mask, scale=scaling,
            is_causal=causal and attention_mask is None and query.shape[2] > 1,
        )  # fmt: skip
    return output.transpose(1, 2), None


AttentionInterface.register("plain", plain_attention)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A model of the recipe's kind with starting weights drawn by the recipe's seed; no dropout anywhere."""
    torch.manual_seed(recipe.seed)
    size = dict(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    encoder = dict(
        hidden_size=recipe.width, num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads,
        intermediate_size=recipe.inner, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    if recipe.kind == "roberta":
        # RoBERTa counts positions from padding's id + 1.
        config = RobertaConfig(
            **size, **encoder, max_position_embeddings=POSITIONS + tokenizer.pad_token_id + 1,
            type_vocab_size=1, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        model: PreTrainedModel = RobertaForMaskedLM(config)
    elif recipe.kind == "bert":
        model = BertForMaskedLM(BertConfig(**size, **encoder, max_position_embeddings=POSITIONS))
    elif recipe.kind == "gpt2":
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=POSITIONS, n_embd=recipe.width, n_layer=recipe.layers,
            n_head=recipe.heads, n_inner=recipe.inner, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        model = GPT2LMHeadModel(config)
    else:
        config = T5Config(
            **size, d_model=recipe.width, d_kv=recipe.width // recipe.heads, d_ff=recipe.inner,
            num_layers=recipe.layers, num_decoder_layers=recipe.decoder_layers, num_heads=recipe.heads,
            feed_forward_proj="gated-gelu", dropout_rate=0.0, eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        model = T5ForConditionalGeneration(config)
        # Its position bias keeps SDPA off the fast paths; plain matrix products are quicker here.
        model.set_attn_implementation("eager")
    if recipe.kind != "t5":
        model.set_attn_implementation("plain")
        scale_linear_layers(model)
        for name, module in model.named_modules():
            if name.endswith(("position_embeddings", "wpe")):
                start_with_waves(module, module.padding_idx)
    return model.train()


@torch.no_grad()
def scale_linear_layers(model: nn.Module) -> None:
    """Draw every linear layer's weights from N(0, ``LINEAR_GAIN``² / fan-in); tied heads keep theirs."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, (nn.Linear, Conv1D)) and id(module.weight) not in embeddings:
            fan_in = module.weight.shape[0 if isinstance(module, Conv1D) else 1]
            module.weight.normal_(0, LINEAR_GAIN / math.sqrt(fan_in))


@torch.no_grad()
def start_with_waves(embedding: nn.Embedding, padding: int | None) -> None:
    """Sines and cosines (Vaswani et al. 2017, section 3.5) at the standard deviation the weights have.

    From random position embeddings these small models stay at the unigram loss for a long time.
    """
    count, width = embedding.weight.shape
    first = 0 if padding is None else padding + 1
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(count - first)[:, None] * rates
    waves = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
    spread = embedding.weight[first:].std()
    embedding.weight[first:] = waves * (spread / waves.std())
