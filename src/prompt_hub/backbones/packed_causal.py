"""A causal model run over packed texts behind one prompt that all of them share.

The layers are the model's own. What changes for the time of one forward: attention (``shared_attention.py``,
registered with transformers as an attention implementation), so that texts stand one behind another without
padding; the last layer, which answers at the read positions only; and GPT-2's activation function, which
torch has as one kernel. So no list of architectures is kept: a model qualifies when its attention can be
exchanged and a small forward gives what the plain one gives.

Shape letters as in ``base.py``; ``N`` real tokens of a batch, ``A`` attention heads, ``K`` key/value heads,
``D`` head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompt_hub.backbones.packing import Packing
from prompt_hub.backbones.shared_attention import prompt_attention, read_attention, text_attention

ATTENTION = "prompt_hub_shared"
"""The name under which transformers' models find the attention of this module."""

Keys = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of a prompt, ``[P, K, D]`` each, a pair a layer."""

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


class NotPackable(Exception):
    """The model cannot run packed, or not this batch; the message says why."""


class _KeysKnown(Exception):
    """Ends a layer's forward once its keys and values are computed."""


@dataclass
class _Run:
    """One forward.

    prompt_len: prompt rows that stand in front of the texts. keys: of a prompt that does not. packing: of the
    texts, None where the prompt runs alone. read: ``[B, M]`` text positions. kept: where the keys go, a pair
    a layer. only_keys: the layer ends once it has its keys, which are ``last`` then.
    """

    prompt_len: int
    keys: Keys | None = None
    packing: Packing | None = None
    read: Tensor | None = None
    kept: list[tuple[Tensor, Tensor]] | None = None
    last: tuple[Tensor, Tensor] | None = None
    only_keys: bool = False

    @property
    def longest(self) -> int:
        """Positions of the longest row, prompt included."""
        before = self.prompt_len if self.keys is None else self.keys[0][0].shape[0]
        return before + (0 if self.packing is None else self.packing.width)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """``[n, A, D]``, ``[n, K, D]``, ``[n, K, D]`` to ``[n, A, D]``, prompt rows first."""
        if self.kept is not None:
            self.kept.append((key, value))
        if self.only_keys:
            self.last = key, value
            raise _KeysKnown
        if self.last is not None:
            return self._attend_where_read(layer, query, scale)
        split = self.prompt_len
        prompt_key, prompt_value = self._prompt_keys(layer, key, value)
        parts = []
        if split:
            parts.append(prompt_attention(query[:split], key[:split], value[:split], scale))
        if self.packing is not None:
            texts = query[split:], key[split:], value[split:]
            parts.append(text_attention(*texts, prompt_key, prompt_value, self.packing, scale))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _prompt_keys(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if self.prompt_len:
            return key[: self.prompt_len], value[: self.prompt_len]
        return self.keys[layer] if self.keys is not None else (None, None)

    def _attend_where_read(self, layer: int, query: Tensor, scale: float) -> Tensor:
        assert self.last is not None and self.packing is not None and self.read is not None
        key, value = self.last
        prompt_key, prompt_value = self._prompt_keys(layer, key, value)
        key, value = (self.packing.pad(part[self.prompt_len :]) for part in (key, value))
        read = self.packing.places(self.read) - self.packing.starts[:, None]
        allowed = torch.arange(self.packing.width, device=key.device) <= read.unsqueeze(-1)
        query = query.view(*self.read.shape, *query.shape[1:])
        mixed = read_attention(query, key, value, prompt_key, prompt_value, allowed, scale)
        return mixed.flatten(0, 1)

    def places(self) -> Tensor:
        """``[B * M]``: where in the forward's row the read positions stand."""
        assert self.packing is not None and self.read is not None
        return self.packing.places(self.read).flatten() + self.prompt_len


_running: ContextVar[_Run | None] = ContextVar("running", default=None)


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
        self.decoder, self.last_layer = _decoder_of(model)
        self.activations = [module for module in model.modules() if _is_tanh_gelu(module)]
        AttentionInterface.register(ATTENTION, _attention)

    def keys(self, rows: Tensor) -> Keys:
        """Keys and values of prompt rows ``[P, H]``."""
        run = _Run(len(rows), kept=[])
        with self._running(run):
            self.decoder(inputs_embeds=rows[None], position_ids=_count(rows)[None], use_cache=False)
        assert run.kept is not None
        return run.kept

    def logits(
        self, texts: Tensor, packing: Packing, read: Tensor, prompt: Tensor | None, keys: Keys | None
    ) -> Tensor:
        """The head's answer at ``read`` ``[B, M]``, ``[B, M, V]`` (or as many rows as the head has now).

        texts: ``[N, H]`` embeddings. prompt: ``[P, H]`` rows to run with the texts, or None. keys: of a
        prompt that was run before, or None.
        """
        prompt_len = 0 if prompt is None else len(prompt)
        before = prompt_len if keys is None else keys[0][0].shape[0]
        positions = packing.positions() + before
        if prompt is not None:
            texts = torch.cat([prompt, texts])
            positions = torch.cat([_count(prompt), positions])
        with self._running(_Run(prompt_len, keys, packing, read)):
            return self.model(
                inputs_embeds=texts[None], position_ids=positions[None], use_cache=False, return_dict=True
            ).logits

    @contextmanager
    def _running(self, run: _Run) -> Iterator[None]:
        """The model's own layers, with this module's attention, last layer and activation function."""
        config = self.decoder.config
        before = config._attn_implementation
        token = _running.set(run)
        with ExitStack() as stack:
            stack.callback(_running.reset, token)
            stack.callback(setattr, config, "_attn_implementation", before)
            config._attn_implementation = ATTENTION
            stack.enter_context(_exchanged(self.last_layer, _last_layer(self.last_layer.forward, run)))
            if run.packing is not None:
                stack.enter_context(_exchanged(self.decoder, _where_read(self.decoder.forward, run)))
            for module in self.activations:
                stack.enter_context(_exchanged(module, _tanh_gelu))
            yield


def _decoder_of(model: Any) -> tuple[Any, Any]:
    """The module that holds the layers, and the last of them."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found = [
        (parent, layers)
        for parent in model.modules()
        for layers in parent.children()
        if isinstance(layers, nn.ModuleList) and len(layers) == count
    ]
    if len(found) != 1:
        raise NotPackable("its list of layers was not found")
    parent, layers = found[0]
    return parent, layers[-1]


def _last_layer(whole: Callable[..., Any], run: _Run) -> Callable[..., Any]:
    """The last layer: keys and values everywhere, all the rest where it is read.

    Its answers stand in front of a row as long as before (some models insist on its length).
    """

    def forward(hidden: Tensor, *inputs: Any, **named: Any) -> Any:
        length = hidden.shape[1]
        if run.packing is not None and 3 * len(run.places()) >= 2 * length:
            return _front(whole(hidden, *inputs, **named), run.places(), length)
        run.only_keys = True
        try:
            whole(hidden, *inputs, **named)
        except _KeysKnown:
            pass
        else:
            raise NotPackable("its last layer has no attention")
        finally:
            run.only_keys = False
        if run.packing is None:
            return hidden
        places = run.places()

        def at_places(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(at_places, value))
            if isinstance(value, Tensor) and value.ndim > 1 and value.shape[1] == length:
                return value.index_select(1, places)
            return value

        narrow = {name: at_places(value) for name, value in named.items()}
        answer = whole(at_places(hidden), *map(at_places, inputs), **narrow)
        return _front(answer, None, length)

    return forward


def _front(answer: Any, places: Tensor | None, length: int) -> Any:
    """``[1, n, H]`` at ``places`` (all: None), filled up with zeros to ``[1, length, H]``."""
    if isinstance(answer, tuple):
        return (_front(answer[0], places, length), *answer[1:])
    if places is not None:
        answer = answer.index_select(1, places)
    return F.pad(answer, (0, 0, 0, max(0, length - answer.shape[1])))


def _where_read(whole: Callable[..., Any], run: _Run) -> Callable[..., Any]:
    """The decoder: ``[B, M, H]`` of the row that the last layer answered with."""

    def forward(*inputs: Any, **named: Any) -> Any:
        assert run.read is not None
        output = whole(*inputs, **named)
        hidden = output[0][0, : run.read.numel()].view(*run.read.shape, -1)
        if isinstance(output, tuple):
            return (hidden, *output[1:])
        output.last_hidden_state = hidden
        return output

    return forward


def _is_tanh_gelu(module: nn.Module) -> bool:
    from transformers.activations import FastGELUActivation, NewGELUActivation

    return isinstance(module, (NewGELUActivation, FastGELUActivation))


def _tanh_gelu(values: Tensor) -> Tensor:
    return F.gelu(values, approximate="tanh")


@contextmanager
def _exchanged(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
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


def _count(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)
