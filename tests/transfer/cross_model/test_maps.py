"""Each method finds the map that was built into the embeddings, and its controls find none."""

from __future__ import annotations

import pytest
import torch
from made_backbones import Embedder, orthonormal, random_rows, words

from prompt_hub.errors import UserError
from prompt_hub.transfer.cross_model.fit import fit_map
from prompt_hub.transfer.cross_model.maps import METHODS, combination, procrustes, relative, ridge

LINEAR = [name for name, method in METHODS.items() if method.linear]


def pair(source_table, target_table):
    """The same words in a WordPiece and a byte-level vocabulary, the second one shuffled."""
    count = len(source_table)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(5))
    byte_level = words(count, "Ġ")
    return (
        Embedder("a", [*words(count, ""), "##x"], torch.cat([source_table, source_table[:1]])),
        Embedder("b", [byte_level[index] for index in order], target_table[order], family="causal_lm"),
    )


@pytest.mark.parametrize("width", [8, 12, 20])
def test_procrustes_finds_an_orthogonal_image_in_a_space_at_least_as_wide(width):
    source, turn = random_rows(60, 8), orthonormal(8, width)
    found = fit_map(*pair(source, source @ turn), "procrustes", scale="none")
    torch.testing.assert_close(found.tensors["weight"].double(), turn, atol=1e-6, rtol=0)


def test_procrustes_into_a_narrower_space_has_orthonormal_columns():
    weight = procrustes(random_rows(60, 12), random_rows(60, 5, seed=1))["weight"]
    torch.testing.assert_close(weight.T @ weight, torch.eye(5, dtype=torch.float64))


def test_procrustes_into_a_narrower_space_finds_the_subspace_where_all_tokens_lie():
    inside = random_rows(60, 5) @ orthonormal(5, 12)
    found = procrustes(inside, inside @ orthonormal(12, 5, seed=2))["weight"]
    image = inside @ found
    torch.testing.assert_close(image.norm(dim=1), inside.norm(dim=1))


@pytest.mark.parametrize("method", ["least-squares", "ridge"])
@pytest.mark.parametrize("width", [5, 8, 12])
def test_linear_maps_find_any_linear_image(method, width):
    source, weight = random_rows(60, 8), random_rows(8, width, seed=1)
    found = fit_map(*pair(source, source @ weight), method, scale="none")
    prompt = random_rows(4, 8, seed=2)
    torch.testing.assert_close(found.transform(prompt).double(), prompt @ weight, atol=1e-4, rtol=1e-4)


def test_ridge_shrinks_to_nothing_where_there_is_nothing_to_find():
    source, target = random_rows(60, 30), random_rows(60, 10, seed=1)
    unpenalised = torch.linalg.lstsq(source, target).solution
    assert float(ridge(source, target)["weight"].norm()) < 0.05 * float(unpenalised.norm())


@pytest.mark.parametrize("method", ["nearest", "combination"])
def test_a_prompt_of_tokens_becomes_the_same_tokens(method):
    source, target = random_rows(60, 8), random_rows(60, 12, seed=1)
    found = fit_map(*pair(source, target), method, scale="none")
    torch.testing.assert_close(found.transform(source[[3, 7]]).double(), target[[3, 7]], atol=1e-5, rtol=1e-4)


def test_a_sum_of_two_tokens_becomes_the_same_sum():
    source, target = random_rows(60, 40), random_rows(60, 12, seed=1)
    prompt = 2 * source[[3]] - 0.5 * source[[9]]
    found = combination({"source_tokens": source, "target_tokens": target}, prompt)
    torch.testing.assert_close(found, 2 * target[[3]] - 0.5 * target[[9]])


def test_relative_representation_finds_an_orthogonal_image():
    source, turn = random_rows(300, 8), orthonormal(8, 12)
    prompt = random_rows(4, 8, seed=2)
    found = relative({"source_tokens": source, "target_tokens": 3 * source @ turn}, prompt)
    torch.testing.assert_close(found, 3 * prompt @ turn, atol=1e-6, rtol=1e-6)


def test_relative_representation_stops_before_it_fits_noise():
    """Where anchors have nothing in common, running on fits the noise of those that are not held out."""
    source, target = random_rows(60, 40), random_rows(60, 40, seed=1)
    prompt = random_rows(4, 40, seed=2)
    found = relative({"source_tokens": source, "target_tokens": target}, prompt)

    def unit(rows):
        return rows / rows.norm(dim=1, keepdim=True)

    held = torch.arange(60) % 10 == 0
    wanted = unit(source) @ unit(prompt).T
    through = torch.linalg.lstsq(unit(target)[~held], wanted[~held]).solution.T

    def error(rows):
        return float((unit(target)[held] @ unit(rows).T - wanted[held]).square().mean())

    assert error(found) < error(through)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_as_large_beside_the_targets_tokens_as_the_prompt_beside_the_sources(method):
    source, target = random_rows(60, 8), 30 * random_rows(60, 12, seed=1)
    found = fit_map(*pair(source, target), method)
    prompt = 7 * random_rows(5, 8, seed=2)
    ratio = found.transform(prompt).norm() / prompt.norm()
    assert float(ratio) == pytest.approx(float(target.norm() / source.norm()), rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_scale_tokens_gives_every_row_the_norm_of_a_token(method):
    target = 30 * random_rows(60, 12, seed=1)
    found = fit_map(*pair(random_rows(60, 8), target), method, scale="tokens")
    norms = found.transform(random_rows(5, 8, seed=2)).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((5,), found.target_norm))
    assert found.target_norm == pytest.approx(float(target.square().sum(1).mean().sqrt()))


@pytest.mark.parametrize("method", METHODS)
def test_a_map_between_related_spaces_beats_its_controls_on_held_out_tokens(method):
    source = random_rows(400, 8)
    target = source @ orthonormal(8, 12) + 0.1 * random_rows(400, 12, seed=1)
    found = fit_map(*pair(source, target), method)
    own = found.metrics["held_out_tokens"]
    assert own["n"] == 40 and own["above_controls"]["ci95"][0] > 0 and found.warnings == []
    assert own["top1"] > 5 * found.controls["shuffled_pairs"]["top1"]


@pytest.mark.parametrize("method", METHODS)
def test_a_map_between_unrelated_spaces_says_that_it_carries_nothing(method):
    common = 3 * random_rows(1, 12, seed=9)
    found = fit_map(*pair(random_rows(400, 8), common + random_rows(400, 12, seed=1)), method)
    assert any("does not carry held-out tokens over" in warning for warning in found.warnings)


def test_few_tokens_are_said():
    source, target = random_rows(6, 8), random_rows(6, 12, seed=1)
    found = fit_map(*pair(source, target), "least-squares")
    assert any("6 shared tokens do not determine" in warning for warning in found.warnings)
    assert any("not checked" in warning for warning in found.warnings) and found.metrics == {}


def test_the_same_backbone_twice_is_allowed_and_said():
    backbone, _ = pair(random_rows(60, 8), random_rows(60, 8))
    found = fit_map(backbone, backbone, "procrustes")
    assert any("the same backbone" in warning for warning in found.warnings)
    prompt = random_rows(4, 8, seed=2)
    torch.testing.assert_close(found.transform(prompt).double(), prompt, atol=1e-5, rtol=1e-5)


def test_unknown_names_and_vocabularies_without_a_shared_token_are_refused():
    a, b = pair(random_rows(60, 8), random_rows(60, 12))
    with pytest.raises(UserError, match=r"Unknown method 'procrust'\. Did you mean 'procrustes'"):
        fit_map(a, b, "procrust")
    with pytest.raises(UserError, match="Unknown scale 'big'"):
        fit_map(a, b, scale="big")
    other = Embedder("c", ["Ġfilm", "Ġplot"], random_rows(2, 8))
    with pytest.raises(UserError, match="share no token"):
        fit_map(a, other)


def test_max_tokens_takes_the_first_of_the_sources_vocabulary():
    source = random_rows(60, 8)
    found = fit_map(*pair(source, source), "nearest", max_tokens=20)
    assert found.tokens == {"shared": 60, "used": 20}
    torch.testing.assert_close(found.tensors["source_tokens"].double(), source[:20], atol=1e-6, rtol=1e-6)
