"""Figures are drawn from stored results, also where some of the numbers are missing."""

from __future__ import annotations

import pytest

from prompt_hub.reports.figures import draw_scores, draw_starts, draw_transfer


def is_png(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def result(score: float, metric: str = "accuracy", **floors: float) -> dict:
    return {
        "primary_metric": metric,
        "metrics": {metric: score},
        "ci95": {metric: [score - 0.1, score + 0.05]},
        "floors": {name: {metric: value} for name, value in floors.items()},
    }


@pytest.mark.parametrize("count", [1, 8])
def test_scores(tmp_path, count):
    results = [result(0.8, majority=0.5, no_prompt=0.6, random_prompt=0.55)] * count
    assert is_png(draw_scores(results, ["a"] * count, tmp_path / "new" / "scores.png"))


def test_scores_below_zero_and_without_floors(tmp_path):
    results = [result(-0.2, "pearson"), result(0.4)]
    assert is_png(draw_scores(results, ["a", "b"], tmp_path / "scores.png"))


def test_transfer_with_a_missing_pair_and_an_own_prompt_that_scores_nothing(tmp_path):
    found = {
        "tasks": ["a", "b", "c"],
        "types": ["nli", "nli", "qa"],
        "own": {"a": 0.8, "b": 0.6, "c": 0.0},
        "floors": {"a": {"majority": 0.5, "no_prompt": 0.5}, "b": {"majority": 0.5}, "c": {}},
        "pairs": [
            {"source": "a", "target": "b", "relative": 0.9},
            {"source": "b", "target": "c", "relative": None},
        ],
    }
    assert is_png(draw_transfer(found, tmp_path / "transfer.png"))


@pytest.mark.parametrize("zero_shot", [0.6, None])
def test_starts(tmp_path, zero_shot):
    points = [{"steps": k, "score": 0.5 + k / 100, "ci95": [0.4, 0.7]} for k in (5, 10)]
    found = {
        "source": "a", "target": "b", "metric": "accuracy", "n": 50, "zero_shot": zero_shot,
        "scores": {"warm": points, "scratch": points}, "full": {"steps": 100, "score": 0.8},
        "floors": {"majority": 0.5},
    }  # fmt: skip
    assert is_png(draw_starts(found, tmp_path / "starts.png"))
