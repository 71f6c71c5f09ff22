"""Means over seeds with their intervals.

The interval is Student's: mean +- t(0.975, n - 1) * s / sqrt(n). It takes the seeds' values as independent
and roughly normal; with three seeds it is wide (t = 4.30), as it should be. A bootstrap over so few values
would be too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prompt_hub.errors import UserError


@dataclass(frozen=True)
class OverSeeds:
    """values: one a seed. mean: theirs. ci95: 95% interval of the mean; None with fewer than two values."""

    values: list[float]
    mean: float
    ci95: list[float] | None

    @property
    def n(self) -> int:
        return len(self.values)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "n": self.n}


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds, where there are some and each is named once. Raises ``UserError`` else."""
    if not seeds:
        raise UserError("No seeds are named. Give some, such as --seeds 1,2,3.")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {','.join(map(str, seeds))} names one twice. Every seed counts once.")
    return list(seeds)


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Mean and t-interval. Raises ``ValueError`` without values."""
    if not values:
        raise ValueError("There are no values to take the mean of.")
    found = [float(value) for value in values]
    mean = float(np.mean(found))
    return OverSeeds(found, mean, _t_interval(found, mean))


def ratios_over_seeds(ratios: Sequence[float]) -> OverSeeds:
    """Geometric mean of ratios above 0, and the t-interval of their logarithms.

    So twice as fast and half as fast have the mean 1, and the interval stays above 0.
    """
    logs = over_seeds([math.log(ratio) for ratio in ratios])
    ci95 = None if logs.ci95 is None else [math.exp(end) for end in logs.ci95]
    return OverSeeds([float(ratio) for ratio in ratios], math.exp(logs.mean), ci95)


def _t_interval(values: list[float], mean: float) -> list[float] | None:
    from scipy import stats

    count = len(values)
    if count < 2:
        return None
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return [mean - half, mean + half]
