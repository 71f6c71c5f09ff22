"""Measures of overlap, on arrays small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_hub.errors import UserError
from prompt_hub.neurons.overlap import (
    MEASURES,
    overlap,
    overlap_by_layer,
    overlap_by_window,
    skill_weights,
)

A = np.array([[1.0, 2.0, -1.0, 0.0], [3.0, -1.0, 4.0, -2.0]])
B = np.array([[2.0, -1.0, 5.0, 0.0], [1.0, -3.0, 2.0, 6.0]])


def test_on_is_the_cosine_of_the_binary_maps():
    # Active: A 4 neurons, B 5, both 3; an exact zero is inactive.
    assert overlap(A, B) == pytest.approx(3 / 20**0.5)


def test_jaccard_divides_by_the_union():
    assert overlap(A, B, "jaccard") == pytest.approx(3 / 6)


def test_top_k_counts_the_shared_highest():
    # A: 4, 3, 2 at 6, 4, 1. B: 6, 5, 2 (the first of equals) at 7, 2, 0.
    assert overlap(A, B, "top_k", k=3) == 0
    assert overlap(A, A, "top_k", k=3) == 1
    assert overlap(A, B, "top_k", k=5) == pytest.approx(3 / 5)


def test_cosine_and_correlation_are_those_of_numpy():
    a, b = A.ravel(), B.ravel()
    assert overlap(A, B, "cosine") == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert overlap(A, B, "correlation") == pytest.approx(np.corrcoef(a, b)[0, 1])


def test_each_layer_and_each_window_is_compared_by_itself():
    assert overlap_by_layer(A, B) == pytest.approx([1 / 2, 2 / 6**0.5])
    deep_a, deep_b = np.tile(A, (2, 1)), np.tile(B, (2, 1))
    windows = overlap_by_window(deep_a, deep_b)
    assert list(windows) == ["0-2", "3-3"]
    assert windows["3-3"] == pytest.approx(2 / 6**0.5)
    assert windows["0-2"] == pytest.approx(overlap(deep_a[:3], deep_b[:3]))


@pytest.mark.parametrize("measure", [name for name in MEASURES if name != "top_k"])
def test_a_neuron_of_weight_0_counts_for_nothing_and_equal_weights_change_nothing(measure):
    weights = np.ones_like(A)
    weights[0] = 0
    assert overlap(A, B, measure, weights=weights) == pytest.approx(overlap(A, B, measure, layers=1))
    assert overlap(A, B, measure, weights=np.full_like(A, 0.3)) == pytest.approx(overlap(A, B, measure))


@pytest.mark.parametrize("measure", MEASURES)
def test_the_same_neurons_are_the_most_alike(measure):
    assert overlap(A, A, measure, k=3) == pytest.approx(1)
    assert overlap(A, B, measure, k=3) < 1


@pytest.mark.parametrize("measure", ["on", "jaccard", "cosine", "correlation"])
def test_nothing_to_compare_gives_0(measure):
    assert overlap(np.zeros((2, 3)), np.zeros((2, 3)), measure) == 0


def test_skill_weights_are_0_at_chance_1_at_certainty_and_averaged_over_tasks():
    first, second = np.array([[0.5, 1.0, 0.75]]), np.array([[0.5, 0.5, 0.75]])
    assert skill_weights(first).tolist() == [[0, 1, 0.5]]
    assert skill_weights(first, second).tolist() == [[0, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: overlap(A, B[:1]), r"\[2, 4\] and \[1, 4\].*Compare prompts of the same backbone"),
        (lambda: overlap(A[0], B[0]), r"must be \[layers, neurons\]"),
        (lambda: overlap(A, B, layers=2), "Layer 2 does not exist: there are 0 to 1"),
        (lambda: overlap(A, B, layers=[0, -1]), "Layer -1 does not exist"),
        (lambda: overlap(A, B, layers=slice(4, 6)), "does not exist: there are 0 to 1"),
        (lambda: overlap(A, B, "dice"), "Unknown measure 'dice'"),
        (lambda: overlap(A, B, "top_k", k=9), "k must be 1 to 8"),
        (lambda: overlap(A, B, "top_k", weights=A * 0, k=2), "takes no weights"),
        (lambda: overlap(A, B, weights=-abs(A)), "0 or more"),
        (lambda: overlap_by_window(A, B, size=0), "at least one layer"),
        (lambda: skill_weights(), "one task or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, says):
    with pytest.raises(UserError, match=says):
        call()
