"""What happens in one packed forward: a prompt alone, texts behind a prompt, or the next token of each row.

Shape letters as in ``base.py``; ``N`` real tokens of a batch, ``A`` attention heads, ``K`` key/value heads,
``D`` head width, ``n`` rows of the forward at hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompt_hub.backbones.packing import Continuations, Packing
from prompt_hub.backbones.shared_attention import prompt_attention, read_attention, text_attention

Keys = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of a prompt, ``[P, K, D]`` each, a pair a layer."""

Exchanges = Iterable[tuple[nn.Module, Callable[..., Any]]]
"""Modules of the model and what they answer with for the time of one forward."""


class NotPackable(Exception):
    """The model cannot run packed, or not this batch; the message says why."""


class KeysKnown(Exception):
    """Ends a layer's forward once its keys and values are computed."""


class Run(ABC):
    """One forward of a model over rows of its own making."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """Positions of the longest row, prompt included."""

    @abstractmethod
    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """``[n, A, D]``, ``[n, K, D]``, ``[n, K, D]`` to ``[n, A, D]``."""

    def exchanges(self, decoder: nn.Module, last_layer: nn.Module) -> Exchanges:
        return ()


@dataclass
class PromptRun(Run):
    """A prompt of ``length`` rows; what is wanted of it are its ``keys``."""

    length: int
    keys: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    at_the_end: bool = False

    @property
    def longest(self) -> int:
        return self.length

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        self.keys.append((key, value))
        if self.at_the_end:
            raise KeysKnown
        return prompt_attention(query, key, value, scale)

    def exchanges(self, decoder: nn.Module, last_layer: nn.Module) -> Exchanges:
        whole = last_layer.forward

        def keys_only(hidden: Tensor, *inputs: Any, **named: Any) -> Any:
            self.at_the_end = True
            until_keys(whole, hidden, *inputs, **named)
            return hidden

        return [(last_layer, keys_only)]


@dataclass
class TextRun(Run):
    """Texts, in one row: prompts (or none), texts one behind another, continuations of each.

    prompts: how many stand in front. prompt_len: rows of each, 0 where ``keys`` stand for them or there is
    none. owner: ``[B]``, which prompt is a text's, None where there is one for all. read: ``[B, M]`` text
    positions; what continues a text is read everywhere. kept: where to leave the keys of all rows, a pair a
    layer, or None.
    """

    prompts: int
    prompt_len: int
    owner: Tensor | None
    keys: Keys | None
    packing: Packing
    read: Tensor
    continuations: Continuations | None = None
    kept: list[tuple[Tensor, Tensor]] | None = None
    only_keys: bool = False
    last: tuple[Tensor, Tensor] | None = None

    @property
    def longest(self) -> int:
        behind = 0 if self.continuations is None else self.continuations.longest
        return length_of(self.keys, self.prompt_len) + self.packing.width + behind

    @property
    def first(self) -> int:
        """Where the texts begin."""
        return self.prompts * self.prompt_len

    @property
    def reads(self) -> tuple[int, int]:
        """B and how many positions of a row are read."""
        behind = 0 if self.continuations is None else self.continuations.count
        return self.packing.rows, self.read.shape[1] + behind

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        if self.last is not None:
            return self._attend_where_read(layer, query, scale)
        if self.kept is not None:
            self.kept.append((key, value))
        if self.only_keys:
            self.last = key, value
            raise KeysKnown
        first, end = self.first, self.first + self.packing.tokens
        prompt_keys = self._prompt_keys(layer, key, value)
        parts = []
        if first:
            rows = [self._by_prompt(part) for part in (query, key, value)]
            parts.append(prompt_attention(rows[0], rows[1], rows[2], scale).flatten(0, 1))
        texts = query[first:end], key[first:end], value[first:end]
        parts.append(text_attention(*texts, *prompt_keys, self.packing, scale))
        if self.continuations is not None:
            behind = query[end:].unflatten(0, (self.packing.rows, self.continuations.count))
            keys, values = self._row_by_row(key), self._row_by_row(value)
            allowed = self.continuations.seen(self.packing)
            parts.append(read_attention(behind, keys, values, *prompt_keys, allowed, scale).flatten(0, 1))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _prompt_keys(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if self.prompt_len:
            own = 0 if self.owner is None else self.owner
            return self._by_prompt(key)[own], self._by_prompt(value)[own]
        return self.keys[layer] if self.keys is not None else (None, None)

    def _by_prompt(self, packed: Tensor) -> Tensor:
        """``[n, ...]`` to ``[prompts, P, ...]``."""
        return packed[: self.first].unflatten(0, (self.prompts, self.prompt_len))

    def _row_by_row(self, packed: Tensor) -> Tensor:
        """``[n, K, D]`` to ``[B, S (and continuations), K, D]``, without the prompt."""
        end = self.first + self.packing.tokens
        padded = self.packing.pad(packed[self.first : end])
        if self.continuations is None:
            return padded
        behind = packed[end:].unflatten(0, (self.packing.rows, self.continuations.count))
        return torch.cat([padded, behind], 1)

    def _attend_where_read(self, layer: int, query: Tensor, scale: float) -> Tensor:
        assert self.last is not None
        key, value = self.last
        allowed = self.packing.seen_from(self.read)
        if self.continuations is not None:
            allowed = F.pad(allowed, (0, self.continuations.count))
            allowed = torch.cat([allowed, self.continuations.seen(self.packing)], 1)
        query = query.unflatten(0, self.reads)
        rows = self._row_by_row(key), self._row_by_row(value)
        prompt_keys = self._prompt_keys(layer, key, value)
        return read_attention(query, *rows, *prompt_keys, allowed, scale).flatten(0, 1)

    def places(self) -> Tensor:
        """``[B * M]``: where in the forward's row that stands which is read."""
        places = self.packing.places(self.read)
        if self.continuations is not None:
            rows, count = self.packing.rows, self.continuations.count
            behind = torch.arange(rows * count, device=places.device).view(rows, count)
            places = torch.cat([places, behind + self.packing.tokens], 1)
        return places.flatten() + self.first

    def exchanges(self, decoder: nn.Module, last_layer: nn.Module) -> Exchanges:
        return [
            (last_layer, self._last_layer(last_layer.forward)),
            (decoder, self._decoder(decoder.forward)),
        ]

    def _last_layer(self, whole: Callable[..., Any]) -> Callable[..., Any]:
        """The last layer: keys and values everywhere, all the rest where it is read.

        Its answers stand in front of a row as long as before (some models insist on its length).
        """

        def forward(hidden: Tensor, *inputs: Any, **named: Any) -> Any:
            length, places = hidden.shape[1], self.places()
            if 3 * len(places) >= 2 * length:
                return _in_front(whole(hidden, *inputs, **named), length, places)
            self.only_keys = True
            until_keys(whole, hidden, *inputs, **named)
            self.only_keys = False

            def at_places(value: Any) -> Any:
                if isinstance(value, tuple):
                    return tuple(map(at_places, value))
                if isinstance(value, Tensor) and value.ndim > 1 and value.shape[1] == length:
                    return value.index_select(1, places)
                return value

            narrow = {name: at_places(value) for name, value in named.items()}
            return _in_front(whole(at_places(hidden), *map(at_places, inputs), **narrow), length)

        return forward

    def _decoder(self, whole: Callable[..., Any]) -> Callable[..., Any]:
        """The decoder: ``[B, M, H]`` of the row that the last layer answered with."""

        def forward(*inputs: Any, **named: Any) -> Any:
            output = whole(*inputs, **named)
            rows, count = self.reads
            hidden = output[0][0, : rows * count].unflatten(0, (rows, count))
            if isinstance(output, tuple):
                return (hidden, *output[1:])
            output.last_hidden_state = hidden
            return output

        return forward


@dataclass
class TokenRun(Run):
    """One more token of each row. past: keys and values of texts and tokens so far, ``[B, room, K, D]`` each,
    a pair a layer; those of the new tokens are written at ``slots`` ``[B]``, all below ``end``."""

    keys: Keys | None
    past: Keys
    slots: Tensor
    end: int

    @property
    def longest(self) -> int:
        return length_of(self.keys) + self.end

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        rows = torch.arange(len(query), device=query.device)
        keys, values = self.past[layer]
        keys[rows, self.slots], values[rows, self.slots] = key, value
        allowed = torch.arange(self.end, device=query.device) <= self.slots[:, None, None]
        prompt_key, prompt_value = self.keys[layer] if self.keys is not None else (None, None)
        keys, values = keys[:, : self.end], values[:, : self.end]
        return read_attention(query[:, None], keys, values, prompt_key, prompt_value, allowed, scale)[:, 0]


def length_of(keys: Keys | None, otherwise: int = 0) -> int:
    """P of a prompt's keys."""
    return otherwise if keys is None else keys[0][0].shape[0]


def until_keys(whole: Callable[..., Any], *inputs: Any, **named: Any) -> None:
    """A layer's forward, as far as its keys."""
    try:
        whole(*inputs, **named)
    except KeysKnown:
        return
    raise NotPackable("its last layer has no attention")


def _in_front(answer: Any, length: int, places: Tensor | None = None) -> Any:
    """``[1, n, H]`` (at ``places``), filled up with zeros to ``[1, length, H]``."""
    if isinstance(answer, tuple):
        return (_in_front(answer[0], length, places), *answer[1:])
    if places is not None:
        answer = answer.index_select(1, places)
    return F.pad(answer, (0, 0, 0, max(0, length - answer.shape[1])))
