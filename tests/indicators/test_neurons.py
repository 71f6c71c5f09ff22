"""Indicators from neurons are the overlaps of what two prompts activate, on one backbone."""

from __future__ import annotations

import numpy as np
import pytest
from made_prompts import fitting_prompts, made_rows

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.indicators import Context, Target, get_indicator
from prompt_hub.neurons.capture import capture_prompt, sites_for
from prompt_hub.neurons.over_rows import predictivity
from prompt_hub.tasks import get_task, hold_out

PLAIN = ("on", "on_last_third", "neuron_jaccard", "neuron_top_k", "neuron_cosine", "neuron_correlation")


def matrix(backbone, name, prompts, **about) -> np.ndarray:
    targets = [Target(key, each, **about) for key, each in prompts.items()]
    return get_indicator(name).matrix(prompts, targets, Context(backbone)).to_numpy()


def neurons(backbone, prompt) -> np.ndarray:
    return capture_prompt(backbone, prompt.embeddings)["after"].numpy().astype(np.float64)


def cosine(a, b) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "llama", "t5"])
def test_each_is_its_formula_on_the_captured_neurons(tiny, kind):
    backbone = tiny(kind)
    prompts = fitting_prompts(backbone, "ab")
    a, b = (neurons(backbone, each) for each in prompts.values())
    x, y = a > 0, b > 0
    top = [set(np.argsort(-each.ravel(), kind="stable")[:100]) for each in (a, b)]
    expected = {
        "on": (x & y).sum() / np.sqrt(x.sum() * y.sum()),
        "on_last_third": (x & y)[1].sum() / np.sqrt(x[1].sum() * y[1].sum()),
        "neuron_jaccard": (x & y).sum() / (x | y).sum(),
        "neuron_top_k": len(top[0] & top[1]) / 100,
        "neuron_cosine": cosine(a, b),
        "neuron_correlation": np.corrcoef(a.ravel(), b.ravel())[0, 1],
    }
    found = {name: matrix(backbone, name, prompts)[0, 1] for name in PLAIN}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", PLAIN)
def test_a_prompt_activates_what_it_activates_and_the_order_of_two_does_not_matter(tiny, name):
    found = matrix(tiny("bert"), name, fitting_prompts(tiny("bert"), "abc"))
    np.testing.assert_allclose(found.diagonal(), 1)
    np.testing.assert_allclose(found, found.T)
    assert (found[np.triu_indices(3, 1)] < 1).all()


def test_layers_can_be_named(tiny):
    backbone = tiny("roberta")
    prompts = fitting_prompts(backbone, "ab")
    x, y = (neurons(backbone, each) > 0 for each in prompts.values())
    first = (x & y)[0].sum() / np.sqrt(x[0].sum() * y[0].sum())
    assert matrix(backbone, "on:0", prompts)[0, 1] == pytest.approx(first)
    np.testing.assert_array_equal(matrix(backbone, "on:0-1", prompts), matrix(backbone, "on", prompts))
    assert get_indicator("ON:0-1").name == "on:0-1"


@pytest.mark.parametrize("name", ["c_avg:1", "on:3-1", "on:first"])
def test_layers_that_make_no_sense_are_refused_with_an_example(name):
    with pytest.raises(UserError, match="such as on:3-5"):
        get_indicator(name)


def test_a_layer_that_the_backbone_does_not_have_is_refused(tiny):
    with pytest.raises(UserError, match="Layer 2 does not exist: there are 0 to 1"):
        matrix(tiny("gpt2"), "on:1-2", fitting_prompts(tiny("gpt2"), "ab"))


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_skill_on_counts_each_neuron_by_what_it_tells_about_the_target(tiny, kind):
    backbone, task, rows = tiny(kind), get_task("sst2"), made_rows(24)
    prompts = fitting_prompts(backbone, "ab")
    train, test = hold_out(rows, 0.5)
    found = matrix(backbone, "skill_on", prompts, task=task, rows=rows)
    for row, target in enumerate(prompts.values()):
        told = predictivity(
            Encoder(backbone, task, 4), target.embeddings, train, test, sites=sites_for(backbone)
        ).numpy()
        weights = np.clip(2 * (told.astype(np.float64) - 0.5), 0, 1)
        x, y = (neurons(backbone, each) > 0 for each in prompts.values())
        both = (weights * (x & y)).sum() / np.sqrt((weights * x).sum() * (weights * y).sum())
        assert found[row, 1 - row] == pytest.approx(both)
    assert found[0, 1] != found[1, 0], "each target weighs by its own neurons"


def test_prompts_of_another_backbone_are_refused_by_name(tiny):
    prompts = {**fitting_prompts(tiny("gpt2"), "a"), **fitting_prompts(tiny("llama"), "b")}
    with pytest.raises(UserError, match=r"Prompt 'b' cannot run on .*input embeddings differ.*one backbone"):
        matrix(tiny("gpt2"), "on", prompts)


def test_without_a_backbone_the_message_asks_for_one():
    with pytest.raises(UserError, match="'on' runs the backbone"):
        get_indicator("on").matrix({}, [])
