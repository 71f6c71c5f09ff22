"""Attention that a module of a transformers model leaves to someone else for the time of its forward.

Shape letters as in ``base.py``; ``A`` attention heads, ``D`` head width, ``n`` queries a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from prompt_hub.backbones.packed_runs import NotPackable

ATTENTION = "prompt_hub_exchanged"
"""The name under which transformers' models find it."""

KNOWN = {"sdpa", "eager"}
"""Implementations of attention whose masks and results are known here."""

_MEANINGLESS = {
    "position_ids",
    "use_cache",
    "cache_position",
    "output_attentions",
    "dropout",
    "deterministic",
}
"""What models hand to their attention that does not change its result here."""

_running: ContextVar[Attending | None] = ContextVar("attending", default=None)


class Attending(ABC):
    """Who attends instead."""

    @abstractmethod
    def attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Any,
        scale: float,
        position_bias: Tensor | None,
    ) -> Tensor:
        """query: ``[B, A, n, D]``. key, value: ``[B, A, S, D]``. mask: None or ``[B, 1, n, S]``, bool (True
        for what is seen) or added to the scores, as position_bias ``[1, A, n, S]`` is.

        Gives ``[B, n, A, D]``.
        """


@contextmanager
def attending(module: Any, run: Attending) -> Iterator[None]:
    """Inside the block ``run`` attends for every attention inside ``module``."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attention)
    with ExitStack() as stack:
        token = _running.set(run)
        stack.callback(_running.reset, token)
        for config in _configs(module):
            stack.callback(setattr, config, "_attn_implementation", config._attn_implementation)
            config._attn_implementation = ATTENTION
        yield


def attentions_of(model: Any) -> set[str]:
    """The implementations that a model's modules ask for."""
    return {str(config._attn_implementation) for config in _configs(model)}


def _configs(module: Any) -> list[Any]:
    found = {id(config): config for part in module.modules() if (config := part.__dict__.get("config"))}
    return [config for config in found.values() if hasattr(config, "_attn_implementation")]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface."""
    run = _running.get()
    if run is None:
        raise NotPackable("nobody attends")
    unknown = [name for name, given in others.items() if given is not None and name not in _MEANINGLESS]
    if unknown:
        raise NotPackable(f"its attention takes {', '.join(unknown)}")
    if is_causal or getattr(module, "is_causal", False):
        raise NotPackable("its attention is causal")
    if attention_mask is None and sliding_window is not None and sliding_window < key.shape[2]:
        raise NotPackable(f"its attention sees {sliding_window} positions only")
    if attention_mask is not None and (not isinstance(attention_mask, Tensor) or attention_mask.ndim != 4):
        raise NotPackable("its attention mask is of another kind")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return run.attend(module, query, key, value, attention_mask, scale, position_bias), None
