"""Metrics agree with scikit-learn, scipy and hand counts; their intervals with a plain bootstrap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from prompt_hub.errors import UserError
from prompt_hub.tasks import (
    METRICS,
    Task,
    bootstrap_interval,
    compute_metrics,
    get_task,
    majority_score,
    per_example_scores,
    primary_metric,
)

BINARY, THREE, STSB, SQUAD = (get_task(name) for name in ("qqp", "mnli", "stsb", "squad"))


def labels(classes: int, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    return np.where(rng.random(n) < 0.6, truth, rng.integers(0, classes, n)), truth


def one(task: Task, name: str, predictions: Any, references: Any) -> float:
    return METRICS[name](task, predictions, references)


@pytest.mark.parametrize("task", [BINARY, THREE], ids=["two classes", "three classes"])
def test_classification_metrics_agree_with_scikit_learn(task: Task) -> None:
    predictions, truth = labels(len(task.classes))
    average = "binary" if len(task.classes) == 2 else "macro"
    assert one(task, "accuracy", predictions, truth) == pytest.approx(sk.accuracy_score(truth, predictions))
    assert one(task, "f1", predictions, truth) == pytest.approx(
        sk.f1_score(truth, predictions, average=average)
    )
    assert one(task, "matthews", predictions, truth) == pytest.approx(
        sk.matthews_corrcoef(truth, predictions)
    )


def test_constant_predictions_score_zero_and_not_nan() -> None:
    truth = [0, 1, 1, 0]
    assert one(BINARY, "matthews", [1] * 4, truth) == 0.0
    assert one(BINARY, "f1", [0] * 4, truth) == 0.0
    assert one(BINARY, "f1", [0] * 4, [0] * 4) == 0.0
    for name in ("pearson", "spearman"):
        assert one(STSB, name, [2.0] * 4, [1.0, 2.0, 3.0, 4.0]) == 0.0
        assert one(STSB, name, [1.0], [1.0]) == 0.0


def test_correlations_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 200).astype(float)
    predictions = truth + rng.normal(0, 2, 200)
    scores = compute_metrics(STSB, predictions, truth)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(predictions, truth).statistic)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(predictions, truth).statistic)
    assert scores["combined_score"] == pytest.approx((scores["pearson"] + scores["spearman"]) / 2)


def test_the_combined_score_is_the_mean_of_the_tasks_metrics() -> None:
    predictions, truth = labels(2)
    scores = compute_metrics(BINARY, predictions.tolist(), truth.tolist())
    assert set(scores) == {"accuracy", "f1", "combined_score"}
    assert scores["combined_score"] == pytest.approx((scores["accuracy"] + scores["f1"]) / 2)
    assert primary_metric(BINARY) == "accuracy"


@pytest.mark.parametrize(
    ("prediction", "reference", "match", "f1"),
    [
        ("The  Cat!", "cat", 1.0, 1.0),
        ("an apple a day", "apple day", 1.0, 1.0),
        ("black cat", "cat", 0.0, 2 / 3),
        ("cat cat", "cat", 0.0, 2 / 3),
        ("dog", "cat", 0.0, 0.0),
        ("the", "a", 1.0, 1.0),
        ("", "cat", 0.0, 0.0),
        ("theatre", "atre", 0.0, 0.0),
        ("U.S.", "us", 1.0, 1.0),
    ],
)
def test_answers_are_compared_as_by_squad(prediction: str, reference: str, match: float, f1: float) -> None:
    scores = compute_metrics(SQUAD, [prediction], [reference])
    assert scores["exact_match"] == match
    assert scores["token_f1"] == pytest.approx(f1)


def test_the_best_of_several_references_counts() -> None:
    scores = compute_metrics(SQUAD, ["black cat", "x"], [["dog", "the cat", "a black cat"], "y"])
    assert scores["exact_match"] == 0.5
    assert per_example_scores(SQUAD, ["black cat"], [("cat", "dog")], "token_f1") == pytest.approx([2 / 3])


def test_rouge_counts_overlapping_words_pairs_and_subsequences() -> None:
    samsum = get_task("samsum")
    scores = compute_metrics(samsum, ["the cat sat here"], ["the cat was here"])
    assert scores["rouge1"] == pytest.approx(3 / 4)
    assert scores["rouge2"] == pytest.approx(1 / 3)
    assert scores["rougeL"] == pytest.approx(3 / 4)


def test_the_papers_bleu_agrees_with_its_formula() -> None:
    # 3 of 4 words and 1 of 3 pairs are right, the lengths are equal: (3/4)^0.7 * (1/3)^0.3.
    expected = 0.75**0.7 * (1 / 3) ** 0.3
    assert one(SQUAD, "bleu_paper", ["the cat sat here"], ["the cat was here"]) == pytest.approx(expected)
    tokens = [["the", "cat", "sat", "here"]], [["the", "cat", "was", "here"]]
    assert one(SQUAD, "bleu_paper", *tokens) == pytest.approx(expected)
    ids = [[1, 2, 3, 4]], [[1, 2, 9, 4]]
    assert one(SQUAD, "bleu_paper", *ids) == pytest.approx(expected)
    several = [[1, 2, 3, 4]], [[[7, 7], [1, 2, 9, 4]]]
    assert one(SQUAD, "bleu_paper", *several) == pytest.approx(expected)
    assert one(SQUAD, "bleu_paper", ["", "x y"], ["x", "x y"]) == pytest.approx(0.5)


def test_the_mean_over_examples_is_the_metric() -> None:
    predictions, truth = labels(3)
    scores = per_example_scores(THREE, predictions, truth, "accuracy")
    assert scores is not None and scores.shape == (300,)
    assert scores.mean() == one(THREE, "accuracy", predictions, truth)
    assert per_example_scores(BINARY, *labels(2), "f1") is None
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        per_example_scores(THREE, predictions, truth, "acuracy")


def plain_bootstrap(
    score: Callable[[np.ndarray, np.ndarray], float], predictions: np.ndarray, truth: np.ndarray
) -> tuple[float, float]:
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, len(truth), len(truth)) for _ in range(1000)]
    low, high = np.quantile([score(predictions[draw], truth[draw]) for draw in draws], [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        ("accuracy", lambda p, t: float((p == t).mean())),
        ("f1", lambda p, t: sk.f1_score(t, p)),
        ("matthews", lambda p, t: sk.matthews_corrcoef(t, p)),
        ("pearson", lambda p, t: stats.pearsonr(p, t).statistic),
        ("spearman", lambda p, t: stats.spearmanr(p, t).statistic),
    ],
)
def test_intervals_agree_with_resampling_row_by_row(metric: str, score: Any) -> None:
    predictions, truth = labels(2, n=150)
    task = BINARY
    if metric in ("pearson", "spearman"):
        task, rng = STSB, np.random.default_rng(0)
        truth = rng.integers(0, 6, 150).astype(float)
        predictions = np.round(truth + rng.normal(0, 2, 150), 1)
    interval = bootstrap_interval(task, predictions, truth, metric, n_resamples=2000)
    assert interval == pytest.approx(plain_bootstrap(score, predictions, truth), abs=0.03)
    assert interval[0] < METRICS[metric](task, predictions, truth) < interval[1]


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews", "pearson", "spearman"])
def test_an_interval_over_2000_examples_takes_less_than_a_second(metric: str) -> None:
    predictions, truth = labels(2, n=2000)
    task = STSB if metric in ("pearson", "spearman") else BINARY
    bootstrap_interval(task, predictions, truth, metric, n_resamples=2)
    started = time.perf_counter()
    bootstrap_interval(task, predictions, truth, metric)
    assert time.perf_counter() - started < 1


def test_intervals_depend_on_the_seed_and_widen_with_the_level() -> None:
    predictions, truth = labels(2)
    first = bootstrap_interval(BINARY, predictions, truth, "accuracy", seed=1)
    assert first == bootstrap_interval(BINARY, predictions, truth, "accuracy", seed=1)
    assert first != bootstrap_interval(BINARY, predictions, truth, "f1", seed=1)
    low, high = bootstrap_interval(BINARY, predictions, truth, "accuracy", seed=1, level=0.5)
    assert first[0] < low < high < first[1]


def test_intervals_of_perfect_and_single_examples_are_points() -> None:
    assert bootstrap_interval(BINARY, [1, 0], [1, 0], "accuracy") == (1.0, 1.0)
    assert bootstrap_interval(STSB, [1.1], [2.3], "pearson") == (0.0, 0.0)
    low, high = bootstrap_interval(STSB, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], "spearman", n_resamples=200)
    assert (low, high) == pytest.approx((0.0, 1.0)), "a resample of one row is constant and counts as 0"
    assert bootstrap_interval(SQUAD, ["a b", "c"], ["b", "d"], "token_f1")[1] == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"n_resamples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_a_bootstrap_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="bootstrap needs"):
        bootstrap_interval(BINARY, [0], [0], "accuracy", **options)


def test_the_majority_floor_is_the_commonest_training_class() -> None:
    floor = majority_score(BINARY, [1, 1, 0], [0, 0, 0, 1])
    assert floor is not None and floor["accuracy"] == 0.25
    assert majority_score(BINARY, [1, 0], [0, 0, 1]) == majority_score(BINARY, [0], [0, 0, 1])
    regression = majority_score(STSB, [1.0, 3.0], [1.0, 5.0])
    assert regression is not None and regression["pearson"] == 0.0
    assert majority_score(SQUAD, ["a"], ["a"]) is None
    with pytest.raises(UserError, match="at least one training label"):
        majority_score(BINARY, [], [0])


@pytest.mark.parametrize(
    ("task", "predictions", "references", "complaint"),
    [
        (BINARY, [0], [0, 1], "1 predictions for 2 references"),
        (BINARY, [], [], "no examples"),
        (BINARY, [0], [None], "unlabelled"),
        (BINARY, [2], [0], "prediction 2 is no class index, allowed are 0 to 1"),
        (BINARY, [0], [-1], "reference -1 is no class index"),
        (BINARY, [0.5], [0], "no class index"),
        (STSB, [float("nan")], [1.0], "finite"),
        (SQUAD, [["a"]], ["a"], "Decode the tokens first"),
        (SQUAD, ["a"], [[]], "empty list"),
    ],
)
def test_scores_of_what_cannot_be_scored_are_refused(
    task: Task, predictions: Any, references: Any, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        compute_metrics(task, predictions, references)
