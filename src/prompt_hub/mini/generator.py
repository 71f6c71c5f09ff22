"""From the name of a generated task to its rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from prompt_hub.mini import conduct, inference, paraphrase, sentiment
from prompt_hub.mini.item import Item
from prompt_hub.mini.words import Part

Maker = Callable[[random.Random, str, Part, bool], Item]

SIZES = {"train": 2000, "validation": 500, "test": 500}
SEED = 2022
SHORT_SHARE = 0.15
"""How many rows are of the simplest form."""

MAKERS: dict[str, tuple[Maker, str, tuple[str, ...]]] = {
    **{name: (sentiment.review, name, sentiment.LABELS) for name in sentiment.DOMAINS},
    **{f"nli_{name}": (inference.statement, name, inference.STATEMENT_LABELS) for name in inference.DOMAINS},
    **{f"qa_{name}": (inference.question, name, inference.ANSWER_LABELS) for name in inference.DOMAINS},
    **{f"paraphrase_{name}": (paraphrase.pair, name, paraphrase.LABELS) for name in paraphrase.DOMAINS},
    **{f"conduct_{name}": (conduct.story, name, conduct.LABELS) for name in conduct.DOMAINS},
}
"""Task name without ``mini/``: what makes one row, of which domain, and the label words in class order."""


@cache
def rows(name: str, split: str) -> tuple[Item, ...]:
    """The rows of ``mini/<name>``: always the same, as many of every class to within one, none twice.

    split: train, validation or test. Validation and test use words and templates that train does not,
    and share no row.
    """
    if split == "test":
        return _fill(name, split, {item.text for item in rows(name, "validation")})
    return _fill(name, split, set())


def _fill(name: str, split: str, seen: set[str]) -> tuple[Item, ...]:
    make, domain, labels = MAKERS[name]
    part: Part = "train" if split == "train" else "held"
    chooser = random.Random(f"{SEED} {name} {split}")
    items: list[Item] = []
    total = dict.fromkeys(labels, 0)
    by_kind: dict[str, dict[str, int]] = {}
    for _ in range(SIZES[split] * 1000):
        item = make(chooser, domain, part, chooser.random() < SHORT_SHARE)
        of_kind = by_kind.setdefault(item.kind, dict.fromkeys(labels, 0))
        wanted = all(number[item.label] == min(number.values()) for number in (total, of_kind))
        if wanted and item.text not in seen:
            seen.add(item.text)
            items.append(item)
            total[item.label] += 1
            of_kind[item.label] += 1
            if len(items) == SIZES[split]:
                chooser.shuffle(items)
                return tuple(items)
    raise AssertionError(f"mini/{name} has no {SIZES[split]} different {split} rows")
