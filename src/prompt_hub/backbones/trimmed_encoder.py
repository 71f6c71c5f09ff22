"""An encoder's forward that computes only what its answer needs.

The layers are the model's own, as in ``packed_causal.py``; two of them work differently for the time of one
forward. The last computes keys and values of all positions, and all the rest at the read positions only. The
first maps the prompt once (``prompt_maps.py``).

Shape letters as in ``base.py``; here ``S`` counts prompt rows too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor

from prompt_hub.backbones.base import gather_rows
from prompt_hub.backbones.exchanged_attention import Attending, attending
from prompt_hub.backbones.packed_causal import activating, exchanged, layers_of
from prompt_hub.backbones.packed_runs import KeysKnown, NotPackable, until_keys
from prompt_hub.backbones.prompt_maps import PromptMaps
from prompt_hub.backbones.recomputing import run_again_in
from prompt_hub.backbones.tanh_gelu import tanh_gelus_of


class TrimmedEncoder:
    """Runs a transformers encoder so. Raises ``NotPackable`` for a model that cannot."""

    def __init__(self, model: Any, run: Callable[[], Any]) -> None:
        """run: any forward of the model."""
        if not getattr(model, "_supports_attention_backend", False):
            raise NotPackable("its attention cannot be exchanged")
        _, layers = layers_of(model)
        self.last = layers[-1]
        # In a model of one layer the first is the last, which runs twice.
        self.maps = PromptMaps(layers[0], run) if len(layers) > 1 else None
        self.activations = tanh_gelus_of(model)

    @contextmanager
    def running(self, read: Tensor, alike: int) -> Iterator[None]:
        """Inside the block the model's base answers with ``[B, M, H]`` instead of ``[B, S, H]``.

        read: ``[B, M]`` input positions. alike: how many rows at the start are the same in all rows of the
        batch; those behind them get no gradient. 0 where that is not known.
        """
        last = _LastLayer(self.last, self.last.forward, read)
        with ExitStack() as stack:
            stack.enter_context(exchanged(self.last, last.forward))
            stack.enter_context(activating(self.activations))
            stack.enter_context(run_again_in(partial(activating, self.activations)))
            if self.maps is not None:
                stack.enter_context(self.maps.once(alike))
            yield


class _LastLayer(Attending):
    """One forward of the last layer: as far as its keys for all positions, then whole where it is read."""

    def __init__(self, layer: Any, whole: Callable[..., Any], read: Tensor) -> None:
        self.layer = layer
        self.whole = whole
        self.read = read
        self.known: tuple[Tensor, Tensor, Tensor | None] | None = None

    def forward(self, hidden: Tensor, *inputs: Any, **named: Any) -> Any:
        length, read = hidden.shape[1], self.read

        def where_read(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(where_read, value))
            # Such as rotary embeddings; what is 4D is the mask, which is known by then.
            if isinstance(value, Tensor) and value.ndim == 3 and value.shape[1] == length:
                return gather_rows(value.expand(len(read), -1, -1), read)
            return value

        with attending(self.layer, self):
            until_keys(self.whole, hidden, *inputs, **named)
            narrow = {name: where_read(value) for name, value in named.items()}
            return self.whole(where_read(hidden), *map(where_read, inputs), **narrow)

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
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        if position_bias is not None:
            raise NotPackable("its attention takes a position bias")
        if self.known is None:
            self.known = key, value, mask
            raise KeysKnown
        key, value, mask = self.known
        mask = _rows_of(mask, self.read)
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scale, is_causal=False)[0]


def _rows_of(mask: Tensor | None, read: Tensor) -> Tensor | None:
    """``[B or 1, A or 1, S or 1, S]`` (bool or added to scores) at ``read`` ``[B, M]``."""
    if mask is None or mask.shape[2] == 1:
        return mask
    index = read[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3])
    return mask.expand(len(read), -1, -1, -1).gather(2, index)
