"""Held neurons have the value they are held at, and are free again after the block."""

from __future__ import annotations

import pytest
import torch

from prompt_hub.backbones import Batch
from prompt_hub.backbones.ffn import find_sites
from prompt_hub.errors import UserError
from prompt_hub.neurons import selection
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import capture_prompt, sites_for
from tiny_models import KINDS

LABELS = [[9], [17], [23]]
VALUES = torch.tensor([[0.5, -1.0, 2.0, 0.0], [3.0, -2.0, 1.0, -0.5]])


def world(backbone) -> tuple[torch.Tensor, Batch]:
    prompt = 0.5 * torch.randn(4, backbone.hidden, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[9, 17, 30], [40, 7, 8]])
    return prompt, Batch(ids, torch.ones_like(ids), torch.tensor([[2], [2]]))


def removed_by_weights(backbone, sites, chosen, prompt, batch, to=0.0) -> torch.Tensor:
    """Label logits with the neurons taken out of the weights of the map back (and put into its bias)."""
    kept = []
    for site, where in zip(sites, chosen, strict=True):
        weight, bias = site.down.weight, site.down.bias
        conv = type(site.down).__name__ == "Conv1D"
        changed = weight.clone()
        lost = (weight[where] if conv else weight[:, where].T).sum(0) * to
        (changed if conv else changed.T)[where] = 0
        kept.append((site.down, weight, bias))
        site.down.weight = torch.nn.Parameter(changed, requires_grad=False)
        if bias is not None:
            site.down.bias = torch.nn.Parameter(bias + lost, requires_grad=False)
    try:
        return backbone.label_logits(prompt, batch, LABELS)
    finally:
        for down, weight, bias in kept:
            down.weight, down.bias = weight, bias


@pytest.mark.parametrize("kind", KINDS)
def test_masking_is_the_same_as_taking_the_neurons_out_of_the_weights(tiny, kind):
    backbone = tiny(kind)
    prompt, batch = world(backbone)
    sites = sites_for(backbone)
    chosen = selection.random(torch.zeros(len(sites), sites[0].width), 0.3, seed=5)
    free = backbone.label_logits(prompt, batch, LABELS)
    with held_neurons(sites, chosen):
        masked = backbone.label_logits(prompt, batch, LABELS)
    assert torch.allclose(masked, removed_by_weights(backbone, sites, chosen, prompt, batch), atol=1e-4)
    assert (masked - free).abs().max() > 1e-3
    assert torch.equal(backbone.label_logits(prompt, batch, LABELS), free)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "opt"])
def test_inducing_is_the_same_as_adding_the_value_to_the_bias(tiny, kind):
    backbone = tiny(kind)
    prompt, batch = world(backbone)
    sites = sites_for(backbone)
    chosen = selection.random(torch.zeros(len(sites), sites[0].width), 0.2, seed=6)
    with held_neurons(sites, chosen, to=1.5):
        induced = backbone.label_logits(prompt, batch, LABELS)
    expected = removed_by_weights(backbone, sites, chosen, prompt, batch, to=1.5)
    assert torch.allclose(induced, expected, atol=1e-4)


def test_neurons_held_at_their_own_values_change_nothing(tiny):
    backbone = tiny("llama")
    prompt, sites = world(backbone)[0], sites_for(tiny("llama"))
    own = capture_prompt(backbone, prompt)
    everywhere = torch.ones_like(own.after, dtype=torch.bool)
    with held_neurons(sites, everywhere, to=own.after):
        assert torch.allclose(capture_prompt(backbone, prompt, values=("after",)).after, own.after, atol=1e-5)


def test_recording_sees_the_neurons_that_are_held(tiny):
    backbone = tiny("t5")
    prompt, sites = world(backbone)[0], sites_for(tiny("t5"))
    chosen = selection.top(capture_prompt(backbone, prompt).after, 0.1)
    with held_neurons(sites, chosen, to=7.0):
        held = capture_prompt(backbone, prompt, values=("after",)).after
    assert (held[chosen] == 7).all() and not (held[~chosen] == 7).any()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["roberta", "qwen2", "t5-v1.1"])
def test_neurons_are_free_again_after_an_error_or_an_interruption(tiny, kind, error):
    backbone = tiny(kind)
    prompt, batch = world(backbone)
    before = backbone.label_logits(prompt, batch, LABELS)
    sites = sites_for(backbone)
    with pytest.raises(error), held_neurons(sites, torch.ones(2, 64, dtype=torch.bool)):
        raise error
    assert torch.equal(backbone.label_logits(prompt, batch, LABELS), before)
    assert not any(module._forward_pre_hooks for module in backbone.model.modules())


@pytest.mark.parametrize(
    ("chosen", "to", "says"),
    [
        (torch.ones(2, 32, dtype=torch.bool), 0.0, r"layers by neurons \[2, 64\], not torch.bool \[2, 32\]"),
        (torch.ones(2, 64), 0.0, "must be a bool tensor"),
        (torch.ones(2, 64, dtype=torch.bool), torch.ones(64), r"of shape \[2, 64\], not \[64\]"),
        (torch.ones(2, 64, dtype=torch.bool), float("nan"), "must be finite"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tiny, chosen, to, says):
    with pytest.raises(UserError, match=says), held_neurons(find_sites(tiny("bert")), chosen, to):
        pass


# -- which neurons ---------------------------------------------------------------------------------------


def places(mask: torch.Tensor) -> list[int]:
    return mask.flatten().nonzero().flatten().tolist()


def test_top_and_bottom_go_by_value_over_all_layers():
    assert places(selection.top(VALUES, 0.25)) == [2, 4]
    assert places(selection.bottom(VALUES, 0.25)) == [1, 5]
    assert selection.top(VALUES, 1.0).all()
    assert places(selection.top(VALUES, 0.01)) == [4]


def test_draws_differ_by_seed_and_are_the_same_for_one():
    values = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    for draw in (selection.random, selection.random_active):
        assert torch.equal(draw(values, 0.2, 1), draw(values, 0.2, 1))
        assert not torch.equal(draw(values, 0.2, 1), draw(values, 0.2, 2))
        assert draw(values, 0.2, 1).sum() == 30


def test_a_draw_from_the_active_takes_inactive_ones_only_when_those_are_used_up():
    active = set(places(VALUES > 0))
    assert set(places(selection.random_active(VALUES, 0.5, 3))) == active
    assert set(places(selection.random_active(VALUES, 0.25, 3))) < active
    assert set(places(selection.random_active(VALUES, 0.75, 3))) > active


def test_common_neurons_are_active_everywhere_and_specific_ones_only_here():
    other = torch.tensor([[1.0, 1.0, -1.0, 0.0], [2.0, -1.0, -1.0, -1.0]])
    # Active here: 0, 2, 4, 6. Active there: 0, 1, 4.
    assert places(selection.common(VALUES, [other], 0.25)) == [0, 4]
    assert places(selection.specific(VALUES, [other], 0.25)) == [2, 6]
    assert places(selection.specific(VALUES, [other], 0.125)) == [2]


@pytest.mark.parametrize("ratio", [0, -0.1, 1.5, float("nan")])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(UserError, match=r"above 0 and at most 1"):
        selection.top(VALUES, ratio)


def test_common_without_others_and_of_another_backbone_is_refused():
    with pytest.raises(UserError, match="at least one other prompt"):
        selection.common(VALUES, [], 0.2)
    with pytest.raises(UserError, match="different backbones"):
        selection.specific(VALUES, [VALUES[:1]], 0.2)
