"""An encoder-decoder's forward for a decoder of a few steps.

A step asks the encoder's positions once, so keys and values of all of them are more than it needs: the
score of a query q at position x is q . (K x) = (K' q) . x, and the mixed values are V (sum of shares times
x). So the two maps run over the queries instead of over the positions (DeepSeek-AI 2024, "DeepSeek-V2",
absorbs them so). The encoder's first layer maps the prompt once (``prompt_maps.py``); T5 v1.1's activation
function there is one kernel (``tanh_gelu.py``). The layers stay the model's own.

Shape letters as in ``base.py``; here ``S`` counts prompt rows too, ``n`` decoder steps, ``A`` attention
heads, ``D`` head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.exchanged_attention import Attending, attending
from prompt_hub.backbones.packed_causal import activating, exchanged
from prompt_hub.backbones.packed_runs import NotPackable
from prompt_hub.backbones.prompt_maps import PromptMaps
from prompt_hub.backbones.recomputing import layer_stacks
from prompt_hub.backbones.tanh_gelu import tanh_gelus_of

MOST_STEPS = 8
"""Queries a row up to which mapping them costs less than mapping the positions (head width 32 and more)."""

_Cross = tuple[Any, nn.Linear, nn.Linear]
"""An attention over the encoder's output, with the maps of its keys and of its values."""


class TrimmedSeq2Seq:
    """Runs a transformers encoder-decoder so. Raises ``NotPackable`` for a model that cannot."""

    def __init__(self, model: Any, run: Callable[[], Any]) -> None:
        """run: any forward of encoder and decoder."""
        stacks = layer_stacks(model.get_encoder())
        if len(stacks) != 1:
            raise NotPackable("its encoder's list of layers was not found")
        self.maps = PromptMaps(stacks[0][0], run)
        self.crosses = _cross_attentions(model, run)
        self.activations = tanh_gelus_of(model.get_encoder())

    @contextmanager
    def encoding(self, alike: int) -> Iterator[None]:
        """alike: as ``PromptMaps.once`` takes it."""
        with activating(self.activations), self.maps.once(alike):
            yield

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Inside the block keys and values of the encoder's positions are not computed."""
        with ExitStack() as stack:
            for module, key, value in self.crosses:
                stack.enter_context(exchanged(module, _without_keys(module, key, value)))
            yield


def _cross_attentions(model: Any, run: Callable[[], Any]) -> list[_Cross]:
    """The decoder's modules with two linear maps of the encoder's output, keys first."""
    encoded: list[Any] = []
    found: list[nn.Linear] = []

    def noting(module: nn.Linear) -> Callable[[Tensor], Tensor]:
        whole = module.forward

        def forward(hidden: Tensor) -> Tensor:
            if any(hidden is known for known in encoded):
                found.append(module)
            return whole(hidden)

        return forward

    decoder = model.get_decoder()
    handle = model.get_encoder().register_forward_hook(lambda *parts: encoded.append(parts[2][0]))
    try:
        with ExitStack() as stack:
            for module in decoder.modules():
                if isinstance(module, nn.Linear):
                    stack.enter_context(exchanged(module, noting(module)))
            run()
    finally:
        handle.remove()
    pairs = [
        (parent, [part for part in found if part in set(parent.children())]) for parent in decoder.modules()
    ]
    crosses = [(parent, maps[0], maps[1]) for parent, maps in pairs if len(maps) == 2]
    if not crosses or 2 * len(crosses) != len(found):
        raise NotPackable("its attention over the encoder was not found")
    return crosses


def _without_keys(module: Any, key: nn.Linear, value: nn.Linear) -> Callable[..., Any]:
    whole = module.forward

    def forward(*inputs: Any, **named: Any) -> Any:
        run = _OverPositions(key, value)
        with ExitStack() as stack:
            stack.enter_context(exchanged(key, run.hold))
            stack.enter_context(exchanged(value, run.hold))
            stack.enter_context(attending(module, run))
            return whole(*inputs, **named)

    return forward


class _OverPositions(Attending):
    """Attention over the encoder's output itself, ``[B, S, H]``."""

    def __init__(self, key: nn.Linear, value: nn.Linear) -> None:
        self.key = key
        self.value = value
        self.encoded: Tensor | None = None

    def hold(self, encoded: Tensor) -> Tensor:
        """In place of keys or values: a number in their shape, which nobody reads."""
        self.encoded = encoded
        return encoded.new_zeros(1).expand(*encoded.shape[:-1], self.key.out_features)

    def attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float,
        position_bias: Tensor | None,
    ) -> Tensor:
        encoded, heads = self.encoded, query.shape[1]
        if encoded is None or key.shape[1] != heads or value.shape[1] != heads:
            raise NotPackable("its attention shares keys among heads")
        # A bias of the keys adds the same to the scores of all positions, which a softmax does not see.
        asked = torch.einsum("band,adh->banh", query * scale, self.key.weight.unflatten(0, (heads, -1)))
        scores = (asked.flatten(1, 2) @ encoded.transpose(1, 2)).unflatten(1, (heads, -1)).float()
        if position_bias is not None:
            scores = scores + position_bias
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        shares = scores.softmax(-1).to(encoded.dtype)
        mixed = (shares.flatten(1, 2) @ encoded).unflatten(1, (heads, -1))
        answer = torch.einsum("banh,adh->bnad", mixed, self.value.weight.unflatten(0, (heads, -1)))
        return answer if self.value.bias is None else answer + self.value.bias.unflatten(0, (heads, -1))
