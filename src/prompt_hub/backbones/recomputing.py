"""Layers of a frozen model that keep nothing but their input, and run again in the backward pass.

Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost") as transformers
does it needs ``train()`` mode, which would switch dropout on. Here the layers' forward is exchanged instead,
for as long as a ``with`` block lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from prompt_hub.errors import UserError

_around: ContextVar[Callable[[], AbstractContextManager[Any]]] = ContextVar("around", default=nullcontext)


@contextmanager
def run_again_in(context: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Layers that run inside the block are run again inside a ``context()``, if they are run again."""
    token = _around.set(context)
    try:
        yield
    finally:
        _around.reset(token)


@contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """Inside the block every layer but the last of each stack is run again in the backward pass.

    The last one's values are needed first, so that keeping them costs no memory at the peak. Raises
    ``UserError`` for a model whose layers are not found.
    """
    stacks = layer_stacks(model)
    if not stacks:
        raise UserError(
            f"Gradient checkpointing needs a model whose layers transformers knows; {type(model).__name__} "
            "has none. Leave --gradient-checkpointing out."
        )
    with ExitStack() as undo:
        for stack in stacks:
            for layer in list(stack.children())[:-1]:
                undo.callback(_restore, layer, layer.__dict__.get("forward"))
                layer.forward = _run_again(layer.forward)
        yield


def layer_stacks(model: nn.Module) -> list[nn.ModuleList]:
    """The lists of like layers that a model is built of: one, or an encoder's and a decoder's."""
    return [module for module in model.modules() if isinstance(module, nn.ModuleList) and _is_stack(module)]


def _is_stack(module: nn.ModuleList) -> bool:
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = list(module.children())
    known = [isinstance(layer, GradientCheckpointingLayer) for layer in layers]
    return bool(layers) and all(known)


def _run_again(whole: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled() or not any(map(_needs_gradient, (*inputs, *named.values()))):
            return whole(*inputs, **named)
        around = _around.get()
        return checkpoint(
            whole,
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,  # a frozen model in eval() mode draws nothing
            context_fn=lambda: (nullcontext(), around()),
            **named,
        )

    return forward


def _needs_gradient(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _restore(layer: Any, own: Any) -> None:
    if own is None:
        del layer.forward
    else:
        layer.forward = own
