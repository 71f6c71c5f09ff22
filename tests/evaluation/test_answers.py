"""Answers row by row: stored compactly, compared in the same bootstrap samples."""

from __future__ import annotations

import json

import numpy as np
import pytest

from prompt_hub.evaluation.answers import Answers, interval, intervals, resampled_scores
from prompt_hub.tasks import bootstrap_interval, compute_metrics, get_task, primary_metric, resample_counts

CHOOSER = np.random.default_rng(0)


def answered(name: str, n: int = 200) -> tuple[Answers, list, list]:
    """Predictions that are right more often than not, on every row but each tenth."""
    task = get_task(name)
    if task.kind == "regression":
        references = (CHOOSER.random(n) * 5).tolist()
        values = [each + CHOOSER.normal() for each in references]
    elif task.kind == "generation":
        references = ["a good film"] * n
        values = CHOOSER.choice(["a good film", "a film", "cat"], n).tolist()
    else:
        references = CHOOSER.integers(0, len(task.classes), n).tolist()
        values = [r if CHOOSER.random() < 0.7 else 0 for r in references]
    rows = np.array([row for row in range(n) if row % 10])
    values, references = [values[row] for row in rows], [references[row] for row in rows]
    return Answers.of(task, n, rows, values, references), values, references


NAMES = ("sst2", "cola", "stsb", "squad", "samsum")
"""Accuracy, Matthews correlation, Pearson correlation, exact match, ROUGE."""


@pytest.mark.parametrize("name", NAMES)
def test_answers_come_back_from_json_with_their_score(name):
    task = get_task(name)
    answers, values, references = answered(name)
    back = Answers.from_dict(json.loads(json.dumps(answers.to_dict())))
    assert back.rows.tolist() == answers.rows.tolist() and back.total == 200
    expected = compute_metrics(task, values, references)[primary_metric(task)]
    assert back.score(task) == pytest.approx(expected, abs=1e-6)


def test_right_and_wrong_take_one_bit_a_row():
    answers, _, _ = answered("sst2", 2000)
    assert len(json.dumps(answers.to_dict())) < 2 * 2000 / 8 * 4 / 3 + 200


@pytest.mark.parametrize("name", NAMES)
def test_resampled_scores_give_the_interval_of_the_plain_bootstrap(name):
    task = get_task(name)
    answers, values, references = answered(name)
    low, high = interval(resampled_scores(task, [answers], 2000)[0])
    plain = bootstrap_interval(task, values, references, primary_metric(task), 2000)
    assert (low, high) == pytest.approx(plain, abs=0.02)


def test_a_small_difference_row_by_row_is_sure_where_the_two_intervals_overlap():
    task = get_task("sst2")
    right = CHOOSER.random(400) < 0.7
    better = right.copy()
    better[np.flatnonzero(~right)[:12]] = True
    every = np.arange(400)
    first, second = (Answers(400, every, x.astype(float)) for x in (right, better))
    samples = resampled_scores(task, [first, second])
    assert interval(samples[1])[0] < interval(samples[0])[1]
    assert interval(samples[1] - samples[0])[0] > 0


def test_answers_on_some_rows_meet_the_draws_of_the_whole_split():
    task = get_task("sst2")
    answers, _, _ = answered("sst2")
    even = answers.on(answers.rows[answers.rows % 2 == 0])
    counts = np.concatenate(list(resample_counts(200)))[:, even.rows]
    assert len(even) < len(answers)
    expected = counts @ even.scores / counts.sum(1)
    assert resampled_scores(task, [even])[0] == pytest.approx(expected)


def test_nothing_drawn_is_no_number():
    task = get_task("sst2")
    one = Answers(3, np.array([1]), np.array([1.0]))
    samples = resampled_scores(task, [one], 100)[0]
    assert np.isnan(samples).any() and set(samples[np.isfinite(samples)]) == {1.0}
    assert all(np.isnan(interval(np.array([np.nan]))))


def test_intervals_of_many_are_those_of_each():
    chooser = np.random.default_rng(0)
    values = chooser.normal(size=(7, 401))
    assert intervals(values) == [interval(row) for row in values]
    assert np.array(intervals(values)) == pytest.approx(
        np.quantile(values, (0.025, 0.975), axis=1).T, abs=1e-12
    )
    values[2, :5] = np.nan, np.inf, -np.inf, np.nan, 0
    assert intervals(values) == [interval(row) for row in values]
    assert intervals(np.zeros((0, 5))) == []


@pytest.mark.parametrize("name", ["sst2", "cola"])
def test_samples_of_rows_join_to_the_answers_on_all_of_them(name):
    task = get_task(name)
    whole, values, references = answered(name)
    right = np.array([value == reference for value, reference in zip(values, references, strict=True)])
    np.testing.assert_array_equal(whole.by_row(), right)
    shuffled = CHOOSER.permutation(whole.rows)
    parts = [whole.on(shuffled[:70]), whole.on(shuffled[50:])]  # twenty rows are in both
    joined = Answers.joined(parts)
    np.testing.assert_array_equal(joined.rows, whole.rows)
    np.testing.assert_array_equal(joined.by_row(), right)
    assert joined.score(task) == whole.score(task) and joined.total == whole.total
