"""Speed-ups are read off two learning curves; what a run did not show is a bound, not a number."""

from __future__ import annotations

import math

import pytest

from prompt_hub.errors import UserError
from prompt_hub.transfer.speed_up import (
    Curve,
    SpeedUp,
    comparable_speed_up,
    convergence_speed_up,
    summary,
)


def curve(*values: float, every: int = 10) -> Curve:
    """A value at 0 and one every ten steps."""
    return Curve(tuple(range(0, every * len(values), every)), values)


COLD = curve(0.5, 0.6, 0.7, 0.9, 0.9)
"""Best at step 30, where it also converges: step 40 shows that it stays."""


def test_comparable_result_is_the_cold_runs_best():
    found = comparable_speed_up(COLD, curve(0.6, 0.9, 0.95, 0.95, 0.95))
    assert found == SpeedUp(30, 10, 3.0, "exact")


def test_a_run_that_never_reaches_the_cold_runs_best_has_an_upper_bound():
    found = comparable_speed_up(COLD, curve(0.6, 0.8, 0.85, 0.85, 0.89))
    assert found == SpeedUp(30, None, 30 / 40, "at most")


def test_a_run_that_is_there_before_its_first_step_has_a_lower_bound():
    assert comparable_speed_up(COLD, curve(0.92, 0.9, 0.9)) == SpeedUp(30, 0, 30 / 10, "at least")


def test_without_a_gain_of_the_cold_run_there_is_no_speed_up():
    flat, other = curve(0.5, 0.5, 0.4), curve(0.4, 0.5, 0.6)
    assert comparable_speed_up(flat, other).bound == convergence_speed_up(flat, other).bound == "undefined"
    assert comparable_speed_up(flat, other).ratio is convergence_speed_up(flat, other).ratio is None


def test_convergence_is_to_a_runs_own_best_and_has_to_last():
    # A tenth of the cold run's gain is 0.04: 0.87 is within it of 0.89, the dip at step 20 is not.
    other = curve(0.8, 0.87, 0.80, 0.88, 0.89)
    assert convergence_speed_up(COLD, other) == SpeedUp(30, 30, 1.0, "exact")
    assert convergence_speed_up(COLD, curve(0.8, 0.86, 0.87, 0.87, 0.89)) == SpeedUp(30, 10, 3.0, "exact")


def test_a_run_that_settles_for_less_has_not_converged_faster():
    stuck = curve(0.5, 0.5, 0.5, 0.5, 0.5)
    assert convergence_speed_up(COLD, stuck) == SpeedUp(30, 0, None, "undefined")
    assert comparable_speed_up(COLD, stuck).bound == "at most"


def test_a_run_that_is_best_at_its_last_step_has_not_shown_that_it_converged():
    rising = curve(0.5, 0.6, 0.7, 0.8, 0.9)
    assert rising.converged_at(0.04) is None
    assert convergence_speed_up(COLD, rising) == SpeedUp(30, None, 30 / 40, "at most")
    assert convergence_speed_up(rising, COLD) == SpeedUp(None, 30, 40 / 30, "at least")
    assert convergence_speed_up(rising, rising) == SpeedUp(None, None, None, "undefined")


def test_a_curve_of_losses_counts_lower_as_better():
    history = [
        {"step": 5, "loss": 9.0},
        {"step": 0, "eval_loss": 2.0},
        {"step": 10, "eval_loss": 1.0, "eval_accuracy": 0.5},
        {"step": 20, "eval_loss": 1.5},
    ]
    found = Curve.of_history(history, "eval_loss", higher_is_better=False)
    assert found.steps == (0, 10, 20) and found.first_at(found.best) == 10 and found.gain == 1.0


def test_a_curve_without_a_value_before_training_is_refused():
    with pytest.raises(UserError, match="before training"):
        Curve((10, 20), (0.5, 0.6))
    infinite = [{"step": 0, "eval_loss": float("inf")}, {"step": 5, "eval_loss": 1.0}]
    with pytest.raises(UserError, match="lower --lr"):
        Curve.of_history(infinite, "eval_loss", higher_is_better=False)


def exact(ratio: float) -> SpeedUp:
    return SpeedUp(100, round(100 / ratio), ratio, "exact")


def test_the_mean_over_seeds_is_geometric_with_an_interval_where_all_are_exact():
    found = summary([exact(2.0), exact(0.5)])
    assert found["mean"] == pytest.approx(1.0) and found["bound"] == "exact"
    assert found["ci95"][0] == pytest.approx(1 / found["ci95"][1])
    assert found["counts"] == {"exact": 2, "at least": 0, "at most": 0, "undefined": 0}


def test_one_bound_makes_the_mean_a_bound_without_an_interval():
    found = summary([exact(4.0), SpeedUp(100, 0, 9.0, "at least")])
    assert (found["mean"], found["bound"], found["ci95"]) == (pytest.approx(6.0), "at least", None)
    found = summary([exact(4.0), SpeedUp(100, None, 0.25, "at most")])
    assert (found["mean"], found["bound"]) == (pytest.approx(1.0), "at most")


def test_bounds_of_both_kinds_have_no_mean():
    found = summary([SpeedUp(100, 0, 9.0, "at least"), SpeedUp(100, None, 0.25, "at most")])
    assert found["mean"] is None and found["bound"] == "undefined"
    assert found["counts"]["at least"] == found["counts"]["at most"] == 1


def test_undefined_seeds_are_counted_and_left_out():
    nothing = SpeedUp(0, None, None, "undefined")
    found = summary([exact(2.0), nothing])
    assert found["mean"] == pytest.approx(2.0) and found["counts"]["undefined"] == 1
    assert summary([nothing])["mean"] is None
    assert len(found["by_seed"]) == 2 and math.isclose(found["by_seed"][0]["ratio"], 2.0)
