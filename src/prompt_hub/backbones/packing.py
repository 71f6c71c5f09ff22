"""Texts of a batch one behind another, so that no padding is computed.

Shape letters as in ``base.py``; ``N`` real tokens of a batch, all rows together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the tokens of right-padded rows ``[B, S]`` stand once the padding is left out.

    rows: B. width: S. index: ``[N]``, place in the flattened ``[B * S]`` of each packed token, row after row.
    slots: ``[B * S]``, the other way round; padding points at some real token. real: ``[B, S]`` bool.
    lengths: ``[B]``. starts: ``[B]``, packed place of each row's first token.
    """

    rows: int
    width: int
    index: Tensor
    slots: Tensor
    real: Tensor
    lengths: Tensor
    starts: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor) -> Packing:
        """attention_mask: ``[B, S]``, 1 for real tokens, padding on the right.

        Where the padding stands is looked up on a CPU only. A GPU would have to be waited for, so there the
        padding is packed as well: nothing real sees what stands behind it.
        """
        rows, width = attention_mask.shape
        real, lengths = attention_mask.bool(), attention_mask.sum(1)
        every = torch.arange(rows * width, device=attention_mask.device)
        if attention_mask.device.type != "cpu":
            return cls(rows, width, every, every, real, lengths, every[::width])
        flat = real.flatten()
        slots = (flat.cumsum(0) - 1).clamp(min=0)
        return cls(rows, width, every.masked_select(flat), slots, real, lengths, lengths.cumsum(0) - lengths)

    @property
    def tokens(self) -> int:
        """N."""
        return len(self.index)

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out, so that packed and padded are the same numbers."""
        return self.tokens == self.rows * self.width

    def pack(self, padded: Tensor) -> Tensor:
        """``[B, S, ...]`` to ``[N, ...]``."""
        flat = padded.reshape(self.rows * self.width, *padded.shape[2:])
        return flat if self.is_full else flat.index_select(0, self.index)

    def pad(self, packed: Tensor) -> Tensor:
        """``[N, ...]`` to ``[B, S, ...]``; what stands in the padding means nothing."""
        flat = packed if self.is_full else packed.index_select(0, self.slots)
        return flat.reshape(self.rows, self.width, *packed.shape[1:])

    def positions(self) -> Tensor:
        """``[N]``: each token's place in its own text, from 0."""
        return self.index % self.width

    def places(self, positions: Tensor) -> Tensor:
        """``[B, M]`` text positions to packed places ``[B, M]``."""
        return self.starts[:, None] + self._inside(positions)

    def seen_from(self, positions: Tensor) -> Tensor:
        """``[B, M, S]`` bool: which tokens of its text each of the positions ``[B, M]`` sees."""
        places = torch.arange(self.width, device=positions.device)
        return places <= self._inside(positions).unsqueeze(-1)

    def _inside(self, positions: Tensor) -> Tensor:
        """Positions past the end of a row, which fill up ragged rows of them, are its last."""
        return torch.minimum(positions, self.lengths[:, None] - 1)


@dataclass(frozen=True)
class Continuations:
    """Several ways on from every text, side by side: chains of tokens that do not see each other.

    ids: ``[T]``, chain after chain. depth: ``[T]``, place in the chain, from 0. sees: ``[T, T]``
    bool. longest: tokens of the longest chain.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    longest: int

    @classmethod
    def of(
        cls, chains: Sequence[Sequence[int]], constant: Callable[[Sequence[int]], Tensor]
    ) -> Continuations:
        """constant: makes a tensor of numbers, on the device of the texts."""
        owner = constant([number for number, chain in enumerate(chains) for _ in chain])
        depth = constant([place for chain in chains for place in range(len(chain))])
        sees = (owner[:, None] == owner) & (depth <= depth[:, None])
        return cls(
            constant([token for chain in chains for token in chain]), depth, sees, max(map(len, chains))
        )

    @property
    def count(self) -> int:
        """T."""
        return len(self.ids)

    def seen(self, packing: Packing) -> Tensor:
        """``[B, T, S + T]`` bool: which tokens of text and continuations each continuing token sees."""
        text = packing.real[:, None].expand(-1, self.count, -1)
        return torch.cat([text, self.sees.expand(packing.rows, -1, -1)], 2)
