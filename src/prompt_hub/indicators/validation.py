"""An indicator against measured transfer: rank correlation under several protocols, and regret.

The protocol moves the figure by tens of points, so a correlation without it says nothing:

| protocol | what is ranked against what |
|---|---|
| ``per-target`` | for each target its sources; the mean over targets. What choosing a source needs |
| ``per-source`` | for each source its targets; the mean over sources |
| ``global`` | all pairs in one list |
| ``global-relative`` | the same, each score divided by that of the target's own prompt |

each with the pairs of a task and itself or without. Spearman's coefficient; equal values share the mean of
their ranks, and values that differ by less than rounding are equal. A list of fewer than three pairs, or with
all scores or all values equal, has no rank correlation and is left out of the mean.

Intervals (95%): the tasks are drawn with return, and with them their pairs (Snijders and Borgatti 1999,
"Non-parametric standard errors and tests for network statistics"), because pairs that share a task are not
independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prompt_hub.errors import UserError
from prompt_hub.indicators.base import Context
from prompt_hub.indicators.compare import by_task, matrix_of, task_names, task_types
from prompt_hub.indicators.registry import get_indicators
from prompt_hub.indicators.regret import chance_regret_at, regret_at
from prompt_hub.tasks.correlations import weighted_spearman

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

PROTOCOLS = ("per-target", "per-source", "global", "global-relative")
REGRETS = (1, 3)
DRAWS = 1000
_LEAST_PAIRS = 3
_DIGITS = 10
_BLOCK_ELEMENTS = 1_000_000


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
    if len(targets) < 2 or len(sources) < _LEAST_PAIRS:
        raise UserError(
            f"Prompts and scores share {len(targets)} targets and {len(sources)} sources; 2 and "
            f"{_LEAST_PAIRS} are needed. Prompts: {', '.join(predicted.columns)}. Scores: "
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


def validate(
    prompts: Mapping[str, SoftPrompt],
    scores: pd.DataFrame,
    by: Iterable[str] | None = None,
    *,
    context: Context | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """``agreement`` of each indicator over the prompts, in one table with the column indicator in front.

    Two rows more say how large the indicator itself is: statistic mean, protocol same-type and
    different-type, over the pairs that count there. prompts: by name; several of one task (seeds) count by
    the mean over their pairs. scores: see ``measured.read_scores``.
    """
    tasks, types = task_names(prompts), task_types(prompts)
    tables = []
    for indicator in get_indicators(by):
        values = by_task(matrix_of(indicator, prompts, context or Context()), tasks)
        ranked = agreement(indicator.predicted(values), scores, draws=draws, seed=seed)
        sizes = _means_by_type(values, scores, types, draws, seed)
        tables.append(pd.concat([ranked, sizes]).assign(indicator=indicator.name))
    table = pd.concat(tables, ignore_index=True)
    return table[["indicator", *table.columns.drop("indicator")]]


def agreement(
    predicted: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """How well ``predicted`` (larger: more transfer) ranks measured ``scores``, both ``[targets, sources]``.

    A row a figure: statistic (spearman, regret@1, regret@3), protocol, with_self, value, low, high (95%),
    chance (what an indicator that knows nothing gets), n (ordered pairs), lists (targets or sources of which
    the value is the mean; 1 for the global protocols). Regret is in the units of the scores, always per
    target and without self. Values are NaN where nothing can be ranked.
    """
    pairs = pair_up(predicted, scores)
    counts = _task_counts(len(pairs.tasks), draws, seed)
    rows = []
    for protocol in protocols:
        for with_self in (True, False):
            found = _correlation(pairs, protocol, with_self, counts)
            rows.append({"statistic": "spearman", "protocol": protocol, "with_self": with_self, **found})
    for k in REGRETS:
        found = _regret(pairs, k, counts)
        rows.append({"statistic": f"regret@{k}", "protocol": "per-target", "with_self": False, **found})
    return pd.DataFrame(rows)


def _means_by_type(
    values: pd.DataFrame, scores: pd.DataFrame, types: Mapping[str, str], draws: int, seed: int
) -> pd.DataFrame:
    """Mean of an indicator over foreign pairs of one type and of two."""
    pairs = pair_up(values, scores)
    counts = _task_counts(len(pairs.tasks), draws, seed)
    # A task of unknown type gets an empty one.
    kinds = np.array([types.get(name, "") for name in pairs.tasks])
    target, source = kinds[pairs.targets][:, None], kinds[pairs.sources][None, :]
    typed, same = pairs.usable(False) & (target != "") & (source != ""), target == source
    rows = []
    for protocol, chosen in {"same-type": typed & same, "different-type": typed & ~same}.items():
        r, c = chosen.nonzero()
        weights = counts[:, pairs.targets[r]] * counts[:, pairs.sources[c]]
        found = _weighted_mean(list(pairs.predicted[r, c, None]), list(weights.T), len(counts))
        figure = _figure(found, np.nan, len(r), 1)
        rows.append({"statistic": "mean", "protocol": protocol, "with_self": False, **figure})
    return pd.DataFrame(rows)


def _without_noise(values: np.ndarray) -> np.ndarray:
    """Rounded, so that values equal but for rounding (a prompt's cosine with itself, say) are ties."""
    largest = np.nanmax(np.abs(values), initial=0)
    if not largest > 0:
        return values
    return np.round(values, _DIGITS - 1 - int(np.floor(np.log10(largest))))


def _task_counts(n_tasks: int, draws: int, seed: int) -> np.ndarray:
    """``[1 + draws, n_tasks]``: each task once (the estimate itself), then how often each was drawn."""
    drawn = np.random.default_rng(seed).multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), draws)
    return np.vstack([np.ones(n_tasks), drawn]).astype(float)


def _correlation(pairs: Pairs, protocol: str, with_self: bool, counts: np.ndarray) -> dict[str, float]:
    used = pairs.relative() if protocol == "global-relative" else pairs
    rows, columns = used.usable(with_self).nonzero()
    # A mean over lists: each is as heavy as its target (or source) was often drawn.
    if protocol == "per-target":
        lists = [(rows == row, counts[:, used.targets[row]]) for row in np.unique(rows)]
    elif protocol == "per-source":
        lists = [(columns == column, counts[:, used.sources[column]]) for column in np.unique(columns)]
    else:
        lists = [(np.full(len(rows), True), np.ones(len(counts)))]
    found, weights, n = [], [], 0
    for chosen, weight in lists:
        r, c = rows[chosen], columns[chosen]
        tasks = used.targets[r], used.sources[c]
        values = _rank_correlation(used.predicted[r, c], used.scores[r, c], protocol, *tasks, counts)
        if np.isfinite(values[0]):
            found.append(values)
            weights.append(weight)
            n += len(r)
    return _figure(_weighted_mean(found, weights, len(counts)), 0.0, n, len(found))


def _rank_correlation(
    x: np.ndarray, y: np.ndarray, protocol: str, targets: np.ndarray, sources: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """``[R]``: of one list of points ``[n]`` in every resample. NaN for too few, or where all are equal."""
    if len(x) < _LEAST_PAIRS:
        return np.full(len(counts), np.nan)
    size = max(1, _BLOCK_ELEMENTS // len(x))
    blocks = [counts[start : start + size] for start in range(0, len(counts), size)]
    return np.concatenate(
        [
            weighted_spearman(x, y, _point_counts(protocol, targets, sources, block), undefined=np.nan)
            for block in blocks
        ]
    )


def _point_counts(protocol: str, targets: np.ndarray, sources: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``[R, n]``: how often each pair stands in one list, by how often its tasks were drawn.

    A task that was drawn twice is not its own foreign source: each copy meets itself once.
    """
    same = targets == sources
    if protocol == "per-target":
        points = counts[:, sources]
        points[:, same] = 1
    elif protocol == "per-source":
        points = counts[:, targets]
        points[:, same] = 1
    else:
        points = counts[:, targets] * counts[:, sources]
        points[:, same] = counts[:, targets[same]]
    return points


def _regret(pairs: Pairs, k: int, counts: np.ndarray) -> dict[str, float]:
    found, weights, chance, n = [], [], [], 0
    for target, known in enumerate(pairs.usable(with_self=False)):
        # As many sources as are picked leave nothing to lose.
        if known.sum() > k:
            scores = pairs.scores[target, known]
            found.append(np.full(len(counts), regret_at(k, pairs.predicted[target, known], scores)))
            weights.append(counts[:, pairs.targets[target]])
            chance.append(chance_regret_at(k, scores))
            n += int(known.sum())
    by_lot = float(np.mean(chance)) if chance else np.nan
    return _figure(_weighted_mean(found, weights, len(counts)), by_lot, n, len(found))


def _weighted_mean(values: Sequence[np.ndarray], weights: Sequence[np.ndarray], size: int) -> np.ndarray:
    """``[R]`` means over lists of ``[R]`` values, those that are NaN left out."""
    top, total = np.zeros(size), np.zeros(size)
    for value, weight in zip(values, weights, strict=True):
        known = np.isfinite(value)
        top += np.where(known, value, 0) * weight
        total += known * weight
    return np.divide(top, total, out=np.full(size, np.nan), where=total > 0)


def _figure(values: np.ndarray, chance: float, n: int, lists: int) -> dict[str, float]:
    """values: the estimate, then those of the resamples."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) and np.isfinite(values[0]) else (np.nan,) * 2
    return {
        "value": float(values[0]),
        "low": float(low),
        "high": float(high),
        "chance": chance,
        "n": n,
        "lists": lists,
    }
