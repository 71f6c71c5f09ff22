"""From two backbones to a map without training, and how well it carries tokens that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.answers import interval
from prompt_hub.transfer.cross_model.base import (
    CrossModelMap,
    check_scale,
    method_named,
    root_mean_square,
)
from prompt_hub.transfer.cross_model.maps import Method
from prompt_hub.transfer.cross_model.shared_tokens import SharedTokens, shared_tokens

MAX_TOKENS = 8192
HELD_OUT_SHARE, HELD_OUT_MOST, HELD_OUT_LEAST = 10, 256, 5
_SAMPLES = 1000


def fit_map(
    source: Backbone,
    target: Backbone,
    method: str = "procrustes",
    *,
    scale: str = "relative",
    max_tokens: int = MAX_TOKENS,
    seed: int = 42,
) -> CrossModelMap:
    """A map fitted to the tokens that both vocabularies share.

    method: a name in ``maps.METHODS``. scale: see ``CrossModelMap``. max_tokens: at most so many, the first
    of the source's vocabulary. seed: which tokens are held out for the check of the map; the map itself is
    fitted to all. Raises ``UserError`` for unknown names and where no token is shared.
    """
    chosen = method_named(method)
    check_scale(scale)
    if max_tokens < 1:
        raise UserError(f"max_tokens must be at least 1, not {max_tokens}.")
    shared = shared_tokens(source, target, max_tokens)
    metrics, controls = check_on_held_out(chosen, shared, seed)
    return CrossModelMap(
        source=source.identity,
        target=target.identity,
        method=method,
        tensors=chosen.fit(shared.source, shared.target),
        source_norm=root_mean_square(shared.source),
        target_norm=root_mean_square(shared.target),
        scale=scale,
        tokens={"shared": shared.found, "used": len(shared.texts)},
        seed=seed,
        metrics=metrics,
        controls=controls,
        warnings=_warnings(source, target, chosen, shared, metrics),
    )


def check_on_held_out(
    method: Method, shared: SharedTokens, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and controls on a tenth of the tokens (at most 256), by a map fitted to the others.

    For each: mean cosine between a token's image and its embedding in the target, and how often that
    embedding is the nearest of the held-out ones (``top1``; by chance 1 / n). Controls: ``shuffled_pairs``,
    the same fit with tokens paired at random, and ``mean_token``, the mean target embedding whatever the
    input: embeddings share a common direction, so a cosine alone says little. ``above_controls`` is the mean
    difference to the better control, with a 95% bootstrap interval over tokens. Both are empty with fewer
    than 50 tokens.
    """
    count = min(len(shared.texts) // HELD_OUT_SHARE, HELD_OUT_MOST)
    if count < HELD_OUT_LEAST:
        return {}, {}
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(shared.texts), generator=generator)
    held, kept = order[:count], order[count:]
    given, wanted = shared.source[held], shared.target[held]
    known, images = shared.source[kept], shared.target[kept]
    shuffled = images[torch.randperm(len(kept), generator=generator)]

    cosines = _cosines(method.apply(method.fit(known, images), given), wanted)
    at_random = _cosines(method.apply(method.fit(known, shuffled), given), wanted)
    constant = _cosines(images.mean(0).expand(count, -1), wanted)
    controls = {"shuffled_pairs": _summary(at_random), "mean_token": _summary(constant)}
    better = max((at_random, constant), key=lambda found: float(found.diagonal().mean()))
    difference = (cosines.diagonal() - better.diagonal()).numpy()
    drawn = np.random.default_rng(seed).integers(0, count, (_SAMPLES, count))
    above = {"mean": float(difference.mean()), "ci95": list(interval(difference[drawn].mean(1)))}
    return {"held_out_tokens": {**_summary(cosines), "above_controls": above}}, controls


def _cosines(images: Tensor, wanted: Tensor) -> Tensor:
    """``[n, n]``: every image with every target embedding; its own on the diagonal."""
    return torch.nn.functional.normalize(images, dim=1) @ torch.nn.functional.normalize(wanted, dim=1).T


def _summary(cosines: Tensor) -> dict[str, Any]:
    own = torch.arange(len(cosines))
    return {
        "n": len(cosines),
        "cosine": float(cosines.diagonal().mean()),
        "top1": float((cosines.argmax(1) == own).double().mean()),
    }


def _warnings(
    source: Backbone, target: Backbone, method: Method, shared: SharedTokens, metrics: dict[str, Any]
) -> list[str]:
    found = []
    if source.identity.embedding_hash == target.identity.embedding_hash:
        found.append(
            f"Source and target are the same backbone ({source.name!r}): the map can at best give a prompt "
            "back as it is."
        )
    count = len(shared.texts)
    if method.name == "least-squares" and count < source.hidden:
        found.append(
            f"{count} shared tokens do not determine a least-squares map from width {source.hidden}: the "
            "smallest of those that fit was taken. Use ridge."
        )
    if not metrics:
        found.append(f"{count} shared tokens are too few to hold some out: the map was not checked.")
    elif metrics["held_out_tokens"]["above_controls"]["ci95"][0] <= 0:
        found.append(
            "The map does not carry held-out tokens over better than its controls (tokens paired at random; "
            "the mean token): what it makes of a prompt says nothing about that prompt."
        )
    return found
