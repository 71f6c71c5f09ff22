"""A prompt on another task in numbers, and means over many such pairs. Free of torch and transformers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from prompt_hub.tasks.task import Task

FLOORS = ("majority", "no_prompt", "random_prompt")


@dataclass(frozen=True)
class Pair:
    """The prompt of ``source`` on ``target`` without training, in the target's primary metric.

    own, own_ci95, floors: what the target's own prompt (a random one of its norms, none, the majority class)
    reaches on the same n rows. removed_overlap: rows left out because the source was trained on their text.
    gain_ci95: of the difference to the backbone without a prompt, row by row; None where it was not taken.
    """

    source: str
    target: str
    same_type: bool
    metric: str
    n: int
    score: float
    ci95: list[float]
    own: float
    own_ci95: list[float]
    floors: dict[str, float]
    removed_overlap: int = 0
    gain_ci95: list[float] | None = None

    @property
    def relative(self) -> float | None:
        """Relative performance: score / own. None where the own prompt scores nothing."""
        return self.of_own(self.score)

    @property
    def learnable(self) -> bool:
        """Whether the target's own prompt is surely (95%) above the majority class."""
        return "majority" in self.floors and self.own_ci95[0] > self.floors["majority"]

    @property
    def above_majority(self) -> float | None:
        """(score - majority) / (own - majority). None where the target is not ``learnable``."""
        return self.of_gain(self.score)

    @property
    def negative(self) -> bool:
        """Negative transfer: below the backbone without a prompt, where known with all of ``gain_ci95``."""
        if self.gain_ci95 is not None:
            return self.gain_ci95[1] < 0
        return "no_prompt" in self.floors and self.score < self.floors["no_prompt"]

    def of_own(self, score: float) -> float | None:
        return score / self.own if self.own > 0 else None

    def of_gain(self, score: float) -> float | None:
        if not self.learnable:
            return None
        return (score - self.floors["majority"]) / (self.own - self.floors["majority"])

    def to_dict(self) -> dict[str, Any]:
        shares = {"relative": self.relative, "above_majority": self.above_majority}
        return {**asdict(self), **shares, "negative": self.negative}


def same_type(first: Task, second: Task) -> bool:
    """Whether two tasks are known to be of one type."""
    return bool(alike(first.type, second.type))


def alike(first: str, second: str) -> bool | None:
    """Whether two types are one; None where nothing is known, of a custom task's."""
    return None if "custom" in (first, second) else first == second


def summarise(pairs: Sequence[Pair], weights: Sequence[float] | None = None) -> dict[str, Any]:
    """Means over pairs: relative performance, the same above the majority class, and the floors' own.

    A mean is None where no pair has the figure; ``pairs`` and ``pairs_above_majority`` count those that do.
    """
    used = np.ones(len(pairs)) if weights is None else np.asarray(weights, float)

    def mean(figure: Callable[[Pair], float | None]) -> float | None:
        known = [
            (value, w) for pair, w in zip(pairs, used, strict=True) if (value := figure(pair)) is not None
        ]
        if not sum(w for _, w in known):
            return None
        return float(np.average([value for value, _ in known], weights=[w for _, w in known]))

    def floor(name: str, share: Callable[[Pair, float], float | None]) -> float | None:
        return mean(lambda pair: share(pair, pair.floors[name]) if name in pair.floors else None)

    return {
        "pairs": sum(pair.relative is not None for pair in pairs),
        "relative": mean(lambda pair: pair.relative),
        "relative_of_floors": {name: floor(name, Pair.of_own) for name in FLOORS},
        "pairs_above_majority": sum(pair.above_majority is not None for pair in pairs),
        "above_majority": mean(lambda pair: pair.above_majority),
        "above_majority_of_floors": {
            name: floor(name, Pair.of_gain) for name in FLOORS if name != "majority"
        },
        "negative": sum(pair.negative for pair in pairs),
    }


_SAMPLES_AT_ONCE = 50


def interval_over_tasks(
    pairs: Sequence[Pair],
    figure: str,
    types: Mapping[str, str],
    n_resamples: int = 5000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95% interval of the mean of ``figure`` (a property of ``Pair``) when other tasks could have been taken.

    The tasks of each type are drawn anew with replacement, a task as source and as target together: pairs
    that share a task are not independent. types: of every task. None where no pair has the figure, or so few
    tasks are there that nothing else could be drawn.
    """
    known = [(pair, value) for pair in pairs if (value := getattr(pair, figure)) is not None]
    if not known:
        return None
    names = sorted({name for pair in pairs for name in (pair.source, pair.target)})
    drawn = _draws_of_tasks(tuple(types[name] for name in names), n_resamples, seed)
    place = {name: index for index, name in enumerate(names)}
    sources, rows = np.unique([place[pair.source] for pair, _ in known], return_inverse=True)
    targets, columns = np.unique([place[pair.target] for pair, _ in known], return_inverse=True)
    values, count = np.zeros((2, len(sources), len(targets)))
    np.add.at(values, (rows, columns), [value for _, value in known])
    np.add.at(count, (rows, columns), 1.0)
    means: list[np.ndarray] = []
    first, differ = None, False
    # A pair weighs as often as both of its tasks were drawn; some samples at a time, to take little memory.
    for start in range(0, n_resamples, _SAMPLES_AT_ONCE):
        part = drawn[start : start + _SAMPLES_AT_ONCE].astype(np.float64)
        of_sources, of_targets = part[:, sources], part[:, targets]
        total = ((of_sources @ count) * of_targets).sum(1)
        some = total > 0
        of_sources, of_targets, total = of_sources[some], of_targets[some], total[some]
        if not differ and len(total):
            weights = of_sources[:, rows] * of_targets[:, columns] / total[:, None]
            first = weights[0] if first is None else first
            differ = not np.allclose(weights, first)
        means.append(((of_sources @ values) * of_targets).sum(1) / total)
    if not differ:
        return None
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


@lru_cache(maxsize=1)
def _draws_of_tasks(types: tuple[str, ...], n_resamples: int, seed: int) -> np.ndarray:
    """``[n_resamples, tasks]``: how often each task was drawn among those of its type.

    The last ones are kept: a summary has several figures of the same tasks.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for place, kind in enumerate(types):
        groups[kind].append(place)
    chooser = np.random.default_rng(seed)
    drawn = np.zeros((n_resamples, len(types)), np.uint16)
    for members in groups.values():
        shares = np.full(len(members), 1 / len(members))
        drawn[:, members] = chooser.multinomial(len(members), shares, n_resamples)
    return drawn
