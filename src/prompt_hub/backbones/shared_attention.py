"""Attention of many texts over one prompt that they share, and each over itself.

The prompt's keys exist once: they are never copied to every row. Over the prompt all tokens of a batch are
one long list of queries; over its own text each row attends alone; the two are merged by the logarithms of
their softmax denominators, which gives exactly the softmax over both.

Shape letters as in ``base.py``; ``N`` real tokens of a batch, ``A`` attention heads, ``K`` key/value heads (A
is a multiple of K), ``D`` head width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prompt_hub.backbones.packing import Packing

# Behind F.scaled_dot_product_attention on a CPU; only these give the logarithm of the denominator.
_flash: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_flash_backward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)


def prompt_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Causal attention of a prompt, or each of several, over itself: ``[..., P, A, D]``.

    query: ``[..., P, A, D]``. key, value: ``[..., P, K, D]``.
    """
    groups = query.shape[-2] // key.shape[-2]
    query, key, value = (_by_head(part) for part in (query, _repeated(key, groups), _repeated(value, groups)))
    return _by_head(F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale))


def text_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prompt_key: Tensor | None,
    prompt_value: Tensor | None,
    packing: Packing,
    scale: float,
) -> Tensor:
    """Each token over the prompt and over its own text up to itself: ``[N, A, D]``.

    query: ``[N, A, D]``. key, value: ``[N, K, D]``. prompt_key, prompt_value: ``[P, K, D]``, of every row its
    own ``[B, P, K, D]``, or None.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = _repeated(key, groups), _repeated(value, groups)
    if prompt_key is not None and prompt_value is not None:
        prompt_key, prompt_value = _repeated(prompt_key, groups), _repeated(prompt_value, groups)
    shared = prompt_key is None or prompt_key.ndim == 3
    if shared and query.device.type == "cpu" and _flash is not None and _flash_backward is not None:
        return _Merged.apply(query, key, value, prompt_key, prompt_value, packing, scale)
    return _joined(query, key, value, prompt_key, prompt_value, packing, scale)


def read_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prompt_key: Tensor | None,
    prompt_value: Tensor | None,
    allowed: Tensor,
    scale: float,
) -> Tensor:
    """A few queries a row, over the prompt and over what of its text each may see: ``[B, M, A, D]``.

    query: ``[B, M, A, D]``. key, value: ``[B, S, K, D]``. prompt_key, prompt_value: ``[P, K, D]``, of every
    row its own ``[B, P, K, D]``, or None. allowed: ``[B, M, S]`` bool.
    """
    if prompt_key is not None and prompt_value is not None and prompt_key.ndim == 4:
        key, value = torch.cat([prompt_key, key], 1), torch.cat([prompt_value, value], 1)
        allowed = F.pad(allowed, (prompt_key.shape[1], 0), value=True)
        prompt_key = prompt_value = None
    batch, reads, heads, width = query.shape
    shared = key.shape[2]
    groups = heads // shared
    # [K, B, M * groups, D]: over the prompt all rows are one list of queries.
    query = query.reshape(batch, reads, shared, groups, width).permute(2, 0, 1, 3, 4)
    query = query.reshape(shared, batch, reads * groups, width) * scale
    scores = query @ key.permute(2, 0, 3, 1)
    hidden = ~allowed.repeat_interleave(groups, 1)
    scores = scores.masked_fill(hidden, float("-inf"))
    if prompt_key is None or prompt_value is None:
        mixed = scores.float().softmax(-1).to(value.dtype) @ value.permute(2, 0, 1, 3)
    else:
        flat = query.reshape(shared, -1, width)
        length = prompt_key.shape[0]
        over_prompt = (flat @ prompt_key.permute(1, 2, 0)).view(shared, batch, -1, length)
        shares = torch.cat([over_prompt, scores], -1).float().softmax(-1).to(value.dtype)
        of_prompt = shares[..., :length].reshape(shared, -1, length) @ prompt_value.transpose(0, 1)
        mixed = shares[..., length:] @ value.permute(2, 0, 1, 3) + of_prompt.view(query.shape)
    mixed = mixed.reshape(shared, batch, reads, groups, width).permute(1, 2, 0, 3, 4)
    return mixed.reshape(batch, reads, heads, width)


def _repeated(tensor: Tensor, groups: int) -> Tensor:
    """``[..., K, D]`` to ``[..., K * groups, D]``, each head as often as query heads share it."""
    return tensor if groups == 1 else tensor.repeat_interleave(groups, -2)


def _joined(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prompt_key: Tensor | None,
    prompt_value: Tensor | None,
    packing: Packing,
    scale: float,
) -> Tensor:
    """``text_attention`` by the kernel that torch chooses, the prompt's keys in front of every row's."""
    keys, values = packing.pad(key), packing.pad(value)
    causal = torch.ones(packing.width, packing.width, dtype=torch.bool, device=query.device).tril()
    if prompt_key is not None and prompt_value is not None:
        keys = torch.cat([prompt_key.expand(packing.rows, -1, -1, -1), keys], 1)
        values = torch.cat([prompt_value.expand(packing.rows, -1, -1, -1), values], 1)
        causal = F.pad(causal, (prompt_key.shape[-3], 0), value=True)
    query, keys, values = (_by_head(part) for part in (packing.pad(query), keys, values))
    mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=causal, scale=scale)
    return packing.pack(mixed.transpose(1, 2))


class _Merged(torch.autograd.Function):
    """``text_attention`` with torch's CPU kernel for each part.

    The kernel gives the logarithm of each softmax denominator with its output. Given the merged output and
    the merged logarithm, its backward gives each part's share of the gradient of the whole, as in ring
    attention (Liu et al. 2023, "Ring Attention with Blockwise Transformers").
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prompt_key: Tensor | None,
        prompt_value: Tensor | None,
        packing: Packing,
        scale: float,
    ) -> Tensor:
        padded = [_by_head(packing.pad(part)) for part in (query, key, value)]
        own, own_log = _flash(*padded, 0.0, True, scale=scale)
        mixed = packing.pack(own.transpose(1, 2))
        log = packing.pack(own_log.transpose(1, 2))  # [N, A]
        if prompt_key is not None and prompt_value is not None:
            parts = [_by_head(part[None]) for part in (query, prompt_key, prompt_value)]
            shared, shared_log = _flash(*parts, 0.0, False, scale=scale)
            shared, shared_log = shared[0].transpose(0, 1), shared_log[0].transpose(0, 1)
            weight = torch.sigmoid(shared_log - log)
            mixed = torch.lerp(mixed, shared, weight.unsqueeze(-1).to(mixed.dtype))
            log = torch.logaddexp(log, shared_log)
        ctx.save_for_backward(query, key, value, prompt_key, prompt_value, mixed, log)
        ctx.packing, ctx.scale = packing, scale
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, prompt_key, prompt_value, mixed, log = ctx.saved_tensors
        packing: Packing = ctx.packing
        gradient = gradients[0].contiguous()
        of_query = of_key = of_value = of_prompt_key = of_prompt_value = None
        if prompt_key is not None:
            parts = [_by_head(part[None]) for part in (gradient, query, prompt_key, prompt_value, mixed)]
            found = _flash_backward(*parts, _logs_by_head(log[None]), 0.0, False, scale=ctx.scale)
            of_query, of_prompt_key, of_prompt_value = (part[0].transpose(0, 1) for part in found)
        if any(ctx.needs_input_grad[:3]):
            padded = packing.pad(gradient)
            if not packing.is_full:
                padded = padded * packing.real[..., None, None]
            parts = [_by_head(part) for part in (padded, *map(packing.pad, (query, key, value, mixed)))]
            found = _flash_backward(*parts, _logs_by_head(packing.pad(log)), 0.0, True, scale=ctx.scale)
            own_query, of_key, of_value = (packing.pack(part.transpose(1, 2)) for part in found)
            of_query = own_query if of_query is None else of_query + own_query
        return of_query, of_key, of_value, of_prompt_key, of_prompt_value, None, None


def _by_head(tensor: Tensor) -> Tensor:
    """``[B, S, A, D]`` to ``[B, A, S, D]``, the view that the kernel takes, and back."""
    return tensor.transpose(-3, -2)


def _logs_by_head(log: Tensor) -> Tensor:
    """``[B, S, A]`` to ``[B, A, S]`` in memory of its own, as the kernel reads it."""
    return log.transpose(1, 2).contiguous()
