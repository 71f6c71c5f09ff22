"""A race keeps the best source with the stated confidence and saves examples where the sources differ."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_hub.errors import UserError
from prompt_hub.transfer.race import BUDGET, CLOSE, ROWS, SETTLED, Race


def run(race: Race, scores: dict[str, np.ndarray]) -> Race:
    """``scores``: by source, in the random order."""
    while asked := race.next():
        for source, rows in asked:
            race.tell(source, scores[source][rows])
    return race


def coins(chooser: np.random.Generator, rows: int, **chances: float) -> dict[str, np.ndarray]:
    return {name: (chooser.random(rows) < chance).astype(float) for name, chance in chances.items()}


def test_a_clear_winner_is_found_with_a_third_of_the_examples_or_fewer():
    chooser = np.random.default_rng(0)
    scores = coins(chooser, 1000, a=0.6, b=0.9, c=0.55, d=0.7, e=0.5)
    verdict = run(Race(list(scores), 1000), scores).verdict
    assert (verdict.best, verdict.left, verdict.reason) == ("b", ("b",), SETTLED)
    assert verdict.full == 5000 and verdict.examples * 3 <= verdict.full
    assert set(verdict.means) == set(scores)


def test_the_worst_leave_first():
    chooser = np.random.default_rng(1)
    scores = coins(chooser, 2000, best=0.8, second=0.74, worst=0.3)
    race = Race(list(scores), 2000)
    rows_of = dict.fromkeys(scores, 0)
    while asked := race.next():
        for source, rows in asked:
            rows_of[source] = rows.stop
            race.tell(source, scores[source][rows])
    assert rows_of["worst"] < 100 < rows_of["second"] == rows_of["best"]


@pytest.mark.parametrize("chances", [(0.6, 0.6, 0.6, 0.6), (0.7, 0.68, 0.66, 0.5)], ids=["equal", "near"])
@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_a_best_source_is_lost_no_more_often_than_stated(chances, epsilon):
    """At confidence 0.8, looking every 8 rows; the best is the best of the finite set of rows."""
    chooser, lost, wrong, races = np.random.default_rng(2), 0, 0, 200
    for _ in range(races):
        scores = coins(chooser, 120, **dict(zip("abcd", chances, strict=True)))
        means = {name: values.mean() for name, values in scores.items()}
        race = Race(list(scores), 120, 0.8, epsilon=epsilon, first=8, growth=1.05)
        verdict = run(race, scores).verdict
        lost += max(means.values()) > max(means[name] for name in verdict.left)
        wrong += means[verdict.best] < max(means.values()) - epsilon - 1e-9
    # 0.2 plus two and a half standard errors of 200 races
    assert lost / races <= 0.27 and wrong / races <= 0.27


def test_the_confidence_holds_for_all_races_together():
    """The threshold of twenty races at 95% is that of one at 99.75%."""
    chooser = np.random.default_rng(3)
    scores = coins(chooser, 400, a=0.8, b=0.6)
    of_twenty = run(Race(["a", "b"], 400, 0.95, races=20, first=1, growth=1.001), scores).verdict
    strict = run(Race(["a", "b"], 400, 0.9975, first=1, growth=1.001), scores).verdict
    alone = run(Race(["a", "b"], 400, 0.95, first=1, growth=1.001), scores).verdict
    assert of_twenty.examples == strict.examples > alone.examples


def test_the_capital_of_a_fair_game_is_one_on_average_and_rarely_large():
    """Ville's bound, which all else stands on, with differences of any size between -1 and 1."""
    chooser = np.random.default_rng(4)
    first = chooser.random(60) ** 2
    second = chooser.permutation(first)  # of the same mean, to the last digit
    crossed, capitals = 0, []
    for _ in range(1500):
        order = chooser.permutation(60)
        race = Race(["a", "b"], 60, 0.75, first=30, growth=1.0)
        for source, values in (("a", first), ("b", second)):
            race.tell(source, values[order][:30])
        capitals.append(np.exp(race._capital[0][0, 1]).mean())
        crossed += race._better[0, 1]
    assert np.mean(capitals) == pytest.approx(1, abs=0.15)
    assert crossed / 1500 <= 0.25 + 0.03


def test_ties_go_on_to_the_last_row_and_are_all_named():
    scores = {"a": np.tile([1.0, 0.0], 50), "b": np.tile([0.0, 1.0], 50), "c": np.zeros(100)}
    verdict = run(Race(list(scores), 100), scores).verdict
    assert verdict.reason == ROWS and set(verdict.left) == {"a", "b"} and verdict.rows == 100


def test_sources_that_answer_alike_are_close_soon_where_a_small_difference_does_not_matter():
    answers = np.random.default_rng(5).integers(0, 2, 1000).astype(float)
    scores = {"a": answers, "b": answers.copy(), "c": answers * 0.2}
    verdict = run(Race(list(scores), 1000, epsilon=0.05), scores).verdict
    assert verdict.reason == CLOSE and verdict.examples * 3 < verdict.full
    exact = run(Race(["a", "b"], 1000), scores).verdict
    assert exact.reason == ROWS and exact.examples == 2000


def test_a_difference_that_the_remaining_rows_cannot_undo_is_settled():
    scores = {"a": np.ones(5), "b": np.zeros(5)}
    verdict = run(Race(["a", "b"], 5, 0.999999, first=1, growth=1.0), scores).verdict
    assert (verdict.best, verdict.reason, verdict.examples) == ("a", SETTLED, 6)


def test_a_budget_is_kept_and_what_is_open_then_is_said():
    chooser = np.random.default_rng(6)
    scores = coins(chooser, 500, a=0.7, b=0.69, c=0.1)
    race = Race(list(scores), 500, budget=300)
    verdict = run(race, scores).verdict
    assert verdict.reason == BUDGET and set(verdict.left) == {"a", "b"} and 290 <= verdict.examples <= 300
    nothing = Race(list(scores), 500, budget=2).verdict
    assert nothing.reason == BUDGET and nothing.examples == 0 and len(nothing.left) == 3


def test_one_source_needs_no_race():
    verdict = Race(["a"], 10).verdict
    assert (verdict.best, verdict.reason, verdict.examples) == ("a", SETTLED, 0)


def test_a_race_told_the_same_scores_takes_the_same_course():
    scores = coins(np.random.default_rng(7), 300, a=0.8, b=0.75, c=0.4)
    first, asked = Race(list(scores), 300), []
    while now := first.next():
        asked.append(now)
        for source, rows in reversed(now):
            first.tell(source, scores[source][rows])
    second = Race(list(scores), 300)
    for expected in asked:
        assert second.next() == expected
        for source, rows in expected:
            second.tell(source, scores[source][rows])
    assert second.verdict == first.verdict


def test_what_was_told_is_not_asked_again():
    race = Race(["a", "b"], 100)
    race.tell("b", np.ones(32))
    assert race.next() == [("a", slice(0, 32))] and race.verdict is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"sources": []}, "different names"),
        ({"sources": ["a", "a"]}, "different names"),
        ({"rows": 0}, "there are 0"),
        ({"confidence": 1.0}, "Confidence 1.0"),
        ({"epsilon": -0.1}, "-0.1"),
        ({"first": 0}, "round of 0 rows"),
    ],
)
def test_what_cannot_be_raced_is_refused(arguments, named):
    with pytest.raises(UserError, match=named):
        Race(**{"sources": ["a", "b"], "rows": 10, **arguments})


@pytest.mark.parametrize(
    ("source", "scores", "named"),
    [
        ("c", np.ones(32), "Nobody asked"),
        ("a", np.ones(3), "32 rows"),
        ("a", np.full(32, 1.5), "between 0 and 1"),
    ],
)
def test_scores_that_were_not_asked_for_are_refused(source, scores, named):
    with pytest.raises(ValueError, match=named):
        Race(["a", "b"], 100).tell(source, scores)
