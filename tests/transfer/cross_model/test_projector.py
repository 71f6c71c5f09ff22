"""The paper's projector gives what the original code gives; the smaller ones keep its contract."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from paper_oracle import PLACEMENT, Oracle, close
from prompt_hub.backbones import Batch
from prompt_hub.errors import UserError
from prompt_hub.transfer.cross_model.projector import FlatProjector, LowRankProjector, PerTokenProjector


@pytest.fixture(scope="module")
def original(shared):
    """Arrays of the original's projector, by name."""
    with np.load(shared / "paper" / "oracle" / "projector" / "projector.npz") as file:
        return {name: torch.as_tensor(file[name]) for name in file.files}


def weights(original, prefix):
    return {
        name.removeprefix(prefix): values
        for name, values in original.items()
        if name.startswith(prefix) and name.endswith((".weight", ".bias"))
    }


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_the_flat_projector_is_the_originals(original, activation):
    projector = FlatProjector((100, 24), (100, 32), 16, activation)
    projector.load_state_dict(weights(original, "flat_"))
    expected = original[f"flat_{activation.replace('_', '')}_output"]
    found = projector(original["source_prompts"])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    # Each prompt by itself gives the same as all together.
    torch.testing.assert_close(projector(original["source_prompts"][1]), expected[1], atol=1e-5, rtol=0)


def test_without_layer_norm_it_is_the_originals_before_it(original):
    projector = FlatProjector((100, 24), (100, 32), 16, layer_norm=False)
    kept = {name: values for name, values in weights(original, "flat_").items() if "layer_norm" not in name}
    projector.load_state_dict(kept)
    expected = original["flat_leakyrelu_before_layernorm"]
    torch.testing.assert_close(projector(original["source_prompts"]), expected, atol=1e-5, rtol=0)


def test_the_other_activation_is_told_from_it(original):
    """The original reloads every stored projector with LeakyReLU, also one that was trained with Tanh."""
    projector = FlatProjector((100, 24), (100, 32), 16, "leaky_relu")
    projector.load_state_dict(weights(original, "flat_"))
    assert (
        float((projector(original["source_prompts"]) - original["flat_tanh_output"]).detach().abs().max()) > 1
    )


def test_the_per_token_projector_is_the_originals(original):
    projector = PerTokenProjector((100, 24), (100, 32))
    projector.load_state_dict(weights(original, "pertoken_"))
    found = projector(original["source_prompts"])
    torch.testing.assert_close(found, original["pertoken_output"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_through_a_frozen_backbone_scores_loss_and_gradients_are_the_originals(original, shared, activation):
    oracle = Oracle(shared, "roberta")
    projector = FlatProjector((100, 24), (100, 32), 16, activation)
    projector.load_state_dict(weights(original, "flat_"))
    meta = json.loads((shared / "paper" / "oracle" / "projector" / "meta.json").read_text())
    label_ids = [[token] for token in meta["cross_label_token_ids"]]
    prompts = projector(original["source_prompts"])
    ids, mask = oracle.inputs()
    scores = torch.cat(
        [
            oracle.backbone.label_logits(
                prompts[source],
                Batch(ids[[row]], mask[[row]], torch.zeros(1, 1, dtype=torch.long), None, PLACEMENT),
                label_ids,
            )
            for row, source in enumerate(original["cross_source_index"].tolist())
        ]
    )
    name = f"cross_{activation.replace('_', '')}"
    assert close(scores, original[f"{name}_scores"])
    loss = torch.nn.functional.cross_entropy(scores, original["cross_labels"].long())
    assert close(loss, original[f"{name}_loss"])
    loss.backward()
    for part, parameter in projector.named_parameters():
        whole = f"{name}_grad_{part}" in original
        expected = original[f"{name}_grad_{part}" if whole else f"{name}_gradnorm_{part}"]
        found = parameter.grad if whole else parameter.grad.norm()
        # They pass through LayerNorm and two layers of attention in float32 and reach hundreds: the tolerance
        # goes with the largest of them.
        assert close(found, expected, 5e-4 * max(1.0, float(expected.abs().max()))), part


@pytest.mark.parametrize("kind", [FlatProjector, LowRankProjector])
def test_length_and_width_may_change_and_every_parameter_learns(kind):
    projector = kind((6, 8), (4, 12))
    made = projector(torch.randn(2, 6, 8))
    assert made.shape == (2, 4, 12)
    (made * torch.randn_like(made)).sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in projector.parameters())


@pytest.mark.parametrize("kind", [FlatProjector, LowRankProjector])
def test_every_row_can_reach_every_row(kind):
    projector = kind((6, 8), (4, 12))
    given = torch.randn(6, 8)
    changed = given.clone()
    changed[5] += 1
    assert bool(((projector(given) - projector(changed)).abs().sum(1) > 0).all())


def test_a_per_token_projector_takes_each_row_by_itself():
    projector = PerTokenProjector((6, 8), (6, 12))
    given = torch.randn(6, 8)
    torch.testing.assert_close(projector(given)[[4]], projector.layer_norm(projector.project(given[[4]])))


def test_size_and_memory_are_told():
    with torch.device("meta"):
        paper = FlatProjector((100, 768), (100, 768))
        large = FlatProjector((100, 768), (100, 1024))
        small = LowRankProjector((100, 768), (100, 768))
    assert paper.parameter_count == 2 * 76_800 * 768 + 768 + 76_800 + 2 * 768
    assert paper.training_bytes == 16 * paper.parameter_count
    assert "118,043,904 parameters" in paper.describe() and "100 x 768 to 100 x 768" in paper.describe()
    assert large.training_bytes < 4e9
    assert small.parameter_count < paper.parameter_count / 100


def test_wrong_sizes_and_names_are_refused():
    with pytest.raises(UserError, match=r"6 rows and width 8, not of 8 x 6"):
        FlatProjector((6, 8), (4, 12))(torch.randn(8, 6))
    with pytest.raises(UserError, match="Unknown activation 'relu6'"):
        FlatProjector((6, 8), (4, 12), activation="relu6")
    with pytest.raises(UserError, match="cannot make 4 of 6"):
        PerTokenProjector((6, 8), (4, 12))
    with pytest.raises(UserError, match="rank of a projector must be at least 1, not 0"):
        LowRankProjector((6, 8), (4, 12), rank=0)
    with pytest.raises(UserError, match="at least one row"):
        LowRankProjector((0, 8), (4, 12))
