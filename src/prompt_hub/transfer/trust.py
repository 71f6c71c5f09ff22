"""How far a way of ranking can be trusted: what it would have picked where transfer was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from prompt_hub.errors import UserError
from prompt_hub.indicators.base import Context, Indicator, Needs
from prompt_hub.indicators.compare import by_task, matrix_of, task_names
from prompt_hub.indicators.measured import task_of
from prompt_hub.indicators.pairs import pair_up
from prompt_hub.indicators.regret import regret_at
from prompt_hub.indicators.validation import agreement
from prompt_hub.prompts.soft_prompt import SoftPrompt

_SIMULATIONS = 50


@dataclass(frozen=True)
class Figure:
    """With its 95% interval over tasks; NaN where there is none. chance: what a pick by lot gets."""

    value: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Trust:
    """Per target and without self, over the targets of a measured matrix.

    spearman: rank correlation of ranking and measured score. regret_1, regret_3: score lost by the first
    pick, by the best of the first three. picked, best, by_lot: mean scores of the first pick, of the best
    source and of a pick by lot, as shares of the target's own prompt; None where no own prompt was measured.
    simulated: the ranking is by noisy scores that were drawn, not by a measurement.
    """

    spearman: Figure
    regret_1: Figure
    regret_3: Figure
    picked: float | None
    best: float | None
    by_lot: float | None
    targets: int
    pairs: int
    simulated: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def trust_indicator(
    indicator: Indicator,
    prompts: Mapping[str, SoftPrompt],
    scores: pd.DataFrame,
    target: str,
    context: Context | None = None,
    seed: int = 0,
) -> Trust:
    """Of an indicator, from the prompts whose tasks were measured; ``target`` itself is left out.

    ``UserError`` for one that needs rows of every target, and for prompts of other tasks than the scores'.
    """
    if Needs.TARGET_ROWS in indicator.needs:
        raise UserError(
            f"indicator {indicator.name!r} needs labelled rows of each of its targets. Use prompt-hub "
            "indicators validate, which reads them."
        )
    tasks = task_names(prompts)
    values = by_task(matrix_of(indicator, prompts, context or Context()), tasks)
    return trust(indicator.predicted(values), _without(scores, target), seed)


def trust_scores(scores: pd.DataFrame, rows: int, target: str, seed: int = 0) -> Trust:
    """Of ranking by score on ``rows`` rows, simulated: each measured score is drawn anew from so many rows.

    The draws are binomial and independent. Real candidates are scored on the same rows, which makes their
    differences more certain, so that less is lost than is said here. ``UserError`` for scores that are no
    shares (0 to 1) or percentages.
    """
    known = _without(scores, target)
    values = known.to_numpy(float)
    top = 100.0 if np.nanmax(values) > 1 else 1.0
    if np.nanmin(values) < 0 or np.nanmax(values) > top:
        raise UserError(
            "The measured scores are no shares (0 to 1) or percentages, so that what a sample of rows would "
            "have picked cannot be simulated."
        )
    chooser = np.random.default_rng(seed)
    shares = np.nan_to_num(values / top)
    found = []
    for _ in range(_SIMULATIONS):
        drawn = np.where(np.isnan(values), np.nan, chooser.binomial(rows, shares) / rows)
        found.append(trust(pd.DataFrame(drawn, known.index, known.columns), known, seed, draws=200))
    return _mean(found)


def trust(predicted: pd.DataFrame, scores: pd.DataFrame, seed: int = 0, draws: int = 1000) -> Trust:
    """Of any ranking ``predicted`` (larger is better), both ``[targets, sources]``."""
    found = agreement(predicted, scores, protocols=("per-target",), draws=draws, seed=seed)
    chosen = found[(found["protocol"] == "per-target") & ~found["with_self"]].set_index("statistic")
    figures = {
        name: Figure(*(float(chosen.loc[name, column]) for column in ("value", "low", "high", "chance")))
        for name in ("spearman", "regret@1", "regret@3")
    }
    picked, best, by_lot = _shares(predicted, scores)
    return Trust(
        figures["spearman"],
        figures["regret@1"],
        figures["regret@3"],
        picked,
        best,
        by_lot,
        int(chosen.loc["spearman", "lists"]),
        int(chosen.loc["spearman", "n"]),
    )


def _shares(predicted: pd.DataFrame, scores: pd.DataFrame) -> tuple[float | None, float | None, float | None]:
    """Mean shares of the own prompt's score: of the first pick, of the best source, by lot."""
    pairs = pair_up(predicted, scores).relative()
    rows = []
    for values, shares, known in zip(pairs.predicted, pairs.scores, pairs.usable(False), strict=True):
        if known.any():
            best = shares[known].max()
            rows.append((best - regret_at(1, values[known], shares[known]), best, shares[known].mean()))
    if not rows:
        return None, None, None
    picked, best, by_lot = np.mean(rows, axis=0)
    return float(picked), float(best), float(by_lot)


def _without(scores: pd.DataFrame, target: str) -> pd.DataFrame:
    """The matrix as it was before the target was known."""
    name = task_of(target)
    return scores.drop(index=name, columns=name, errors="ignore")


def _mean(found: list[Trust]) -> Trust:
    """Of simulations: the mean of every number, intervals included."""
    means = pd.json_normalize([each.to_dict() for each in found]).astype(float).mean()
    figures: dict[str, Any] = {
        name: Figure(*(float(means[f"{name}.{part.name}"]) for part in fields(Figure)))
        for name in ("spearman", "regret_1", "regret_3")
    }
    shares: dict[str, Any] = {
        name: None if np.isnan(means[name]) else float(means[name]) for name in ("picked", "best", "by_lot")
    }
    return Trust(**figures, **shares, targets=found[0].targets, pairs=found[0].pairs, simulated=True)
