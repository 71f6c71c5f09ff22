"""How alike the activated neurons of two prompts are.

Every measure takes two arrays of layers by neurons ``[L, F]`` (``L`` layers, ``F`` FFN width) of one backbone
and gives a number; 1 is the most alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.reports.neuron_figures import condensed

TOP_K = 100
WINDOW = 3
Layers = int | slice | Sequence[int] | None


def overlap(
    first: Any,
    second: Any,
    measure: str = "on",
    *,
    layers: Layers = None,
    weights: Any = None,
    k: int = TOP_K,
) -> float:
    """``measure`` over the named layers (default all), as one long vector.

    measure: one of ``MEASURES``. weights: ``[L, F]`` of at least 0, how much each neuron counts
    (``skill_weights``). k: of ``top_k``. Raises ``UserError`` for arrays of different shape (prompts of
    different backbones), layers that do not exist, an unknown measure.
    """
    if measure not in MEASURES:
        raise unknown_name("measure", measure, MEASURES)
    a, b = _pair(first, second)
    w = np.ones_like(a) if weights is None else _weights(weights, a.shape)
    chosen = _layers(layers, len(a))
    a, b, w = (array[chosen].ravel() for array in (a, b, w))
    if measure == "top_k":
        if weights is not None:
            raise UserError("top_k takes no weights. Use on, jaccard, cosine or correlation.")
        return top_k(a, b, k)
    return MEASURES[measure](a, b, w)


def overlap_by_layer(first: Any, second: Any, measure: str = "on", **options: Any) -> list[float]:
    """``[L]``: the measure of each layer by itself. options: as of ``overlap``."""
    count = len(_pair(first, second)[0])
    return [overlap(first, second, measure, layers=layer, **options) for layer in range(count)]


def overlap_by_window(
    first: Any, second: Any, measure: str = "on", size: int = WINDOW, **options: Any
) -> dict[str, float]:
    """The measure of every ``size`` layers, under names such as ``0-2``; the paper's windows are of three.

    The last window is shorter where the layers do not divide.
    """
    count = len(_pair(first, second)[0])
    if size < 1:
        raise UserError(f"A window has at least one layer, not {size}.")
    found = {}
    for start in range(0, count, size):
        end = min(start + size, count)
        found[f"{start}-{end - 1}"] = overlap(first, second, measure, layers=slice(start, end), **options)
    return found


# -- measures: vectors [N] and weights [N] ---------------------------------------------------------------


def on(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> float:
    """The paper's ON: the cosine of the binary vectors (above 0: 1), |A and B| / sqrt(|A| |B|).

    Su et al. 2022; 0 where one of them has no active neuron. With weights each neuron counts as its weight.
    """
    x, y = a > 0, b > 0
    sizes = float(w[x].sum()) * float(w[y].sum())
    return float(w[x & y].sum()) / sizes**0.5 if sizes > 0 else 0.0


def jaccard(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> float:
    """|A and B| / |A or B| of the active neurons; 0 where there is none."""
    x, y = a > 0, b > 0
    either = float(w[x | y].sum())
    return float(w[x & y].sum()) / either if either > 0 else 0.0


def top_k(a: np.ndarray, b: np.ndarray, k: int = TOP_K) -> float:
    """The share of the k highest values of one that are among the k highest of the other."""
    if not 1 <= k <= len(a):
        raise UserError(f"k must be 1 to {len(a)} (the neurons compared), not {k}.")
    highest = [set(np.argsort(-values, kind="stable")[:k].tolist()) for values in (a, b)]
    return len(highest[0] & highest[1]) / k


def cosine(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> float:
    """The cosine of the values themselves; 0 where one of them is 0 throughout."""
    below = float((w * a * a).sum()) * float((w * b * b).sum())
    return float((w * a * b).sum()) / below**0.5 if below > 0 else 0.0


def correlation(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> float:
    """Pearson's correlation of the values: their cosine once the mean is taken out."""
    total = w.sum()
    if not total > 0:
        return 0.0
    return cosine(a - (w * a).sum() / total, b - (w * b).sum() / total, w)


MEASURES: dict[str, Callable[..., float]] = {
    "on": on,
    "jaccard": jaccard,
    "top_k": top_k,
    "cosine": cosine,
    "correlation": correlation,
}


# -- skill neurons ---------------------------------------------------------------------------------------


def skill_weights(*predictivities: Any) -> np.ndarray:
    """``[L, F]`` weights from predictivities (``over_rows.predictivity``): 0 at chance, 1 where a neuron is
    always right; of several tasks the mean.

    Weighted by it, ON counts the neurons that carry a task's classes and leaves out those that only fire.
    Wang et al. 2022 restrict the overlap to the most predictive neurons: ``selection.top`` of a predictivity,
    given as weights, does that.
    """
    if not predictivities:
        raise UserError("skill_weights needs the predictivity of one task or more.")
    arrays = [np.asarray(each, np.float64) for each in predictivities]
    for array in arrays[1:]:
        _pair(arrays[0], array)
    return np.mean([np.clip(2 * (array - 0.5), 0, 1) for array in arrays], 0)


# -- checks ----------------------------------------------------------------------------------------------


def _pair(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise UserError(
            f"Neurons of shape {list(a.shape)} and {list(b.shape)} cannot be compared: both must be [layers, "
            "neurons] of one backbone. Compare prompts of the same backbone."
        )
    return a, b


def _weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(weights, np.float64)
    if found.shape != shape or not (found >= 0).all():
        raise UserError(
            f"Weights must have the shape of the neurons, {list(shape)}, and be 0 or more; got shape "
            f"{list(found.shape)}{'' if found.shape != shape else ' with negative ones'}."
        )
    return found


def _layers(layers: Layers, count: int) -> list[int]:
    if layers is None:
        return list(range(count))
    if isinstance(layers, slice):
        chosen = list(range(count))[layers]
    else:
        chosen = [layers] if isinstance(layers, int) else list(layers)
    missing = [layer for layer in chosen if not 0 <= layer < count]
    if missing or not chosen:
        raise UserError(
            f"Layer {missing[0] if missing else layers} does not exist: there are 0 to {count - 1}."
        )
    return chosen


def overlap_record(
    result: Mapping[str, Any], names: Mapping[str, str], arrays: Sequence[Any]
) -> dict[str, Any]:
    """What is stored of a comparison: ``result`` with short ``names`` (by place) and a map of the neurons.

    result: ``prompts`` and ``pairs`` by place, as ``prompt-hub neurons overlap --json`` prints them. arrays:
    ``[L, F]`` of each prompt.
    """
    prompts = [{**one, "name": names[one["prompt"]]} for one in result["prompts"]]
    pairs = [{**one, "first": names[one["first"]], "second": names[one["second"]]} for one in result["pairs"]]
    values = dict(zip(names.values(), arrays, strict=True))
    return {**result, "prompts": prompts, "pairs": pairs, "map": condensed(values)}
