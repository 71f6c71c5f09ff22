"""What a sample says about candidates: how often one is best, and what picking the best will give."""

from __future__ import annotations

import numpy as np
import pytest
from made_sources import make_task

from prompt_hub.evaluation.answers import Answers
from prompt_hub.transfer.scores import expected_score


def answers(right: np.ndarray) -> Answers:
    return Answers(len(right), np.arange(len(right)), right.astype(float))


def test_the_expected_score_is_below_the_best_of_many_that_are_alike():
    chooser = np.random.default_rng(0)
    found, best = [], []
    for _ in range(20):
        alike = [answers(chooser.random(50) < 0.6) for _ in range(20)]
        found.append(expected_score(make_task(), alike))
        best.append(max(each.scores.mean() for each in alike))
    # Every candidate is right in 60% of all rows, whatever this sample says.
    assert np.mean(best) > 0.7 and np.mean(found) == pytest.approx(0.6, abs=0.02)


def test_the_expected_score_is_that_of_a_candidate_which_is_far_ahead():
    chooser = np.random.default_rng(1)
    candidates = [answers(chooser.random(200) < share) for share in (0.9, 0.5, 0.4)]
    assert expected_score(make_task(), candidates) == pytest.approx(candidates[0].scores.mean(), abs=0.005)


def test_metrics_that_are_no_mean_over_rows_work_too():
    task = make_task(metrics=["f1"])
    truth = np.arange(60) % 2
    good, bad = truth.copy(), np.zeros(60)
    good[:6] = 1 - good[:6]
    rows = np.arange(60)
    candidates = [Answers(60, rows, None, each.astype(float), truth.astype(float)) for each in (good, bad)]
    assert expected_score(task, candidates) == pytest.approx(0.9, abs=0.02)
