"""Batches of texts of like length, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Sampler

from prompt_hub.backbones.base import Batch

_POOL_BATCHES = 50


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches, longest texts first (so that memory peaks at once), for evaluation."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def joined(batches: Sequence[Batch], pad_id: int) -> Batch:
    """The rows of batches of one placement as one batch, in order, padded to the longest.

    read_positions and labels only where all have them; class labels need not mean the same in all.
    """
    width = max(batch.input_ids.shape[1] for batch in batches)
    reads = [batch.read_positions for batch in batches if batch.read_positions is not None]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Batch(
        torch.cat([_widened(batch.input_ids, width, pad_id) for batch in batches]),
        torch.cat([_widened(batch.attention_mask, width, 0) for batch in batches]),
        _stacked(reads, 0) if len(reads) == len(batches) else None,
        _stacked(labels, -100) if len(labels) == len(batches) else None,
        batches[0].placement,
    )


def _stacked(tensors: Sequence[Tensor], value: int) -> Tensor:
    if tensors[0].ndim == 1:
        return torch.cat(list(tensors))
    width = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([_widened(tensor, width, value) for tensor in tensors])


def _widened(tensor: Tensor, width: int, value: int) -> Tensor:
    """``[B, n]`` to ``[B, width]``, filled up on the right."""
    return F.pad(tensor, (0, width - tensor.shape[1]), value=value)


class LengthBucketSampler(Sampler[int]):
    """A random order in which every ``batch_size`` neighbours have like lengths.

    Rows are shuffled, cut into pools of 50 batches, sorted by length within a pool, and the batches are
    shuffled again; an incomplete batch comes last, or is left out (other rows in every epoch) with
    ``drop_last``. The order depends on seed and epoch only, so that an
    interrupted run continues with the batches it would have seen.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, drop_last: bool = False) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        rest = len(self.lengths) % self.batch_size if self.drop_last else 0
        return len(self.lengths) - rest

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.batch_size * _POOL_BATCHES
        full: list[list[int]] = []
        rest: list[int] = []
        for start in range(0, len(order), pool):
            chunk = sorted(order[start : start + pool], key=lambda index: -self.lengths[index])
            for first in range(0, len(chunk), self.batch_size):
                batch = chunk[first : first + self.batch_size]
                if len(batch) == self.batch_size:
                    full.append(batch)
                else:
                    rest = batch
        for index in torch.randperm(len(full), generator=generator).tolist():
            yield from full[index]
        if not self.drop_last:
            yield from rest
