"""A first layer that maps a prompt once for all rows of a batch.

What enters the first layer's attention is a map of each row of the input alone. Prompt rows that are alike in
all texts give the same queries, keys and values, so they are mapped once; the text's rows are frozen, so no
gradient goes back through their map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.exchanged_attention import Attending, attending
from prompt_hub.backbones.packed_causal import exchanged
from prompt_hub.backbones.packed_runs import KeysKnown, NotPackable, until_keys


class PromptMaps:
    """The linear maps by which a layer makes queries, keys and values."""

    def __init__(self, layer: Any, run: Callable[[], Any]) -> None:
        """run: any forward of the model. ``NotPackable`` where no attention follows the maps."""
        self.maps: list[nn.Linear] = []
        whole = layer.forward

        def noting(hidden: Tensor, *inputs: Any, **named: Any) -> Any:
            with ExitStack() as stack:
                for module in layer.modules():
                    if isinstance(module, nn.Linear):
                        stack.enter_context(exchanged(module, self._noting(module)))
                stack.enter_context(attending(layer, _Stop()))
                until_keys(whole, hidden, *inputs, **named)
            return whole(hidden, *inputs, **named)

        with exchanged(layer, noting):
            run()

    def _noting(self, module: nn.Linear) -> Callable[[Tensor], Tensor]:
        whole = module.forward

        def forward(hidden: Tensor) -> Tensor:
            self.maps.append(module)
            return whole(hidden)

        return forward

    @contextmanager
    def once(self, alike: int) -> Iterator[None]:
        """Inside the block the first ``alike`` rows, the same in all rows of the batch, are mapped once."""
        with ExitStack() as stack:
            if alike:
                for module in self.maps:
                    stack.enter_context(exchanged(module, _once(module.forward, alike)))
            yield


class _Stop(Attending):
    def attend(self, *parts: Any, **named: Any) -> Any:
        raise KeysKnown


def _once(whole: Callable[[Tensor], Tensor], alike: int) -> Callable[[Tensor], Tensor]:
    """A linear map of ``[B, S, H]`` whose first ``alike`` rows are the same for all B."""

    def forward(hidden: Tensor) -> Tensor:
        if hidden.ndim != 3:
            raise NotPackable("its first layer flattens the batch")
        first = whole(hidden[:1, :alike]).expand(len(hidden), -1, -1)
        return torch.cat([first, whole(hidden[:, alike:].detach())], 1)

    return forward
