"""An indicator against measured transfer: rank correlation under several protocols, and regret.

The protocol moves the figure by tens of points, so a correlation without it says nothing:

| protocol | what is ranked against what |
|---|---|
| ``per-target`` | for each target its sources; the mean over targets. What choosing a source needs |
| ``per-source`` | for each source its targets; the mean over sources |
| ``global`` | all pairs in one list |
| ``global-relative`` | the same, each score divided by that of the target's own prompt |

each with the pairs of a task and itself or without. Spearman's coefficient, where equal values share the mean
of their ranks, and Kendall's tau-b; values that differ by less than rounding are equal. A list of fewer than
three pairs, or with all scores or all values equal, has no rank correlation and is left out of the mean.

Intervals (95%): the tasks are drawn with return, and with them their pairs (Snijders and Borgatti 1999,
"Non-parametric standard errors and tests for network statistics"), because pairs that share a task are not
independent. What chance alone would give: ``permutation.p_value``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from prompt_hub.errors import UserError
from prompt_hub.indicators.base import Context, Indicator, Needs, Target
from prompt_hub.indicators.compare import by_task, task_names, task_types
from prompt_hub.indicators.pairs import LEAST_PAIRS, Pairs, pair_up
from prompt_hub.indicators.permutation import p_value
from prompt_hub.indicators.registry import get_indicators
from prompt_hub.indicators.regret import chance_regret_at, regret_at
from prompt_hub.tasks.correlations import weighted_kendall, weighted_spearman

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

PROTOCOLS = ("per-target", "per-source", "global", "global-relative")
REGRETS = (1, 3)
DRAWS = 1000
PERMUTATIONS = 999
CORRELATIONS = {"spearman": weighted_spearman, "kendall": weighted_kendall}
_BLOCK_ELEMENTS = 1_000_000


def validate(
    prompts: Mapping[str, SoftPrompt],
    scores: pd.DataFrame,
    by: Iterable[str] | None = None,
    *,
    context: Context | None = None,
    targets: Mapping[str, Target] | None = None,
    draws: int = DRAWS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """``agreement`` of each indicator over the prompts, in one table with the column indicator in front.

    Three rows more an indicator: statistic mean, protocol same-type and different-type, how large the
    indicator itself is over the pairs that count there; and statistic seconds, what it took to compute for n
    pairs of a target and a prompt. prompts: by name; several of one task (seeds) count by the mean over their
    pairs. scores: see ``measured.read_scores``. targets: by task, for indicators that need labelled rows.

    ``attrs``: pairs (a dictionary a pair of tasks: indicator, target, source, value, score, same_task,
    same_type) and left_out (indicator, target, reason): targets that an indicator cannot be had for, target
    None where there is none that it can. ``UserError`` where that is so for every indicator.
    """
    types = task_types(prompts)
    tables, pairs, left_out = [], [], []
    failure: UserError | None = None
    for indicator in get_indicators(by):
        try:
            values, cost, problems = _values(indicator, prompts, scores, targets or {}, context or Context())
            ranked = agreement(
                indicator.predicted(values), scores, draws=draws, permutations=permutations, seed=seed
            )
        except UserError as error:
            failure = failure or error
            left_out.append({"indicator": indicator.name, "target": None, "reason": str(error)})
            continue
        left_out += problems
        sizes = _means_by_type(values, scores, types, draws, seed)
        rows = pd.DataFrame([*ranked.to_dict("records"), *sizes, cost])
        tables.append(rows.assign(indicator=indicator.name, with_self=rows["with_self"].eq(True)))
        pairs += _pairs(indicator.name, values, scores, types)
    if failure is not None and not tables:
        raise failure
    table = pd.concat(tables, ignore_index=True)
    table = table[["indicator", *table.columns.drop("indicator")]]
    table.attrs = {"pairs": pairs, "left_out": left_out}
    return table


def _values(
    indicator: Indicator,
    prompts: Mapping[str, SoftPrompt],
    scores: pd.DataFrame,
    targets: Mapping[str, Target],
    context: Context,
) -> tuple[pd.DataFrame, dict[str, Any], list[dict[str, Any]]]:
    """By task; what they cost; and which targets were left out."""
    tasks = task_names(prompts)
    asked, names, problems = _targets(indicator, prompts, tasks, targets, list(scores.index))
    started = time.perf_counter()
    computed = indicator.matrix(prompts, asked, context)
    cost = {"statistic": "seconds", "value": time.perf_counter() - started, "n": computed.size}
    left_out = [{"indicator": indicator.name, **each} for each in problems]
    return by_task(computed, tasks, names), cost, left_out


def _targets(
    indicator: Indicator,
    prompts: Mapping[str, SoftPrompt],
    tasks: Mapping[str, str],
    known: Mapping[str, Target],
    measured: Sequence[str],
) -> tuple[list[Target], dict[str, str] | None, list[dict[str, str]]]:
    """Targets of an indicator; the task of each, None where that is the task of the prompt of this name; and
    which tasks it cannot be had for, and why.

    A target is a prompt where prompts are compared, else a task: its rows are the same for all its prompts.
    """
    if Needs.TARGET_ROWS not in indicator.needs:
        return [Target(name, prompt) for name, prompt in prompts.items()], None, []
    if Needs.TARGET_PROMPT in indicator.needs:
        asked, names = [], None
        for name, prompt in prompts.items():
            if tasks[name] not in measured:
                continue
            task = known.get(tasks[name], Target(tasks[name]))
            asked.append(replace(task, name=name, prompt=prompt))
    else:
        asked = [known.get(name, Target(name)) for name in measured]
        names = {name: name for name in measured}
    problems = {each.name: problem for each in asked if (problem := indicator.problem(each))}
    if len(problems) == len(asked):
        raise UserError(next(iter(problems.values()), f"No target of {indicator.name!r} was measured."))
    usable = [each for each in asked if each.name not in problems]
    return usable, names, [{"target": name, "reason": reason} for name, reason in problems.items()]


def _pairs(
    name: str, values: pd.DataFrame, scores: pd.DataFrame, types: Mapping[str, str]
) -> list[dict[str, Any]]:
    pairs = pair_up(values, scores)
    known = pairs.usable(with_self=True)
    found = []
    for row, column in zip(*known.nonzero(), strict=True):
        target, source = (pairs.tasks[each] for each in (pairs.targets[row], pairs.sources[column]))
        typed = target in types and source in types
        found.append(
            {
                "indicator": name,
                "target": target,
                "source": source,
                "value": float(pairs.predicted[row, column]),
                "score": float(pairs.scores[row, column]),
                "same_task": target == source,
                "same_type": types[target] == types[source] if typed else None,
            }
        )
    return found


def agreement(
    predicted: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    draws: int = DRAWS,
    permutations: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """How well ``predicted`` (larger: more transfer) ranks measured ``scores``, both ``[targets, sources]``.

    A row a figure: statistic (spearman, kendall, regret@1, regret@3), protocol, with_self, value, low, high
    (95%), p (of Spearman's coefficient from ``permutations``; NaN without any), chance (what an indicator
    that knows nothing gets), n (ordered pairs), lists (targets or sources of which the value is the mean; 1
    for the global protocols). Regret is in the units of the scores, always per target and without self.
    Values are NaN where nothing can be ranked.
    """
    pairs = pair_up(predicted, scores)
    counts = _task_counts(len(pairs.tasks), draws, seed)
    rows = []
    for statistic, correlation in CORRELATIONS.items():
        for protocol, with_self in product(protocols, (True, False)):
            found = _correlation(pairs, correlation, protocol, with_self, counts)
            found["p"] = np.nan
            if statistic == "spearman" and permutations and np.isfinite(found["value"]):
                found["p"] = p_value(pairs, protocol, with_self, permutations, seed)
            rows.append({"statistic": statistic, "protocol": protocol, "with_self": with_self, **found})
    for k in REGRETS:
        found = _regret(pairs, k, counts)
        rows.append({"statistic": f"regret@{k}", "protocol": "per-target", "with_self": False, **found})
    columns = ["statistic", "protocol", "with_self", "value", "low", "high", "p", "chance", "n", "lists"]
    return pd.DataFrame(rows, columns=columns)


def _means_by_type(
    values: pd.DataFrame, scores: pd.DataFrame, types: Mapping[str, str], draws: int, seed: int
) -> list[dict[str, Any]]:
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
    return rows


def _task_counts(n_tasks: int, draws: int, seed: int) -> np.ndarray:
    """``[1 + draws, n_tasks]``: each task once (the estimate itself), then how often each was drawn."""
    drawn = np.random.default_rng(seed).multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), draws)
    return np.vstack([np.ones(n_tasks), drawn]).astype(float)


def _correlation(
    pairs: Pairs, correlation: Callable[..., np.ndarray], protocol: str, with_self: bool, counts: np.ndarray
) -> dict[str, float]:
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
        points = used.predicted[r, c], used.scores[r, c]
        values = _rank_correlation(correlation, *points, protocol, *tasks, counts)
        if np.isfinite(values[0]):
            found.append(values)
            weights.append(weight)
            n += len(r)
    return _figure(_weighted_mean(found, weights, len(counts)), 0.0, n, len(found))


def _rank_correlation(
    correlation: Callable[..., np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    protocol: str,
    targets: np.ndarray,
    sources: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """``[R]``: of one list of points ``[n]`` in every resample. NaN for too few, or where all are equal."""
    if len(x) < LEAST_PAIRS:
        return np.full(len(counts), np.nan)
    size = max(1, _BLOCK_ELEMENTS // len(x))
    blocks = [counts[start : start + size] for start in range(0, len(counts), size)]
    return np.concatenate(
        [
            correlation(x, y, _point_counts(protocol, targets, sources, block), undefined=np.nan)
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
