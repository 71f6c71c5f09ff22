"""Forwards of every tiny architecture written out with weights alone, for one row without padding.

``forward(kind, model, embeddings)`` gives what the feed-forward layers hold: one ``(before, gate, after)`` of
``[S, F]`` a layer (encoder layers first, then the decoder's on its start tokens).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Layer = tuple[Tensor, Tensor, Tensor]


def linear(x: Tensor, module) -> Tensor:
    if module.__class__.__name__ == "Conv1D":
        return x @ module.weight + module.bias
    return F.linear(x, module.weight, module.bias)


def norm(x: Tensor, module) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], module.weight, module.bias, module.eps)


def rms(x: Tensor, module) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon).sqrt() * module.weight


def new_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def heads(x: Tensor, width: int) -> Tensor:
    return x.reshape(len(x), -1, width).transpose(0, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool = False, bias: Tensor | None = None):
    """``[heads, S, width]`` each (fewer heads of k and v are shared) to ``[S, heads * width]``."""
    share = len(q) // len(k)
    k, v = k.repeat_interleave(share, 0), v.repeat_interleave(share, 0)
    scores = q @ k.transpose(1, 2) * scale
    if bias is not None:
        scores = scores + bias
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[1:], dtype=torch.bool).triu(1), -torch.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1).reshape(q.shape[1], -1)


def rotated(x: Tensor, theta: float) -> Tensor:
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1])[:, None] / theta ** (torch.arange(half)[None] / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1
    )


def bert(model, x: Tensor, position_offset: int = 0) -> list[Layer]:
    """BERT and RoBERTa."""
    base = getattr(model, model.base_model_prefix)
    at = torch.arange(len(x)) + position_offset
    embeddings = base.embeddings
    x = x + embeddings.position_embeddings.weight[at] + embeddings.token_type_embeddings.weight[0]
    x = norm(x, embeddings.LayerNorm)
    layers = []
    for block in base.encoder.layer:
        own = block.attention.self
        q, k, v = (heads(linear(x, part), 8) for part in (own.query, own.key, own.value))
        mixed = linear(attend(q, k, v, 8**-0.5), block.attention.output.dense)
        x = norm(x + mixed, block.attention.output.LayerNorm)
        before = linear(x, block.intermediate.dense)
        after = F.gelu(before)
        layers.append((before, after, after))
        x = norm(x + linear(after, block.output.dense), block.output.LayerNorm)
    return layers


def distilbert(model, x: Tensor) -> list[Layer]:
    base = model.distilbert
    x = norm(x + base.embeddings.position_embeddings.weight[: len(x)], base.embeddings.LayerNorm)
    layers = []
    for block in base.transformer.layer:
        own = block.attention
        q, k, v = (heads(linear(x, part), 8) for part in (own.q_lin, own.k_lin, own.v_lin))
        x = norm(x + linear(attend(q, k, v, 8**-0.5), own.out_lin), block.sa_layer_norm)
        before = linear(x, block.ffn.lin1)
        after = F.gelu(before)
        layers.append((before, after, after))
        x = norm(x + linear(after, block.ffn.lin2), block.output_layer_norm)
    return layers


def gpt2(model, x: Tensor) -> list[Layer]:
    base = model.transformer
    x = x + base.wpe.weight[: len(x)]
    layers = []
    for block in base.h:
        q, k, v = (heads(part, 8) for part in linear(norm(x, block.ln_1), block.attn.c_attn).chunk(3, -1))
        x = x + linear(attend(q, k, v, 8**-0.5, causal=True), block.attn.c_proj)
        before = linear(norm(x, block.ln_2), block.mlp.c_fc)
        after = new_gelu(before)
        layers.append((before, after, after))
        x = x + linear(after, block.mlp.c_proj)
    return layers


def opt(model, x: Tensor) -> list[Layer]:
    base = model.model.decoder
    x = x + base.embed_positions.weight[torch.arange(len(x)) + 2]
    layers = []
    for block in base.layers:
        own, y = block.self_attn, norm(x, block.self_attn_layer_norm)
        q, k, v = (heads(linear(y, part), 8) for part in (own.q_proj, own.k_proj, own.v_proj))
        x = x + linear(attend(q, k, v, 8**-0.5, causal=True), own.out_proj)
        before = linear(norm(x, block.final_layer_norm), block.fc1)
        after = before.clamp(min=0)
        layers.append((before, after, after))
        x = x + linear(after, block.fc2)
    return layers


def llama(model, x: Tensor) -> list[Layer]:
    """Llama and Qwen2: grouped heads, rotary positions, a gated feed-forward layer."""
    theta = model.config.rope_parameters["rope_theta"]
    layers = []
    for block in model.model.layers:
        own, y = block.self_attn, rms(x, block.input_layernorm)
        q, k, v = (heads(linear(y, part), 8) for part in (own.q_proj, own.k_proj, own.v_proj))
        x = x + linear(attend(rotated(q, theta), rotated(k, theta), v, 8**-0.5, causal=True), own.o_proj)
        y = rms(x, block.post_attention_layernorm)
        before = linear(y, block.mlp.gate_proj)
        gate = before * torch.sigmoid(before)
        after = gate * linear(y, block.mlp.up_proj)
        layers.append((before, gate, after))
        x = x + linear(after, block.mlp.down_proj)
    return layers


def t5_feed_forward(block, x: Tensor) -> tuple[Layer, Tensor]:
    dense, y = block.layer[-1].DenseReluDense, rms(x, block.layer[-1].layer_norm)
    if hasattr(dense, "wi_0"):
        before = linear(y, dense.wi_0)
        gate = new_gelu(before)
        after = gate * linear(y, dense.wi_1)
    else:
        before = linear(y, dense.wi)
        gate = after = before.clamp(min=0)
    return (before, gate, after), x + linear(after, dense.wo)


def t5(model, x: Tensor) -> list[Layer]:
    """T5 1.0 and v1.1, for at most 8 positions: up to there every distance has a bucket of its own."""
    assert len(x) <= 8
    distance = torch.arange(len(x))[None] - torch.arange(len(x))[:, None]
    bucket = torch.where(distance > 0, 16, 0) + distance.abs()
    bias = (
        model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight[bucket].permute(2, 0, 1)
    )
    layers = []
    for block in model.encoder.block:
        own, y = block.layer[0].SelfAttention, rms(x, block.layer[0].layer_norm)
        q, k, v = (heads(linear(y, part), 8) for part in (own.q, own.k, own.v))
        x = x + linear(attend(q, k, v, 1.0, bias=bias), own.o)
        found, x = t5_feed_forward(block, x)
        layers.append(found)
    encoded = rms(x, model.encoder.final_layer_norm)
    y = model.shared.weight[[model.config.decoder_start_token_id]]
    for block in model.decoder.block:
        # One position attends to itself alone.
        own = block.layer[0].SelfAttention
        y = y + linear(linear(rms(y, block.layer[0].layer_norm), own.v), own.o)
        cross = block.layer[1].EncDecAttention
        q = heads(linear(rms(y, block.layer[1].layer_norm), cross.q), 8)
        k, v = heads(linear(encoded, cross.k), 8), heads(linear(encoded, cross.v), 8)
        y = y + linear(attend(q, k, v, 1.0), cross.o)
        found, y = t5_feed_forward(block, y)
        layers.append(found)
    return layers


def bart(model, x: Tensor) -> list[Layer]:
    """Post-norm; positions count from 2. The decoder holds its start token and the forced first one."""
    base, layers = model.model, []
    scale = model.config.d_model**0.5

    def embedded(stack, values: Tensor) -> Tensor:
        places = torch.arange(len(values)) + 2
        return norm(values + stack.embed_positions.weight[places], stack.layernorm_embedding)

    def attention(own, query: Tensor, other: Tensor, causal: bool = False) -> Tensor:
        q, k, v = (
            heads(linear(given, part), 8)
            for given, part in ((query, own.q_proj), (other, own.k_proj), (other, own.v_proj))
        )
        return linear(attend(q, k, v, 8**-0.5, causal), own.out_proj)

    def feed_forward(block, values: Tensor) -> Tensor:
        before = linear(values, block.fc1)
        after = F.gelu(before)
        layers.append((before, after, after))
        return norm(values + linear(after, block.fc2), block.final_layer_norm)

    x = embedded(base.encoder, x)
    for block in base.encoder.layers:
        x = norm(x + attention(block.self_attn, x, x), block.self_attn_layer_norm)
        x = feed_forward(block, x)
    start = [model.config.decoder_start_token_id, model.generation_config.forced_bos_token_id]
    y = embedded(base.decoder, base.shared.weight[start] * scale)
    for block in base.decoder.layers:
        y = norm(y + attention(block.self_attn, y, y, causal=True), block.self_attn_layer_norm)
        y = norm(y + attention(block.encoder_attn, y, x), block.encoder_attn_layer_norm)
        y = feed_forward(block, y)
    return layers


@torch.no_grad()
def forward(kind: str, model, embeddings: Tensor) -> list[Layer]:
    """``embeddings [S, H]``: prompt rows and embedded tokens, before positions are added."""
    if kind == "roberta":
        return bert(model, embeddings, position_offset=model.config.pad_token_id + 1)
    by_kind = {"bert": bert, "distilbert": distilbert, "gpt2": gpt2, "opt": opt, "llama": llama,
               "qwen2": llama, "t5": t5, "t5-v1.1": t5, "bart": bart}  # fmt: skip
    return by_kind[kind](model, embeddings)
