"""Relative performance of pairs, and their means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prompt_hub.evaluation.pairs import Pair, interval_over_tasks, same_type, summarise
from prompt_hub.tasks import get_task

PAIR = Pair(
    source="a",
    target="b",
    same_type=True,
    metric="accuracy",
    n=100,
    score=0.7,
    ci95=[0.6, 0.8],
    own=0.9,
    own_ci95=[0.85, 0.95],
    floors={"majority": 0.5, "no_prompt": 0.6, "random_prompt": 0.55},
)


def test_relative_performance_with_and_without_the_majority_class():
    assert PAIR.relative == pytest.approx(0.7 / 0.9)
    assert PAIR.above_majority == pytest.approx(0.2 / 0.4)


def test_a_target_whose_own_prompt_may_be_at_the_majority_class_has_no_figure_above_it():
    assert replace(PAIR, own_ci95=[0.5, 0.95]).above_majority is None
    assert replace(PAIR, floors={}).above_majority is None
    assert replace(PAIR, own=0.0).relative is None


def test_below_the_backbone_without_a_prompt_is_negative_transfer():
    assert not PAIR.negative
    assert replace(PAIR, score=0.59).negative


def test_where_the_difference_was_taken_row_by_row_its_whole_interval_has_to_be_negative():
    assert replace(PAIR, gain_ci95=[-0.2, -0.01]).negative
    assert not replace(PAIR, score=0.5, gain_ci95=[-0.2, 0.01]).negative


def test_means_stand_beside_those_of_the_floors():
    doubtful = replace(PAIR, own_ci95=[0.4, 0.95], score=0.45)
    found = summarise([PAIR, doubtful])
    assert found["pairs"] == 2 and found["pairs_above_majority"] == 1 and found["negative"] == 1
    assert found["relative"] == pytest.approx((0.7 + 0.45) / 2 / 0.9)
    assert found["relative_of_floors"]["majority"] == pytest.approx(0.5 / 0.9)
    assert found["above_majority"] == pytest.approx(0.5)
    assert found["above_majority_of_floors"] == pytest.approx({"no_prompt": 0.25, "random_prompt": 0.125})


def test_pairs_can_be_weighted_as_a_bootstrap_does():
    better = replace(PAIR, score=0.9)
    assert summarise([PAIR, better], [0, 3])["relative"] == pytest.approx(1)
    assert summarise([PAIR, better], [0, 0])["relative"] is None
    assert summarise([])["relative"] is None


def test_nothing_is_known_about_the_type_of_a_custom_task():
    film, news = get_task("mini/film"), get_task("mini/paraphrase_news")
    own = replace(film, type="custom")
    assert same_type(film, get_task("mini/hotel")) and not same_type(film, news)
    assert not same_type(own, own)


TYPES = {"a": "nli", "b": "nli", "c": "nli", "d": "nli"}
SCORES = {"ab": 0.1, "bc": 0.3, "cd": 0.5, "da": 0.7, "ac": 0.2, "bd": 0.4, "ca": 0.6, "db": 0.8}
PAIRS = [
    replace(PAIR, source=names[0], target=names[1], own=1.0, score=score) for names, score in SCORES.items()
]


def test_the_interval_over_tasks_holds_the_mean_and_is_wider_than_one_over_pairs():
    low, high = interval_over_tasks(PAIRS, "relative", TYPES)
    assert low < 0.45 < high
    # Pairs that share a task are not independent: resampled by themselves they would say 0.30 to 0.60.
    assert low < 0.30 and high > 0.60


def test_where_no_other_tasks_could_have_been_drawn_there_is_no_interval():
    two = [pair for pair in PAIRS if {pair.source, pair.target} <= {"a", "b"}]
    assert interval_over_tasks(two, "relative", TYPES) is None
    assert interval_over_tasks([], "relative", TYPES) is None
    assert interval_over_tasks([replace(PAIR, own=0.0)], "relative", TYPES) is None
