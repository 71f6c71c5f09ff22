"""Values of an indicator beside measured scores, for the targets and sources that both tables have.

Shape letters: ``T`` targets, ``S`` sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from prompt_hub.errors import UserError

LEAST_PAIRS = 3
_DIGITS = 10


@dataclass(frozen=True)
class Pairs:
    """predicted: ``[T, S]``, larger means more transfer. scores: ``[T, S]``. NaN where there is none.

    targets, sources: ``[T]`` and ``[S]``, the place of each one's task in ``tasks``.
    """

    predicted: np.ndarray
    scores: np.ndarray
    targets: np.ndarray
    sources: np.ndarray
    tasks: list[str]

    def is_self(self) -> np.ndarray:
        return self.targets[:, None] == self.sources[None, :]

    def usable(self, with_self: bool) -> np.ndarray:
        """``[T, S]``: the pairs that count."""
        known = np.isfinite(self.predicted) & np.isfinite(self.scores)
        return known if with_self else known & ~self.is_self()

    def relative(self) -> Pairs:
        """Scores divided by that of the target's own prompt; NaN where that is unknown or nothing."""
        own = np.where(self.is_self(), self.scores, 0).sum(1, where=np.isfinite(self.scores))
        shares = np.divide(
            self.scores, own[:, None], out=np.full_like(self.scores, np.nan), where=own[:, None] > 0
        )
        return Pairs(self.predicted, shares, self.targets, self.sources, self.tasks)


def pair_up(predicted: pd.DataFrame, scores: pd.DataFrame) -> Pairs:
    """The targets and sources that both tables have. ``UserError`` where they share too few."""
    targets = [name for name in scores.index if name in predicted.index]
    sources = [name for name in scores.columns if name in predicted.columns]
    if len(targets) < 2 or len(sources) < LEAST_PAIRS:
        raise UserError(
            f"Prompts and scores share {len(targets)} targets and {len(sources)} sources; 2 and "
            f"{LEAST_PAIRS} are needed. Prompts: {', '.join(predicted.columns)}. Scores: "
            f"{', '.join(scores.columns)}."
        )
    tasks = list(dict.fromkeys([*targets, *sources]))
    number = {name: place for place, name in enumerate(tasks)}
    return Pairs(
        _without_noise(predicted.loc[targets, sources].to_numpy(float)),
        scores.loc[targets, sources].to_numpy(float),
        np.array([number[name] for name in targets]),
        np.array([number[name] for name in sources]),
        tasks,
    )


def _without_noise(values: np.ndarray) -> np.ndarray:
    """Rounded, so that values equal but for rounding (a prompt's cosine with itself, say) are ties."""
    largest = np.nanmax(np.abs(values), initial=0)
    if not largest > 0:
        return values
    return np.round(values, _DIGITS - 1 - int(np.floor(np.log10(largest))))
