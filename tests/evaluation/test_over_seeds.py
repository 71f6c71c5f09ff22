"""Means over seeds carry Student's interval; ratios are averaged as ratios."""

from __future__ import annotations

import pytest
from scipy import stats

from prompt_hub.evaluation.over_seeds import over_seeds, ratios_over_seeds


def test_the_interval_is_students():
    values = [0.80, 0.84, 0.85]
    found = over_seeds(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(0.83) and found.n == 3
    assert found.ci95 == pytest.approx([expected.low, expected.high])


def test_one_seed_has_a_mean_and_no_interval():
    assert over_seeds([0.8]).ci95 is None and over_seeds([0.8]).mean == 0.8


def test_no_seed_has_nothing():
    with pytest.raises(ValueError, match="no values"):
        over_seeds([])


def test_twice_as_fast_and_half_as_fast_are_together_as_fast():
    found = ratios_over_seeds([2.0, 0.5])
    assert found.mean == pytest.approx(1.0)
    assert found.ci95[0] > 0 and found.ci95[0] * found.ci95[1] == pytest.approx(1.0)
