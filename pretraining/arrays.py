"""The corpus as token arrays: written once by ``prepare.py``, read by ``train.py``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from vocabulary import Vocabulary


@dataclass(frozen=True)
class Documents:
    """Tokenised documents, one behind the other.

    ids: ``[T]`` indices into the vocabulary list. answers: ``[T]``, true for a token of an answer word.
    offsets: ``[N + 1]``; document n has the tokens ``offsets[n]`` to ``offsets[n + 1]``.
    """

    ids: np.ndarray
    answers: np.ndarray
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """``[N]`` tokens of each document."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray, starts: np.ndarray | int, width: int) -> tuple[np.ndarray, ...]:
        """Token ids, answer flags and validity ``[B, width]`` of ``rows`` ``[B]``, from ``starts`` on."""
        places = self.offsets[rows][:, None] + np.asarray(starts).reshape(-1, 1) + np.arange(width)
        valid = places < self.offsets[rows + 1][:, None]
        places = np.minimum(places, len(self.ids) - 1)
        return self.ids[places].astype(np.int64), self.answers[places] & valid, valid

    def answer_places(self) -> tuple[np.ndarray, np.ndarray]:
        """Document and position in it of every answer token, each ``[A]``."""
        flat = np.flatnonzero(self.answers)
        rows = np.searchsorted(self.offsets, flat, side="right") - 1
        return rows, flat - self.offsets[rows]

    def pick_answers(self, random: np.random.Generator) -> np.ndarray:
        """``[N]`` position of one answer token of each document, -1 where it has none."""
        rows, positions = self.answer_places()
        counts = np.bincount(rows, minlength=len(self.lengths))
        first = np.cumsum(counts) - counts
        chosen = np.minimum(first + (random.random(len(counts)) * counts).astype(np.int64), len(rows) - 1)
        return np.where(counts > 0, positions[chosen], -1)

    def save(self, stem: Path) -> None:
        for name, array in asdict(self).items():
            np.save(stem.with_name(f"{stem.name}-{name}.npy"), array)

    @classmethod
    def load(cls, stem: Path) -> Documents:
        names = ("ids", "answers", "offsets")
        return cls(*(np.load(stem.with_name(f"{stem.name}-{name}.npy")) for name in names))


def load_vocabulary(folder: Path, kind: str) -> Vocabulary:
    stored = json.loads((folder / f"{kind}.json").read_text())
    return Vocabulary(kind, stored["tokens"], [tuple(pair) for pair in stored["merges"]])


def save_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    stored = {"tokens": vocabulary.tokens, "merges": vocabulary.merges}
    (folder / f"{vocabulary.kind}.json").write_text(json.dumps(stored))
