"""What the target is asked to match, the fit to it, and that labels take no part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from prompt_hub.backbones import load_backbone
from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import evaluate
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.prompts.initialisers import initial_prompt
from prompt_hub.tasks import get_task, load_split
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example
from prompt_hub.training.presets import instruction_for
from prompt_hub.transfer.cross_model.distillation import (
    DistillationSettings,
    Scores,
    distil,
    divergence,
    goal_logits,
    source_scores,
    without_labels,
)

TASK = get_task("mini/film").with_overrides(label_words=["bad", "good"])


def settings(**changes) -> DistillationSettings:
    return DistillationSettings(**{"steps": 20, "batch_size": 8, "learning_rate": 0.05, "seed": 3, **changes})


def rows(backbone, seed, length=4):
    return torch.randn(length, backbone.hidden, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def texts():
    return without_labels(load_split(TASK, "train", limit=24, seed=1))


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum(1, keepdims=True))


def test_the_goal_of_each_match_is_what_its_formula_says():
    chooser = np.random.default_rng(0)
    prompted, plain, own = (chooser.normal(size=(5, 3)) * 2 for _ in range(3))
    scores = Scores(torch.from_numpy(prompted), torch.from_numpy(plain))
    target = torch.from_numpy(own)
    p, q, t = (log_softmax(values) for values in (prompted, plain, own))
    assert np.allclose(goal_logits(scores, target, "answers").numpy(), p)
    assert np.allclose(goal_logits(scores, target, "shift").numpy(), t + p - q)
    centred = goal_logits(scores, target, "centred-shift").numpy()
    assert np.allclose(centred.mean(0), p.mean(0))
    moved = t + p - q
    assert np.allclose(centred - centred.mean(0), moved - moved.mean(0))


def test_a_shift_does_not_depend_on_how_likely_a_models_label_words_are_by_themselves():
    chooser = np.random.default_rng(1)
    prompted, plain, own = (torch.from_numpy(chooser.normal(size=(6, 3))) for _ in range(3))
    bias = torch.tensor([3.0, -1.0, 0.0], dtype=torch.float64)

    def answer(match, source_bias, target_bias):
        scores = Scores(prompted + source_bias, plain + source_bias)
        return goal_logits(scores, own + target_bias, match).softmax(1)

    assert torch.allclose(answer("shift", bias, 0), answer("shift", 0, 0))
    assert torch.allclose(answer("centred-shift", 0, bias), answer("centred-shift", 0, 0))
    assert torch.allclose(answer("answers", 0, bias), answer("answers", 0, 0))
    assert not torch.allclose(answer("shift", 0, bias), answer("shift", 0, 0))


def test_the_divergence_is_kullback_leiblers_times_the_temperature_squared():
    chooser = np.random.default_rng(2)
    goal, logits = chooser.normal(size=(2, 7, 3)) * 3
    for temperature in (1.0, 2.5):
        p, q = (log_softmax(values / temperature) for values in (goal, logits))
        expected = (np.exp(p) * (p - q)).sum(1).mean() * temperature**2
        found = divergence(torch.from_numpy(goal), torch.from_numpy(logits), temperature)
        assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize(("source", "target"), [("bert", "gpt2"), ("gpt2", "t5"), ("t5", "roberta")])
def test_the_fit_comes_nearer_to_the_goal_on_texts_that_it_has_not_seen(source, target, tiny, texts):
    scores = source_scores(Encoder(tiny(source), TASK, 4), 3 * rows(tiny(source), 1), texts)
    encoder = Encoder(tiny(target), TASK, 4)
    made = distil(scores, encoder, texts, rows(tiny(target), 2), settings())
    assert made.divergence < 0.9 * made.curve[0][1] and made.curve[0][0] == 0 < made.best_step
    assert (made.texts, made.held_out) == (19, 5)


def test_a_target_learns_a_task_from_what_a_source_says_about_texts_without_labels():
    task, seed = get_task("mini/film"), 1
    source, target = load_backbone("mini-roberta"), load_backbone("mini-gpt2")
    question = initial_prompt("text", source, 12, seed, text=instruction_for(task, source.family))
    texts = without_labels(load_split(task, "train", limit=60, seed=seed))
    scores = source_scores(Encoder(source, task, 12), question, texts)
    encoder = Encoder(target, task, 12)
    start = initial_prompt("vocab", target, 12, seed)
    made = distil(scores, encoder, texts, start, settings(steps=60, learning_rate=0.01, seed=seed))
    rows = load_split(task, "validation", limit=200, seed=seed)
    before, after = (evaluate(encoder, prompt, rows, floors=()).score for prompt in (start, made.prompt))
    assert before < 0.75 and after > 0.9
    assert made.agreement > made.initial_agreement


def test_the_kept_prompt_is_the_best_of_those_looked_at_and_its_numbers_are_true(tiny, texts):
    encoder = Encoder(tiny("gpt2"), TASK, 4)
    scores = source_scores(Encoder(tiny("bert"), TASK, 4), 3 * rows(tiny("bert"), 1), texts)
    made = distil(scores, encoder, texts, rows(tiny("gpt2"), 2), settings(learning_rate=2.0))
    assert made.divergence == min(value for _, value in made.curve)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3)).tolist()
    held_out = sorted(order[:5])
    found = label_scores(encoder, made.prompt, encode_split(encoder, texts), 8)[held_out]
    goal = scores.prompted.numpy()[held_out]
    p, q = log_softmax(goal), log_softmax(found)
    assert made.divergence == pytest.approx((np.exp(p) * (p - q)).sum(1).mean(), abs=1e-5)
    assert made.agreement == int((goal.argmax(1) == found.argmax(1)).sum())
    mean = np.log(np.exp(p).mean(0))
    assert made.constant == pytest.approx((np.exp(p) * (p - mean)).sum(1).mean(), abs=1e-5)


def test_the_same_seed_gives_the_same_prompt_and_another_seed_another(tiny, texts):
    encoder = Encoder(tiny("gpt2"), TASK, 4)
    scores = source_scores(Encoder(tiny("bert"), TASK, 4), rows(tiny("bert"), 1), texts)
    start = rows(tiny("gpt2"), 2)
    first, again, other = (
        distil(scores, encoder, texts, start, settings(seed=seed)).prompt for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(start, rows(tiny("gpt2"), 2))


@dataclass(frozen=True)
class Sealed(Example):
    """A row whose label must not be read."""

    def __getattribute__(self, name):
        if name in ("label", "references"):
            raise AssertionError("the label was read")
        return super().__getattribute__(name)


def sealed(split: Split) -> Split:
    found = [Sealed(one.text_a, one.text_b, 1) for one in split.examples]
    return Split(split.name, found, "not computed", split.source)


def test_labels_are_never_read(tiny, texts):
    closed = sealed(texts)
    with pytest.raises(AssertionError, match="was read"):
        closed.labels()
    opened = without_labels(closed)
    assert opened.examples == texts.examples and set(opened.labels()) == {None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"match": "shifts"}, "Unknown match 'shifts'. Did you mean 'shift'"),
        ({"temperature": 0.0}, "temperature must be a number above 0, not 0.0"),
        ({"learning_rate": float("nan")}, "learning rate must be a number above 0"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(changes, says):
    with pytest.raises(UserError, match=says):
        settings(**changes)


def test_too_few_texts_and_a_fit_that_diverges_are_refused(tiny, texts):
    encoder = Encoder(tiny("gpt2"), TASK, 4)
    scores = source_scores(Encoder(tiny("bert"), TASK, 4), rows(tiny("bert"), 1), texts)
    few = texts.only(range(9))
    with pytest.raises(UserError, match="at least 10 texts, there are 9"):
        distil(scores, encoder, few, rows(tiny("gpt2"), 2), settings())
    broken = replace(scores, prompted=torch.full_like(scores.prompted, torch.nan))
    with pytest.raises(UserError, match=r"diverged.*for example --lr 0.005"):
        distil(broken, encoder, texts, rows(tiny("gpt2"), 2), settings())
