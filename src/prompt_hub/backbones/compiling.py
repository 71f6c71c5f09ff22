"""Layers of a frozen model, compiled by ``torch.compile``.

The layers of a stack are alike, so torch compiles one and runs the others by the same code. The first and the
last stay as they are: what a forward leaves out is left out there (``trimmed_encoder.py``,
``packed_runs.py``). So does a decoder behind an encoder, whose few steps cost little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from prompt_hub.backbones.packed_causal import exchanged
from prompt_hub.backbones.recomputing import layer_stacks
from prompt_hub.errors import UserError


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Inside the block the layers between the first and the last of a stack run compiled.

    A layer runs as it is where its forward was exchanged before, or where hooks hang on it. Raises
    ``UserError`` for a model whose layers are not found.
    """
    stacks = layer_stacks(model.get_encoder() if model.config.is_encoder_decoder else model)
    if not stacks:
        raise UserError(
            f"torch.compile needs a model whose layers transformers knows; {type(model).__name__} has none. "
            "Leave --torch-compile out."
        )
    with ExitStack() as stack:
        for layers in stacks:
            for layer in list(layers.children())[1:-1]:
                if "forward" not in layer.__dict__:
                    stack.enter_context(exchanged(layer, partial(_forward, layer, list(layer.modules()))))
        yield


def _forward(layer: nn.Module, parts: list[nn.Module], *inputs: Any, **named: Any) -> Any:
    whole = type(layer).forward
    # torch looks for hooks when it compiles, not when it runs.
    is_hooked = any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    return (whole if is_hooked else _compiled(whole))(layer, *inputs, **named)


@cache
def _compiled(whole: Callable[..., Any]) -> Callable[..., Any]:
    """Once for all layers of a kind and for all shapes: texts come in hundreds of them."""
    return torch.compile(whole, dynamic=True)
