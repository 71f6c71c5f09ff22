"""LogME and H-score: equal to their definitions on small cases, finite and telling where those break down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_prompts import fitting_prompts, made_rows
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.indicators.features import features_of, h_score, log_me
from prompt_hub.tasks import get_task
from tiny_models import KINDS


def drawn(n=40, width=3, classes=2, apart=1.0, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Normal features; the classes lie ``apart`` along their own axes."""
    chooser = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    means = apart * np.eye(classes, width)
    return chooser.normal(size=(n, width)) + means[labels], labels


def evidence_by_hand(features, y) -> float:
    """max over alpha, beta of log N(y; 0, I / beta + F F^T / alpha) / n."""
    n = len(y)

    def negative(logs):
        alpha, beta = np.exp(logs)
        covariance = np.eye(n) / beta + features @ features.T / alpha
        return -multivariate_normal(np.zeros(n), covariance).logpdf(y)

    starts = [(0.0, 0.0), (3.0, 1.0), (-3.0, 2.0)]
    return max(-minimize(negative, start, method="Nelder-Mead").fun for start in starts) / n


@pytest.mark.parametrize(("n", "width", "classes"), [(30, 3, 2), (24, 5, 3), (12, 8, 2)])
def test_log_me_is_the_largest_evidence_of_the_linear_model(n, width, classes):
    features, labels = drawn(n, width, classes)
    expected = np.mean([evidence_by_hand(features, (labels == c).astype(float)) for c in range(classes)])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("score", [log_me, h_score])
@pytest.mark.parametrize("width", [4, 200])
def test_features_that_tell_the_classes_apart_score_higher_with_few_rows_and_with_many(score, width):
    near, far = (score(*drawn(60, width, 3, apart)) for apart in (0.3, 5.0))
    assert near < far and np.isfinite([near, far]).all()


@pytest.mark.parametrize("score", [log_me, h_score])
def test_turning_and_scaling_the_features_changes_nothing(score):
    features, labels = drawn(30, 6)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    for factor in (1e-6, 1.0, 1e6):
        assert score(factor * features @ turned, labels) == pytest.approx(score(features, labels), rel=1e-6)


@pytest.mark.parametrize("score", [log_me, h_score])
def test_features_that_are_constant_twice_there_or_fit_exactly_give_a_number(score):
    features, labels = drawn(20, 4)
    exact = np.eye(2)[labels]
    for each in (np.zeros((20, 4)), np.ones((20, 4)), np.hstack([features, features]), exact):
        assert np.isfinite(score(each, labels))
    assert score(exact, labels) > max(score(features, labels), score(np.ones((20, 4)), labels))


def test_the_plain_h_score_is_its_formula():
    features, labels = drawn(50, 4, 3)
    between = sum(
        (labels == c).mean() * np.outer(*[features[labels == c].mean(0) - features.mean(0)] * 2)
        for c in range(3)
    )
    expected = np.trace(np.linalg.inv(np.cov(features.T, bias=True)) @ between)
    assert h_score(features, labels, shrinkage=0) == pytest.approx(expected)


def test_with_no_more_rows_than_features_only_the_shrunk_h_score_says_anything():
    good, bad = drawn(30, 100, 3, 6.0), drawn(30, 100, 3, 0.0)
    for each in (good, bad):
        assert h_score(*each, shrinkage=0) == pytest.approx(2)
    assert h_score(*bad) < 0.8 * h_score(*good) < 2


@pytest.mark.parametrize(("n", "width"), [(50, 4), (30, 100)])
def test_the_covariance_is_shrunk_as_far_as_ledoit_and_wolf_say(n, width):
    covariance = pytest.importorskip("sklearn.covariance")
    features, labels = drawn(n, width, 3)
    amount = covariance.ledoit_wolf_shrinkage(features)
    assert 0 < amount < 1
    assert h_score(features, labels) == pytest.approx(h_score(features, labels, shrinkage=amount))


@pytest.mark.parametrize("kind", KINDS)
def test_label_logits_are_a_linear_map_of_the_features(tiny, kind):
    backbone, rows = tiny(kind), made_rows(9)
    encoder = Encoder(backbone, get_task("sst2"), 4)
    (prompt,) = fitting_prompts(backbone, "a").values()
    features, labels = features_of(encoder, prompt.embeddings, rows, batch_size=4)
    encoded = encode_split(encoder, rows)
    batch = encoder.batch([encoded[index] for index in range(9)])
    words = [[5], [9]]
    logits = backbone.reference_label_logits(prompt.embeddings, batch, words).detach()
    head = backbone.model.get_output_embeddings()
    found = torch.from_numpy(features) @ head.weight[[5, 9]].T
    for bias in (getattr(head, "bias", None), getattr(backbone.model, "final_logits_bias", None)):
        if bias is not None:
            found = found + bias.reshape(-1)[[5, 9]]
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
    assert labels.tolist() == rows.labels()
