"""The examples of one split, and what is done with them as a set: hash, drop overlap, hold out."""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from prompt_hub.errors import UserError
from prompt_hub.tasks.task import Example, Label


@dataclass(frozen=True)
class Split:
    """Examples with where they came from.

    fingerprint: sixteen hex digits over the rows, in order. dropped: rows left out, because of their
    label (``Task.drop_labels``), an empty text on the Hub, or overlap with another split.
    """

    name: str
    examples: list[Example]
    fingerprint: str
    source: str
    dropped: int = 0

    @classmethod
    def of(cls, name: str, examples: Sequence[Example], source: str, dropped: int = 0) -> Split:
        return cls(name, list(examples), fingerprint_rows(examples), source, dropped)

    def __len__(self) -> int:
        return len(self.examples)

    def only(self, rows: Sequence[int] | np.ndarray) -> Split:
        """The examples at ``rows`` (indices, rising); the others count as dropped."""
        if len(rows) == len(self):
            return self
        kept = [self.examples[row] for row in rows]
        return Split.of(self.name, kept, self.source, self.dropped + len(self) - len(kept))

    def labels(self) -> list[Label]:
        return [example.label for example in self.examples]

    def references(self) -> list[Label | tuple[str, ...]]:
        """What metrics compare with: the label, or every accepted target where there are several."""
        return [
            example.references if len(example.references) > 1 else example.label for example in self.examples
        ]


def fingerprint_rows(examples: Iterable[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        row = (example.text_a, example.text_b, example.label, example.references)
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()[:16]


def normalise_text(text: str) -> str:
    """Letters and digits only, case folded: equal for tokenised and untokenised copies of a sentence."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # A text of punctuation alone keeps its signs, so that ":)" and ":(" stay apart.
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


def row_hash(example: Example) -> int:
    """Signed 64-bit hash of the normalised texts; the label takes no part."""
    joined = "\x1f".join(normalise_text(text) for text in (example.text_a, example.text_b or ""))
    return int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=8).digest(), "big", signed=True)


def row_hashes(examples: Sequence[Example]) -> np.ndarray:
    """``[n]`` int64, one ``row_hash`` an example."""
    return np.fromiter((row_hash(example) for example in examples), np.int64, len(examples))


def drop_overlap(split: Split, hashes: Collection[int] | np.ndarray) -> tuple[Split, int]:
    """The split without the rows whose hash is in ``hashes``, and how many were removed.

    Tasks that share sentences (sst2 and rotten_tomatoes) would otherwise score themselves in transfer.
    """
    known = set(hashes.tolist() if isinstance(hashes, np.ndarray) else hashes)
    kept = [row for row, example in enumerate(split.examples) if row_hash(example) not in known]
    return split.only(kept), len(split) - len(kept)


def hold_out(split: Split, fraction: float = 0.1, maximum: int = 500, seed: int = 0) -> tuple[Split, Split]:
    """(train, dev): disjoint parts of one split, each in the order of the original.

    dev gets ``fraction`` of the rows, at most ``maximum``; both parts get at least one row. Class labels
    are stratified: every class gives the same share, to within one row.
    """
    count = len(split)
    if count < 2:
        raise UserError(
            f"Cannot hold out rows of {split.name!r} ({split.source}): it has {count} row(s), "
            "2 or more are needed."
        )
    if not 0 < fraction < 1:
        raise UserError(f"fraction must lie between 0 and 1, got {fraction}.")
    if maximum < 1:
        raise UserError(f"maximum must be 1 or more, got {maximum}.")
    wanted = min(max(1, round(count * fraction)), maximum, count - 1)
    order = list(range(count))
    random.Random(seed).shuffle(order)
    strata: dict[Label, list[int]] = defaultdict(list)
    for index in order:
        label = split.examples[index].label
        strata[label if isinstance(label, int) else None].append(index)
    # Taking the rows that come first within their own class, measured as a share of the class, takes the
    # same share of every class without rounding each class by itself.
    share = {
        index: (rank + 0.5) / len(members)
        for members in strata.values()
        for rank, index in enumerate(members)
    }
    chosen = set(sorted(order, key=share.__getitem__)[:wanted])
    train = [example for index, example in enumerate(split.examples) if index not in chosen]
    dev = [example for index, example in enumerate(split.examples) if index in chosen]
    how = f"hold-out {fraction:g}, at most {maximum}, seed {seed}"
    return (
        Split.of("train", train, f"{split.source} (train part of {how})", split.dropped),
        Split.of("dev", dev, f"{split.source} (dev part of {how})"),
    )
