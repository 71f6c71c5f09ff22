"""Neurons over the rows of a task: the reductions equal those over all activations held at once."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.neurons import over_rows
from prompt_hub.neurons.capture import input_positions, plain_forward, recording, sites_for
from prompt_hub.neurons.over_rows import capture_rows, predictivity
from prompt_hub.tasks import get_task
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example

WORDS = "the film was good bad great awful plot actor scene story".split()


def split(count: int, classes: int = 2, seed: int = 0) -> Split:
    chooser = random.Random(seed)
    rows = [
        Example(" ".join(chooser.choices(WORDS, k=chooser.randint(1, 7))), "so it was", index % classes)
        for index in range(count)
    ]
    return Split.of("validation", rows, "made for the test")


def make_prompt(backbone, length=4) -> torch.Tensor:
    return 0.5 * torch.randn(length, backbone.hidden, generator=torch.Generator().manual_seed(3))


def one_by_one(encoder, prompt, rows, positions, value) -> np.ndarray:
    """``[n, M, L, F]``, every row in a batch of its own."""
    backbone = encoder.backbone
    sites = sites_for(backbone, positions)
    found = []
    for row in encoder.encode(rows.examples).rows:
        batch = encoder.batch([row], with_targets=False)
        where = input_positions(backbone, sites, batch, len(prompt), positions)
        with recording(sites, where, (value,)) as recorded:
            plain_forward(backbone, prompt, batch)
            found.append(recorded[value][0].double().numpy())
    return np.stack(found)


@pytest.mark.parametrize(
    ("kind", "positions", "value"),
    [("roberta", "read", "after"), ("roberta", "prompt", "before"), ("llama", "read", "gate"),
     ("t5", "read", "after"), ("t5-v1.1", "prompt", "after"), ("opt", [1, -1], "after")],
)  # fmt: skip
def test_means_and_firing_shares_are_those_of_all_activations_held_at_once(tiny, kind, positions, value):
    backbone = tiny(kind)
    encoder, rows, prompt = Encoder(backbone, get_task("sst2"), 4), split(11), make_prompt(backbone)
    everything = one_by_one(encoder, prompt, rows, positions, value)
    found = capture_rows(encoder, prompt, rows, positions=positions, value=value, batch_size=4)
    assert found.n == 11 and found.mean.shape == found.fires.shape == (2, 64)
    assert np.allclose(found.mean, everything.mean((0, 1)), atol=1e-5)
    assert np.allclose(found.fires, (everything > 0).mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize(("kind", "positions"), [("bert", "prompt"), ("gpt2", "read"), ("t5", "prompt")])
def test_predictivity_is_the_accuracy_of_above_the_training_mean_at_the_best_position(tiny, kind, positions):
    backbone = tiny(kind)
    encoder, prompt = Encoder(backbone, get_task("sst2"), 4), make_prompt(backbone)
    train, test = split(9, seed=1), split(13, seed=2)
    threshold = one_by_one(encoder, prompt, train, positions, "after").mean(0)
    above = one_by_one(encoder, prompt, test, positions, "after") > threshold
    right = (above == np.array(test.labels())[:, None, None, None].astype(bool)).mean(0)
    expected = np.maximum(right, 1 - right).max(0)
    found = predictivity(encoder, prompt, train, test, batch_size=5)
    # A value that lies on the threshold but for rounding may fall on either side.
    assert (np.abs(found.numpy() - expected) > 1e-6).mean() < 0.01
    assert found.min() >= 0.5 and 0.6 < found.max() <= 1


def test_with_three_classes_the_best_class_against_the_rest_counts_by_its_recalls(tiny):
    backbone = tiny("bert")
    encoder, prompt = Encoder(backbone, get_task("mnli"), 4), make_prompt(backbone)
    train, test = split(9, 3, seed=1), split(14, 3, seed=2)
    threshold = one_by_one(encoder, prompt, train, "prompt", "after").mean(0)
    above = one_by_one(encoder, prompt, test, "prompt", "after") > threshold
    labels, best = np.array(test.labels()), np.full(above.shape[1:], 0.5)
    for label in range(3):
        recalls = (above[labels == label].mean(0) + 1 - above[labels != label].mean(0)) / 2
        best = np.maximum(best, np.maximum(recalls, 1 - recalls))
    found = predictivity(encoder, prompt, train, test)
    assert (np.abs(found.numpy() - best.max(0)) > 1e-6).mean() < 0.01


def test_a_batch_of_prompt_positions_is_kept_small(tiny, monkeypatch):
    """``[B, M, L, F]`` would be the largest thing in memory."""
    sizes = []
    forward = over_rows.plain_forward
    monkeypatch.setattr(
        over_rows, "plain_forward", lambda *given: (sizes.append(given[2].size), forward(*given))
    )
    monkeypatch.setattr(over_rows, "_POSITIONS_AT_ONCE", 12)
    encoder = Encoder(tiny("bert"), get_task("sst2"), 4)
    capture_rows(encoder, make_prompt(tiny("bert")), split(7), positions="prompt")
    capture_rows(encoder, make_prompt(tiny("bert")), split(7), positions="read")
    assert sizes == [3, 3, 1, 7]


@pytest.mark.parametrize("layout", ["prompt-mask-text", "paper"])
def test_rows_without_a_prompt_are_read_at_the_mask_too(tiny, layout):
    """Layout paper keeps one row, over which the mask is written: the same as any prompt of one row."""
    backbone = tiny("roberta")
    encoder, rows = Encoder(backbone, get_task("sst2"), 1, layout), split(5)
    found = capture_rows(encoder, None, rows)
    assert found.mean.abs().max() > 0
    one_row = capture_rows(encoder, torch.randn(1, backbone.hidden), rows)
    assert torch.allclose(found.mean, one_row.mean, atol=1e-5) is (layout == "paper")


@pytest.mark.parametrize(
    ("kind", "rows", "positions", "says"),
    [
        ("gpt2", split(6), "prompt", "causal: its prompt positions do not see the text"),
        ("bert", split(6, classes=1), None, "all of one class"),
        ("bert", Split.of("test", [Example("good"), Example("bad", None, 1)], "unlabelled.csv"), None,
         "unlabelled.csv are unlabelled"),
    ],
)  # fmt: skip
def test_predictivity_without_a_meaning_is_refused(tiny, kind, rows, positions, says):
    encoder = Encoder(tiny(kind), get_task("sst2"), 4)
    with pytest.raises(UserError, match=says):
        predictivity(encoder, make_prompt(tiny(kind)), split(6), rows, positions=positions)


def test_predictivity_of_a_generation_is_refused(tiny):
    encoder = Encoder(tiny("t5"), get_task("samsum"), 4)
    with pytest.raises(UserError, match="'samsum' is a generation"):
        predictivity(encoder, make_prompt(tiny("t5")), split(4), split(4))


def test_no_rows_are_refused(tiny):
    encoder = Encoder(tiny("bert"), get_task("sst2"), 4)
    with pytest.raises(UserError, match="has no rows"):
        capture_rows(encoder, make_prompt(tiny("bert")), split(0))
