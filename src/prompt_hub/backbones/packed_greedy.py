"""Greedy continuation of packed texts: the prompt's keys are shared, rows that have ended are left out.

Shape letters as in ``base.py``; ``K`` key/value heads, ``D`` head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.packed_causal import PackedCausal
from prompt_hub.backbones.packed_runs import Keys, length_of
from prompt_hub.backbones.packing import Packing

_HARMLESS = {
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "max_length",
    "max_new_tokens",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "transformers_version",
    "_from_model_config",
}
"""Settings of ``generate`` that greedy search under given ends does not look at."""


def is_plain_greedy(model: Any) -> bool:
    """Whether the model's own settings leave greedy search as it is (no penalties, no forced tokens)."""
    settings = getattr(model, "generation_config", None)
    return settings is None or not set(settings.to_diff_dict()) - _HARMLESS


def greedy(
    packed: PackedCausal,
    embed: Callable[[Tensor], Tensor],
    ids: Tensor,
    attention_mask: Tensor,
    keys: Keys | None,
    max_new_tokens: int,
    end: int,
) -> list[list[int]]:
    """At most ``max_new_tokens`` ids for each row of ``ids`` ``[B, S]``, up to and without the id ``end``.

    embed: ids ``[1, n]`` to ``[1, n, H]``. keys: of the prompt, or None.
    """
    packing = Packing.of(attention_mask)
    kept: list[tuple[Tensor, Tensor]] = []
    texts = embed(packing.pack(ids)[None])[0]
    logits = packed.logits(texts, packing, packing.lengths[:, None] - 1, None, keys, kept=kept)[:, 0]
    past = [
        (_with_room(packing.pad(key), max_new_tokens), _with_room(packing.pad(value), max_new_tokens))
        for key, value in kept
    ]
    lengths, before = packing.lengths, length_of(keys)
    written: list[list[int]] = [[] for _ in range(packing.rows)]
    rows, ended = list(range(packing.rows)), set[int]()
    for step in range(max_new_tokens):
        chosen = logits.float().argmax(-1)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if token == end:
                ended.add(row)
            elif row not in ended:
                written[row].append(token)
        going = [place for place, row in enumerate(rows) if row not in ended]
        if not going or step == max_new_tokens - 1:
            break
        if 2 * len(going) <= len(rows):
            # Copying what the rows that go on remember pays once half of them have ended.
            places = torch.tensor(going, device=ids.device)
            past = [(key[places], value[places]) for key, value in past]
            chosen, lengths = chosen[places], lengths[places]
            rows = [rows[place] for place in going]
        slots = lengths + step
        tokens = embed(chosen[None])[0]
        logits = packed.next_logits(tokens, slots + before, keys, past, slots, packing.width + step + 1)
    return written


def _with_room(padded: Tensor, more: int) -> Tensor:
    """``[B, S, K, D]`` to ``[B, S + more, K, D]``, with zeros: what is not seen still must be a number."""
    return torch.cat([padded, padded.new_zeros(len(padded), more, *padded.shape[2:])], 1)
