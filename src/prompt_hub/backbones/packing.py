"""Texts of a batch one behind another, so that no padding is computed.

Shape letters as in ``base.py``; ``N`` real tokens of a batch, all rows together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the tokens of right-padded rows ``[B, S]`` stand once the padding is left out.

    rows: B. width: S. index: ``[N]``, place in the flattened ``[B * S]`` of each real token,
    row after row. slots: ``[B * S]``, the other way round; padding points at some real token. real:
    ``[B, S]`` bool. starts: ``[B]``, packed place of each row's first token. ends: of its last.
    """

    rows: int
    width: int
    index: Tensor
    slots: Tensor
    real: Tensor
    starts: Tensor
    ends: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor) -> Packing:
        """attention_mask: ``[B, S]``, 1 for real tokens, padding on the right.

        Where the padding stands is looked up on a CPU only. A GPU would have to be waited for, so there the
        padding counts as text: nothing real sees what stands behind it.
        """
        rows, width = attention_mask.shape
        if attention_mask.device.type != "cpu":
            index = torch.arange(rows * width, device=attention_mask.device)
            real = torch.ones_like(attention_mask, dtype=torch.bool)
            return cls(rows, width, index, index, real, index[::width], index[::width] + width - 1)
        lengths = attention_mask.sum(1)
        real = attention_mask.bool()
        return cls(
            rows=rows,
            width=width,
            index=torch.arange(rows * width).masked_select(real.flatten()),
            slots=(real.flatten().cumsum(0) - 1).clamp(min=0),
            real=real,
            starts=lengths.cumsum(0) - lengths,
            ends=lengths.cumsum(0) - 1,
        )

    @property
    def tokens(self) -> int:
        """N."""
        return len(self.index)

    @property
    def is_full(self) -> bool:
        """Whether all rows have the same length, so that packed and padded are the same numbers."""
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
        """``[B, M]`` text positions to packed places ``[B, M]``; past its end a row answers with its last."""
        return torch.minimum(self.starts[:, None] + positions, self.ends[:, None])
