"""How often an indicator that knows nothing ranks as well: a permutation test over tasks.

The tasks of the indicator are renamed at random, as rows and as columns at once (Mantel 1967, "The detection
of disease clustering and a generalized regression approach"), so that pairs which share a task stay together:
they are not independent, and shuffling single pairs would find nearly everything significant. A task's pair
with itself stays one.
"""

from __future__ import annotations

import numpy as np

from prompt_hub.indicators.pairs import LEAST_PAIRS, Pairs

_BLOCK_ELEMENTS = 2_000_000


def p_value(pairs: Pairs, protocol: str, with_self: bool, permutations: int = 999, seed: int = 0) -> float:
    """One-sided: the share of renamings whose Spearman coefficient is at least that of the indicator.

    Both counts take in the indicator itself, so that the smallest is 1 / (permutations + 1). protocol: see
    ``validation``. NaN where nothing can be ranked.
    """
    used = pairs.relative() if protocol == "global-relative" else pairs
    renamed = _renamed(used, permutations, seed)
    size = max(1, _BLOCK_ELEMENTS // max(1, used.predicted.size))
    found = np.concatenate(
        [
            _spearman(used, renamed[start : start + size], protocol, with_self)
            for start in range(0, len(renamed), size)
        ]
    )
    if not np.isfinite(found[0]):
        return float("nan")
    known = found[np.isfinite(found)]
    # Rounding must not tell renamings apart that rank alike.
    return float((known >= found[0] - 1e-9).mean())


def _renamed(pairs: Pairs, permutations: int, seed: int) -> np.ndarray:
    """``[1 + permutations, tasks]``: whose place each task takes; first its own.

    Tasks trade places with those that are target and source as they are themselves.
    """
    chooser = np.random.default_rng(seed)
    number = np.arange(len(pairs.tasks))
    roles = np.isin(number, pairs.targets) + 2 * np.isin(number, pairs.sources)
    places = np.tile(number, (1 + permutations, 1))
    for role in np.unique(roles):
        same = np.flatnonzero(roles == role)
        places[1:, same] = chooser.permuted(places[1:, same], axis=1)
    return places


def _spearman(pairs: Pairs, places: np.ndarray, protocol: str, with_self: bool) -> np.ndarray:
    """``[R]``: the coefficient under each renaming, the mean over lists where there are several."""
    from scipy.stats import rankdata

    row, column = (np.zeros(len(pairs.tasks), int) for _ in range(2))
    row[pairs.targets], column[pairs.sources] = np.arange(len(pairs.targets)), np.arange(len(pairs.sources))
    at = row[places[:, pairs.targets]][:, :, None], column[places[:, pairs.sources]][:, None, :]
    x = pairs.predicted[at]
    y = np.broadcast_to(pairs.scores, x.shape)
    known = np.isfinite(x) & np.isfinite(y)
    if not with_self:
        known = known & ~pairs.is_self()
    if protocol == "per-source":
        x, y, known = (np.swapaxes(each, 1, 2) for each in (x, y, known))
    elif protocol != "per-target":
        x, y, known = (each.reshape(len(places), 1, -1) for each in (x, y, known))
    n = known.sum(-1)
    centred = []
    for values in (x, y):
        # What is left out ranks behind everything and takes no part.
        ranks = rankdata(np.where(known, values, np.inf), axis=-1)
        mean = (ranks * known).sum(-1, keepdims=True) / np.maximum(n, 1)[..., None]
        centred.append(np.where(known, ranks - mean, 0))
    top = (centred[0] * centred[1]).sum(-1)
    below = np.sqrt((centred[0] ** 2).sum(-1) * (centred[1] ** 2).sum(-1))
    usable = (n >= LEAST_PAIRS) & (below > 0)
    lists = np.divide(top, below, out=np.zeros_like(top), where=usable)
    count = usable.sum(-1)
    return np.divide(lists.sum(-1), count, out=np.full(len(places), np.nan), where=count > 0)
