"""A causal model run over packed texts behind one prompt that all of them share.

The layers are the model's own. What changes for the time of one forward: attention (``shared_attention.py``,
registered with transformers as an attention implementation), so that texts stand one behind another without
padding; the last layer, which answers at the read positions only; and GPT-2's activation function
(``tanh_gelu.py``). So no list of architectures is kept: a model qualifies when its attention can be
exchanged and a small forward gives what the plain one gives (``packed_check.py``).

Shape letters as in ``base.py``; ``N`` real tokens of a batch, ``A`` attention heads, ``K`` key/value heads,
``D`` head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.packed_runs import (
    Keys,
    NotPackable,
    PromptRun,
    Run,
    TextRun,
    TokenRun,
    length_of,
)
from prompt_hub.backbones.packing import Continuations, Packing
from prompt_hub.backbones.recomputing import run_again_in
from prompt_hub.backbones.tanh_gelu import tanh_gelu, tanh_gelus_of

ATTENTION = "prompt_hub_shared"
"""The name under which transformers' models find the attention of this module."""

_MEANINGLESS = {
    "position_ids",
    "use_cache",
    "cache_position",
    "is_causal",
    "output_attentions",
    "output_router_logits",
    "dropout",
}
"""What models hand to their attention beside scale and mask and what does not change its result here."""

_running: ContextVar[Run | None] = ContextVar("running", default=None)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: ``[1, heads, n, D]`` each, to ``[1, n, A, D]``."""
    run = _running.get()
    if run is None:
        raise NotPackable("no packed forward is running")
    unknown = [name for name, given in others.items() if given is not None and name not in _MEANINGLESS]
    if unknown or attention_mask is not None:
        raise NotPackable(f"its attention takes {', '.join(unknown) or 'a mask'}")
    if sliding_window is not None and sliding_window < run.longest:
        raise NotPackable(f"its attention sees the last {sliding_window} positions only")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rows = [part[0].transpose(0, 1) for part in (query, key, value)]
    layer: Any = module.layer_idx
    return run.attend(layer, rows[0], rows[1], rows[2], scale)[None], None


class PackedCausal:
    """Runs a transformers causal model packed. Raises ``NotPackable`` for a model that cannot."""

    def __init__(self, model: Any) -> None:
        from transformers import AttentionInterface

        if not getattr(model, "_supports_attention_backend", False):
            raise NotPackable("its attention cannot be exchanged")
        self.model = model
        self.decoder, layers = layers_of(model)
        self.last_layer = layers[-1]
        self.activations = tanh_gelus_of(model)
        AttentionInterface.register(ATTENTION, torch.compiler.disable(_attention))

    def keys(self, rows: Tensor) -> Keys:
        """Keys and values of prompt rows ``[P, H]``."""
        run = PromptRun(len(rows))
        with self._running(run):
            self.decoder(inputs_embeds=rows[None], position_ids=_count(rows)[None], use_cache=False)
        return run.keys

    def logits(
        self,
        texts: Tensor,
        packing: Packing,
        read: Tensor,
        prompts: Tensor | None,
        keys: Keys | None,
        owner: Tensor | None = None,
        continuations: tuple[Continuations, Tensor] | None = None,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """The head's answer at ``read`` ``[B, M]``, ``[B, M, V]`` (or as many rows as the head has now).

        texts: ``[N, H]`` embeddings. prompts: ``[prompts, P, H]`` rows to run with the texts, or None. keys:
        of a prompt that was run before, or None. owner: ``[B]``, which of several prompts is a text's.
        continuations: of every text, with embeddings ``[T, H]``; read at all T, ``[B, M + T, V]``. kept:
        takes the keys of texts and continuations.
        """
        count, prompt_len = (0, 0) if prompts is None else prompts.shape[:2]
        before = length_of(keys, prompt_len)
        rows, positions = [texts], [packing.positions() + before]
        if prompts is not None:
            rows.insert(0, prompts.flatten(0, 1))
            positions.insert(0, _count(prompts[0]).repeat(count))
        behind = None
        if continuations is not None:
            behind, embeddings = continuations
            rows.append(embeddings.expand(packing.rows, -1, -1).flatten(0, 1))
            positions.append((packing.lengths[:, None] + behind.depth).flatten() + before)
        again = partial(TextRun, count, prompt_len, owner, keys, packing, read, behind)
        with self._running(again(kept)), run_again_in(lambda: self._running(again())):
            return self._answer(torch.cat(rows), torch.cat(positions))

    def next_logits(
        self, tokens: Tensor, positions: Tensor, keys: Keys | None, past: Keys, slots: Tensor, end: int
    ) -> Tensor:
        """``[B, V]`` behind one more token of each row, whose keys are added to ``past``.

        tokens: ``[B, H]`` embeddings. positions: ``[B]``, prompt included. slots: ``[B]``, where in ``past``
        their keys go, all below ``end``.
        """
        with self._running(TokenRun(keys, past, slots, end)):
            return self._answer(tokens, positions)[0]

    def _answer(self, rows: Tensor, positions: Tensor) -> Tensor:
        return self.model(
            inputs_embeds=rows[None], position_ids=positions[None], use_cache=False, return_dict=True
        ).logits

    @contextmanager
    def _running(self, run: Run) -> Iterator[None]:
        """The model's own layers, but for attention, activation function and what the run exchanges."""
        config = self.decoder.config
        token = _running.set(run)
        with ExitStack() as stack:
            stack.callback(_running.reset, token)
            stack.callback(setattr, config, "_attn_implementation", config._attn_implementation)
            config._attn_implementation = ATTENTION
            stack.enter_context(activating(self.activations))
            for module, forward in run.exchanges(self.decoder, self.last_layer):
                stack.enter_context(exchanged(module, forward))
            yield


def layers_of(model: Any) -> tuple[Any, nn.ModuleList]:
    """The module that holds the layers, and their list; ``NotPackable`` where that is not one."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found = [
        (parent, layers)
        for parent in model.modules()
        for layers in parent.children()
        if isinstance(layers, nn.ModuleList) and len(layers) == count
    ]
    if len(found) != 1:
        raise NotPackable("its list of layers was not found")
    return found[0]


@contextmanager
def exchanged(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside the block the module answers with ``forward``."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@contextmanager
def activating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Inside the block each of ``tanh_gelus_of`` a model is one kernel."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(exchanged(module, tanh_gelu))
        yield


def _count(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)
