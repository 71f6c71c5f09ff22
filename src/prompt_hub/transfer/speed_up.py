"""How much faster one run gets there than another, from their learning curves.

A speed-up is the steps of a cold run divided by those of a run with another start:

- **comparable result**: steps until a run first reaches the cold run's best result.
- **convergence**: steps until a run has converged: from that evaluation on every one is within a tolerance
  of the run's own best, and at least one more evaluation shows it. The tolerance is a tenth of what the cold
  run gained over its start, the same for both runs. A run whose best stays more than that below the cold
  run's has settled for less: it has no convergence speed-up.

Steps are known at evaluations only, so a step count is that of the first evaluation where it holds. Where a
run does not get there, or is there before its first step, the speed-up is known from one side only: it is
*censored*, and a bound stands in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from prompt_hub.errors import UserError
from prompt_hub.evaluation.over_seeds import ratios_over_seeds

CONVERGED = 0.1
"""Tolerance of convergence, as a share of what the cold run gains."""

Bound = Literal["exact", "at least", "at most", "undefined"]


@dataclass(frozen=True)
class Curve:
    """steps: ascending, the first is 0 (before training). values: at these steps, higher is better."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values) or len(self.steps) < 2 or self.steps[0] != 0:
            raise UserError(
                "A learning curve needs a value before training and one after it; there are values at steps "
                f"{self.steps}. Evaluate more often (--eval-every), or lower --lr where they were no numbers."
            )

    @classmethod
    def of_history(cls, history: Iterable[Mapping[str, Any]], key: str, higher_is_better: bool) -> Curve:
        """The evaluations in a Trainer's log; losses are negated. Values that are no numbers are left out."""
        sign = 1 if higher_is_better else -1
        points = {
            int(entry["step"]): sign * float(entry[key])
            for entry in history
            if key in entry and np.isfinite(entry[key])
        }
        return cls(tuple(sorted(points)), tuple(points[step] for step in sorted(points)))

    @property
    def best(self) -> float:
        return max(self.values)

    @property
    def gain(self) -> float:
        """Best value above that before training."""
        return self.best - self.values[0]

    def first_at(self, value: float) -> int | None:
        """The first step whose value is at least ``value``; None if there is none."""
        return next(
            (step for step, found in zip(self.steps, self.values, strict=True) if found >= value), None
        )

    def converged_at(self, tolerance: float) -> int | None:
        """The first step from which on all values are within ``tolerance`` of the best.

        None where that is the last step: nothing after it shows that the value stays.
        """
        lowest = self.best - tolerance
        outside = [place for place, value in enumerate(self.values) if value < lowest]
        first = outside[-1] + 1 if outside else 0
        return self.steps[first] if first < len(self.steps) - 1 else None


@dataclass(frozen=True)
class SpeedUp:
    """cold_steps, steps: of the cold run and of the other; None where it did not get there.

    ratio: cold_steps / steps, or the bound on it. bound: ``exact``; ``at least`` or ``at most`` the ratio; or
    ``undefined`` (ratio None), where the cold run was there before its first step, neither run got there, or
    the other one settled for less.
    """

    cold_steps: int | None
    steps: int | None
    ratio: float | None
    bound: Bound


def comparable_speed_up(cold: Curve, other: Curve) -> SpeedUp:
    """Steps to the cold run's best result."""
    return _speed_up(cold, other, cold.first_at(cold.best), other.first_at(cold.best))


def convergence_speed_up(cold: Curve, other: Curve) -> SpeedUp:
    """Steps to convergence, each run's to its own best."""
    tolerance = CONVERGED * cold.gain
    cold_steps, steps = cold.converged_at(tolerance), other.converged_at(tolerance)
    if cold.gain <= 0 or other.best < cold.best - tolerance:
        return SpeedUp(cold_steps, steps, None, "undefined")
    return _speed_up(cold, other, cold_steps, steps)


def _speed_up(cold: Curve, other: Curve, cold_steps: int | None, steps: int | None) -> SpeedUp:
    if cold_steps == 0 or (cold_steps is None and steps is None):
        return SpeedUp(cold_steps, steps, None, "undefined")
    if steps is None:
        assert cold_steps is not None
        return SpeedUp(cold_steps, None, cold_steps / other.steps[-1], "at most")
    # There before the first step: some number of steps up to the first evaluation would have done too.
    counted = steps or other.steps[1]
    if cold_steps is None:
        return SpeedUp(None, steps, cold.steps[-1] / counted, "at least")
    return SpeedUp(cold_steps, steps, cold_steps / counted, "exact" if steps else "at least")


def summary(found: Sequence[SpeedUp]) -> dict[str, Any]:
    """Over seeds: the geometric mean with its interval, and how many ratios are bounds only.

    ``mean`` takes censored ratios at their bound. ``bound`` says what it then is: ``exact``, ``at least``,
    ``at most``; ``undefined`` (mean None) where bounds of both kinds meet, or no ratio is there. ``ci95``
    only where every ratio that counts is exact. Undefined ones are left out of the mean and counted.
    """
    counts = {bound: sum(one.bound == bound for one in found) for bound in _BOUNDS}
    ratios = [one.ratio for one in found if one.ratio is not None]
    kinds = {one.bound for one in found if one.bound in ("at least", "at most")}
    result: dict[str, Any] = {"mean": None, "ci95": None, "bound": "undefined"}
    if ratios and len(kinds) < 2:
        over = ratios_over_seeds(ratios)
        result = {
            "mean": over.mean,
            "ci95": None if kinds else over.ci95,
            "bound": kinds.pop() if kinds else "exact",
        }
    return {**result, "counts": counts, "by_seed": [asdict(one) for one in found]}


_BOUNDS: tuple[Bound, ...] = ("exact", "at least", "at most", "undefined")
