"""An encoder's forward that computes only what its answer needs.

The layers are the model's own, as in ``packed_causal.py``; two of them work differently for the time of one
forward. The last computes keys and values of all positions, and all the rest at the read positions only. The
first maps prompt rows that are alike in all rows of the batch to queries, keys and values once, and its
backward goes no further than the prompt: text embeddings are frozen.

Shape letters as in ``base.py``; here ``S`` counts prompt rows too. ``A`` attention heads, ``D`` head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.base import gather_rows
from prompt_hub.backbones.packed_causal import exchanged, layers_of
from prompt_hub.backbones.packed_runs import KeysKnown, NotPackable, until_keys

ATTENTION = "prompt_hub_where_read"
"""The name under which transformers' models find the attention of this module."""

_KNOWN = {"sdpa", "eager"}
"""Implementations of attention that have the same mask and result as the one here."""

_MEANINGLESS = {
    "position_ids",
    "use_cache",
    "cache_position",
    "output_attentions",
    "dropout",
    "deterministic",
}
"""What models hand to their attention that does not change its result here."""

_running: ContextVar[_LastLayer | None] = ContextVar("running", default=None)


class TrimmedEncoder:
    """Runs a transformers encoder so. Raises ``NotPackable`` for a model that cannot."""

    def __init__(self, model: Any) -> None:
        from transformers import AttentionInterface

        if not getattr(model, "_supports_attention_backend", False):
            raise NotPackable("its attention cannot be exchanged")
        self.model = model
        _, layers = layers_of(model)
        self.first, self.last = layers[0], layers[-1]
        self.maps: list[nn.Linear] = []
        AttentionInterface.register(ATTENTION, _attention)

    @contextmanager
    def running(self, read: Tensor, alike: int) -> Iterator[None]:
        """Inside the block the model's base answers with ``[B, M, H]`` instead of ``[B, S, H]``.

        read: ``[B, M]`` input positions. alike: how many rows at the start are the same in all rows of the
        batch; those behind them get no gradient. 0 where that is not known.
        """
        if self.attention not in _KNOWN:
            raise NotPackable(f"its attention is {self.attention}")
        with ExitStack() as stack:
            run = _LastLayer(self.model.config, self.last.forward, read)
            stack.enter_context(exchanged(self.last, run.forward))
            if alike:
                for module in self.maps:
                    stack.enter_context(exchanged(module, _once(module.forward, alike)))
            yield

    @property
    def attention(self) -> str:
        return str(self.model.config._attn_implementation)

    def find_maps(self, run: Callable[[], Any]) -> None:
        """Note the linear maps of the first layer by which queries, keys and values are made.

        run: any forward of the model.
        """
        whole = self.first.forward
        found: list[nn.Linear] = []

        def until_attention(hidden: Tensor, *inputs: Any, **named: Any) -> Any:
            with ExitStack() as stack:
                for module in self.first.modules():
                    if isinstance(module, nn.Linear):
                        stack.enter_context(exchanged(module, _noting(module, found)))
                _LastLayer(self.model.config, whole, None).stop(hidden, inputs, named)
            return whole(hidden, *inputs, **named)

        with exchanged(self.first, until_attention):
            run()
        # In a model of one layer the first is the last, which runs twice.
        self.maps = found if self.first is not self.last else []


class _LastLayer:
    """One forward of the last layer: as far as its keys for all positions, then whole where it is read."""

    def __init__(self, config: Any, whole: Callable[..., Any], read: Tensor | None) -> None:
        self.config = config
        self.whole = whole
        self.read = read
        self.known: tuple[Tensor, Tensor, Any] | None = None

    def forward(self, hidden: Tensor, *inputs: Any, **named: Any) -> Any:
        assert self.read is not None
        length, read = hidden.shape[1], self.read
        self.stop(hidden, inputs, named)

        def where_read(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(where_read, value))
            # Such as rotary embeddings; what is 4D is the mask, which is known by now.
            if isinstance(value, Tensor) and value.ndim == 3 and value.shape[1] == length:
                return gather_rows(value.expand(len(read), -1, -1), read)
            return value

        narrow = {name: where_read(value) for name, value in named.items()}
        with self._attending():
            return self.whole(where_read(hidden), *map(where_read, inputs), **narrow)

    def stop(self, hidden: Tensor, inputs: Any, named: Any) -> None:
        """As far as keys and values of all positions, and the mask."""
        with self._attending():
            until_keys(self.whole, hidden, *inputs, **named)

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **named: Any) -> Any:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        if self.known is None or self.read is None:
            self.known = key, value, mask
            raise KeysKnown
        key, value, mask = self.known
        mask = _rows_of(mask, self.read)
        return sdpa_attention_forward(module, query, key, value, mask, is_causal=False, **named)

    @contextmanager
    def _attending(self) -> Iterator[None]:
        before, token = self.config._attn_implementation, _running.set(self)
        self.config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            self.config._attn_implementation = before
            _running.reset(token)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> Any:
    """transformers' attention interface: ``[B, A, n, D]`` each, to ``[B, n, A, D]``."""
    run = _running.get()
    if run is None:
        raise NotPackable("no trimmed forward is running")
    unknown = [name for name, given in others.items() if given is not None and name not in _MEANINGLESS]
    if unknown:
        raise NotPackable(f"its attention takes {', '.join(unknown)}")
    if is_causal or getattr(module, "is_causal", False):
        raise NotPackable("its attention is causal")
    if sliding_window is not None and attention_mask is None and sliding_window < key.shape[2]:
        raise NotPackable(f"its attention sees {sliding_window} positions only")
    return run.attend(module, query, key, value, attention_mask, scaling=scaling)


def _rows_of(mask: Any, read: Tensor) -> Tensor | None:
    """``[B or 1, A or 1, S or 1, S]`` (bool or added to scores) at ``read`` ``[B, M]``."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.ndim != 4:
        raise NotPackable("its attention mask is of another kind")
    if mask.shape[2] == 1:
        return mask
    index = read[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3])
    return mask.expand(len(read), -1, -1, -1).gather(2, index)


def _once(whole: Callable[[Tensor], Tensor], alike: int) -> Callable[[Tensor], Tensor]:
    """A linear map of ``[B, S, H]`` whose first ``alike`` rows are the same for all B and mapped once."""

    def forward(hidden: Tensor) -> Tensor:
        if hidden.ndim != 3:
            raise NotPackable("its first layer flattens the batch")
        first = whole(hidden[:1, :alike]).expand(len(hidden), -1, -1)
        return torch.cat([first, whole(hidden[:, alike:].detach())], 1)

    return forward


def _noting(module: nn.Linear, found: list[nn.Linear]) -> Callable[[Tensor], Tensor]:
    whole = module.forward

    def forward(hidden: Tensor) -> Tensor:
        found.append(module)
        return whole(hidden)

    return forward
