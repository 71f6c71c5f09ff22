"""Backbones with known embeddings: what a map has to find is then known too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prompt_hub.backbones.base import BackboneIdentity


class Vocabulary:
    """A tokenizer that knows its tokens and nothing else."""

    def __init__(self, tokens: list[str], special: tuple[str, ...] = (), added: tuple[str, ...] = ()) -> None:
        self.ids = {token: index for index, token in enumerate(tokens)}
        self.all_special_ids = [self.ids[token] for token in special]
        self.added = {token: self.ids[token] for token in added}

    def get_vocab(self) -> dict[str, int]:
        return self.ids

    def get_added_vocab(self) -> dict[str, int]:
        return self.added


class Embedder:
    """As much of a backbone as a map needs."""

    device = torch.device("cpu")

    def __init__(self, name: str, tokens: list[str], embeddings: Tensor, family: str = "masked_lm") -> None:
        self.name = name
        self.tokenizer = Vocabulary(tokens)
        self.hidden = embeddings.shape[1]
        self.table = nn.Embedding.from_pretrained(embeddings)
        self.identity = BackboneIdentity(
            name, None, family, "made", self.hidden, f"hash-{name}", f"tok-{name}"
        )

    def embed(self, ids: Tensor) -> Tensor:
        return self.table(ids)

    def describe(self) -> str:
        return self.name


def words(count: int, marker: str) -> list[str]:
    """The same words as every tokenizer would write them at a word's beginning."""
    return [f"{marker}word{index}" for index in range(count)]


def random_rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(rows: int, columns: int, seed: int = 0) -> Tensor:
    """``[rows, columns]`` with orthonormal rows or columns, whichever there are fewer of."""
    if rows < columns:
        return orthonormal(columns, rows, seed).T
    return torch.linalg.qr(random_rows(rows, columns, seed=seed))[0]
