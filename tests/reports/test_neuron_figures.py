"""Figures of neurons are readable at real sizes, and show what was given."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_hub.reports.neuron_figures import draw_masking, draw_neurons


@pytest.mark.parametrize("shape", [(12, 3072), (30, 1536), (2, 5)])
def test_layers_by_neurons_are_put_together_into_columns_that_can_be_seen(shape, tmp_path):
    values = np.random.default_rng(0).normal(size=shape)
    figure = draw_neurons({"sst2": values}, {}, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5000
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (shape[0], min(shape[1], 96))
    assert (np.diff(shown, axis=1) <= 1e-9).all()
    bars = [bar.get_width() for bar in figure.axes[1].patches]
    assert bars == pytest.approx((values > 0).mean(1).tolist())


def test_a_second_prompt_stands_in_the_order_of_the_first(tmp_path):
    first = np.array([[3.0, 1.0, 2.0]])
    second = np.array([[30.0, 10.0, -20.0]])
    figure = draw_neurons({"a": first, "b": second}, {"b": [0.5]}, tmp_path / "two.png")
    assert figure.axes[1].images[0].get_array().tolist() == [[30, -20, 10]]
    assert figure.axes[2].lines[0].get_xdata().tolist() == [0.5]


def test_the_curve_of_masking_has_a_line_a_choice_and_a_panel_a_target(tmp_path):
    def group(target, choice, ratio, scores):
        return {"target": target, "choice": choice, "ratio": ratio, "scores": scores,
                "mean": sum(scores) / len(scores), "interval": [0.4, 0.9]}  # fmt: skip

    targets = ["sst2", "mnli"]
    result = {
        "targets": targets, "choices": ["top", "random"],
        "cells": [{"target": t, "choice": "unmasked", "score": 0.9, "metric": "accuracy", "n": 50,
                   "relation": "own", "floors": {"majority": {"accuracy": 0.5}}} for t in targets],
        "summary": [group(t, c, r, [0.6, 0.7] if c == "random" else [0.5])
                    for t in targets for c in ("top", "random") for r in (0.1, 0.2)],
    }  # fmt: skip
    figure = draw_masking(result, tmp_path / "mask.png")
    assert (tmp_path / "mask.png").stat().st_size > 5000
    assert len(figure.axes) == 2
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["top"].get_ydata().tolist() == [0.5, 0.5]
    assert lines["random"].get_ydata().tolist() == pytest.approx([0.65, 0.65])
