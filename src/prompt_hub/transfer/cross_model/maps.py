"""Maps between embedding spaces from pairs of known points, without training on a task.

Shape letters: ``n`` shared tokens, ``P`` prompt rows, ``H_s`` and ``H_t`` widths of source and target. All
computing is in float64 on the CPU: fits are small and some are badly conditioned.

Each method is a function from the tokens' embeddings in both spaces to tensors that are stored, and one from
those and a prompt ``[P, H_s]`` to rows ``[P, H_t]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

WEIGHT = "weight"
SOURCE_TOKENS, TARGET_TOKENS = "source_tokens", "target_tokens"

COMBINED_TOKENS = 16
MAX_ANCHORS = 2048
HELD_OUT_ANCHORS = 0.1
PATIENCE = 5
MAX_STEPS = 500


@dataclass(frozen=True)
class Method:
    """formula: for people. linear: one matrix; otherwise the tokens themselves are kept."""

    name: str
    formula: str
    linear: bool
    fit: Callable[[Tensor, Tensor], Tensors]
    apply: Callable[[Tensors, Tensor], Tensor]

    def shapes(self, source_width: int, target_width: int) -> dict[str, tuple[int | None, int]]:
        """What is stored, by name; None is the number of tokens, the same in both."""
        if self.linear:
            return {WEIGHT: (source_width, target_width)}
        return {SOURCE_TOKENS: (None, source_width), TARGET_TOKENS: (None, target_width)}


def least_squares(source: Tensor, target: Tensor) -> Tensors:
    """``W`` of least ``||S W - T||``; of several the smallest (fewer tokens than ``H_s``)."""
    return {WEIGHT: torch.linalg.lstsq(source, target, driver="gelsd").solution}


def ridge(source: Tensor, target: Tensor) -> Tensors:
    """``W = (S'S + k I)^-1 S'T`` with the k of least leave-one-out error over the tokens.

    The error comes from the hat matrix, without refitting (Allen 1974, PRESS). k is one of 13 powers of ten
    times the mean squared singular value of S.
    """
    left, values, right = torch.linalg.svd(source, full_matrices=False)
    rotated = left.T @ target
    squares = values.square()
    best: tuple[float, Tensor] | None = None
    for power in range(-8, 5):
        penalty = 10.0**power * squares.mean()
        kept = squares / (squares + penalty)
        leverage = (left.square() * kept).sum(1, keepdim=True)
        residual = target - left @ (kept[:, None] * rotated)
        # A token that alone decides its own fit has leverage 1 and says nothing about the error.
        error = float((residual / (1 - leverage).clamp(min=1e-6)).square().mean())
        if best is None or error < best[0]:
            best = error, penalty
    assert best is not None
    return {WEIGHT: right.T @ ((values / (squares + best[1]))[:, None] * rotated)}


def procrustes(source: Tensor, target: Tensor) -> Tensors:
    """The ``W`` with orthonormal rows (``H_s <= H_t``) or columns that maximises ``trace(W' S'T)``.

    ``U V'`` of the singular value decomposition of ``S'T`` (Schönemann 1966). To a space at least as wide it
    keeps all lengths and angles and is the orthogonal map of least squares; to a narrower one it
    loses what lies outside the chosen subspace.
    """
    left, _, right = torch.linalg.svd(source.T @ target, full_matrices=False)
    return {WEIGHT: left @ right}


def keep_tokens(source: Tensor, target: Tensor) -> Tensors:
    return {SOURCE_TOKENS: source, TARGET_TOKENS: target}


def multiply(tensors: Tensors, prompt: Tensor) -> Tensor:
    return prompt @ tensors[WEIGHT]


def nearest(tensors: Tensors, prompt: Tensor) -> Tensor:
    """Each row becomes the target embedding of its nearest source token by cosine."""
    return tensors[TARGET_TOKENS][(_unit(prompt) @ _unit(tensors[SOURCE_TOKENS]).T).argmax(1)]


def combination(tensors: Tensors, prompt: Tensor) -> Tensor:
    """Each row as a weighted sum of at most 16 source tokens; the same sum of the target's tokens.

    Tokens are picked by orthogonal matching pursuit (Pati et al. 1993): always the one nearest in direction
    to what is left of the row, then all weights anew by least squares.
    """
    tokens = tensors[SOURCE_TOKENS]
    directions = _unit(tokens)
    rest, picked = prompt, torch.empty(len(prompt), 0, dtype=torch.long)
    weights = prompt.new_empty(len(prompt), 0)
    for _ in range(min(COMBINED_TOKENS, *tokens.shape)):
        likeness = (rest @ directions.T).abs().scatter(1, picked, -1.0)
        picked = torch.cat([picked, likeness.argmax(1, keepdim=True)], 1)
        columns = tokens[picked].transpose(1, 2)
        weights = torch.linalg.lstsq(columns, prompt[:, :, None], driver="gelsd").solution[:, :, 0]
        rest = prompt - (columns @ weights[:, :, None])[:, :, 0]
    return (weights[:, None, :] @ tensors[TARGET_TOKENS][picked])[:, 0]


def relative(tensors: Tensors, prompt: Tensor) -> Tensor:
    """Rows whose cosines to anchors in the target are those of the prompt's rows in the source.

    The relative representation of Moschella et al. (2023). Anchors are shared tokens, at most 2,048, evenly
    spread over the vocabulary. The squared difference of cosines is minimised by conjugate gradients (CGLS)
    from zero. Every tenth anchor is held out: a row stops when its cosines to those have not come nearer for
    5 steps, and keeps its best state, so the rule needs no labels. A row's length is the source row's, by
    the ratio of the anchors' mean lengths.
    """
    count = len(tensors[SOURCE_TOKENS])
    anchors = torch.linspace(0, count - 1, min(count, MAX_ANCHORS)).round().long()
    source, target = tensors[SOURCE_TOKENS][anchors], tensors[TARGET_TOKENS][anchors]
    cosines = _unit(source) @ _unit(prompt).T
    held = torch.zeros(len(anchors), dtype=torch.bool)
    held[:: round(1 / HELD_OUT_ANCHORS)] = len(anchors) > 1
    directions = _match_cosines(_unit(target), cosines, held)
    length = prompt.norm(dim=1, keepdim=True) * target.norm(dim=1).mean() / source.norm(dim=1).mean()
    return directions * length


def _match_cosines(anchors: Tensor, wanted: Tensor, held: Tensor) -> Tensor:
    """``[P, H_t]`` unit rows with cosines ``wanted [a, P]`` to unit ``anchors [a, H_t]``; ``held [a]``."""
    matrix, goal = anchors[~held], wanted[~held]
    judges, judged = (anchors[held], wanted[held]) if held.any() else (matrix, goal)
    state = anchors.new_zeros(anchors.shape[1], wanted.shape[1])
    rest = goal.clone()
    gradient = matrix.T @ rest
    step, size = gradient.clone(), gradient.square().sum(0)
    best, least = gradient.clone(), torch.full_like(size, torch.inf)
    waited = torch.zeros_like(size)
    tiny = torch.finfo(size.dtype).tiny
    for _ in range(MAX_STEPS):
        moved = matrix @ step
        rate = size / moved.square().sum(0).clamp(min=tiny)
        state, rest = state + rate * step, rest - rate * moved
        error = (judges @ _unit(state.T).T - judged).square().mean(0)
        # A row that has stopped is not taken up again by a chance improvement later.
        better = (error < least) & (waited < PATIENCE)
        best, least = torch.where(better, state, best), torch.where(better, error, least)
        waited = torch.where(better, 0.0, waited + 1)
        if bool((waited >= PATIENCE).all()):
            break
        gradient = matrix.T @ rest
        new_size = gradient.square().sum(0)
        step, size = gradient + new_size / size.clamp(min=tiny) * step, new_size
    return _unit(best.T)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


METHODS = {
    method.name: method
    for method in (
        Method("nearest", "target embedding of the nearest shared token", False, keep_tokens, nearest),
        Method("least-squares", "x W, W of least ||S W - T||", True, least_squares, multiply),
        Method("ridge", "the same with a penalty chosen by leave-one-out", True, ridge, multiply),
        Method("procrustes", "x W, W orthogonal, best for S W ~ T", True, procrustes, multiply),
        Method(
            "combination", "weighted sum of 16 shared tokens, carried over", False, keep_tokens, combination
        ),
        Method("relative", "same cosines to anchors, early-stopped", False, keep_tokens, relative),
    )
}
