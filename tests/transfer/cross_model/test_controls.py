"""A projected prompt's score stands beside its controls, on the same rows, and they decide the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split
from prompt_hub.tasks.splits import row_hashes
from prompt_hub.transfer.cross_model.beside import Line
from prompt_hub.transfer.cross_model.controls import evaluate_projected
from prompt_hub.transfer.cross_model.fit import fit_map


@pytest.fixture(scope="module")
def film():
    return get_task("mini/film"), load_split(get_task("mini/film"), "validation", limit=40, seed=1)


def prompt_of(backbone, seed, **known) -> SoftPrompt:
    rows = torch.randn(5, backbone.hidden, generator=torch.Generator().manual_seed(seed))
    metadata = PromptMetadata(backbone=backbone.identity.to_dict(), task="mini/hotel")
    return SoftPrompt(rows, replace(metadata, **known), train_rows=torch.tensor([], dtype=torch.int64))


def by_name(result):
    return {line.name: line for line in result.controls}


def test_every_control_is_there_and_the_projected_score_is_that_of_the_image(tiny, film):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    prompt, other = prompt_of(tiny("bert"), 1), prompt_of(tiny("bert"), 2)
    own = found.apply(other)
    result = evaluate_projected(found, prompt, tiny("gpt2"), *film, others={"news": other}, own=own)
    image = evaluate_stored(tiny("gpt2"), found.apply(prompt), *film)
    assert (
        result.evaluation.metrics == image.metrics and result.majority == image.floors["majority"]["accuracy"]
    )
    lines = by_name(result)
    assert {name: line.same_map for name, line in lines.items()} == {
        "news, projected": True, "gaussian source, projected": True, "shuffled source, projected": True,
        "random prompt": False, "no prompt": False, "target's own prompt": False,
    }  # fmt: skip
    assert lines["no prompt"].score == image.floors["no_prompt"]["accuracy"]
    # The same prompt by two ways is the same line.
    assert lines["target's own prompt"].score == lines["news, projected"].score
    for line in result.controls:
        assert line.gain == pytest.approx(result.evaluation.score - line.score)
        assert line.gain_ci95[0] <= line.gain <= line.gain_ci95[1]


def test_a_map_that_gives_one_prompt_for_every_input_is_named(tiny, film):
    made = fit_map(tiny("bert"), tiny("gpt2"), "nearest", scale="tokens")
    first = {name: tensor[:1] for name, tensor in made.tensors.items()}
    result = evaluate_projected(replace(made, tensors=first), prompt_of(tiny("bert"), 1), tiny("gpt2"), *film)
    lines = by_name(result)
    assert lines["gaussian source, projected"].gain == 0 and lines["shuffled source, projected"].gain == 0
    assert "ignores its input" in result.verdict() and not result.to_dict()["source_matters"]


def test_the_source_matters_only_above_every_other_image_by_the_interval(tiny, film):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    result = evaluate_projected(found, prompt_of(tiny("bert"), 1), tiny("gpt2"), *film)
    above = Line("a", True, 0.5, (0.4, 0.6), 0.2, (0.1, 0.3))
    unsure = replace(above, name="b", gain_ci95=(0.0, 0.4))
    own = replace(unsure, name="own", same_map=False)
    assert replace(result, controls=[above, own]).verdict().startswith("The source matters")
    assert "b does as well" in replace(result, controls=[above, unsure]).verdict()


def test_rows_that_any_of_the_prompts_was_trained_on_are_left_out_for_all(tiny, film):
    task, split = film
    hashes = torch.as_tensor(row_hashes(split.examples))
    prompt, other = prompt_of(tiny("bert"), 1), prompt_of(tiny("bert"), 2)
    prompt.train_rows, other.train_rows = hashes[:3].clone(), hashes[2:6].clone()
    found = fit_map(tiny("bert"), tiny("gpt2"))
    result = evaluate_projected(found, prompt, tiny("gpt2"), task, split, others={"news": other})
    assert result.removed == 6 and result.evaluation.n == 34


def test_backbones_and_prompts_that_are_not_the_maps_are_refused(tiny, film):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    prompt = prompt_of(tiny("bert"), 1)
    with pytest.raises(UserError, match="gives prompts of"):
        evaluate_projected(found, prompt, tiny("llama"), *film)
    with pytest.raises(UserError, match="takes prompts of"):
        evaluate_projected(found, prompt_of(tiny("gpt2"), 1), tiny("gpt2"), *film)
    with pytest.raises(UserError, match="do not fit"):
        evaluate_projected(found, prompt, tiny("gpt2"), *film, own=prompt_of(tiny("llama"), 1))


def test_what_training_began_with_is_a_control_where_it_is_stored(tiny, film):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    prompt = prompt_of(tiny("bert"), 1)
    prompt.initial = prompt.embeddings.clone()
    result = evaluate_projected(found, prompt, tiny("gpt2"), *film)
    start = by_name(result)["untrained start, projected"]
    assert start.gain == 0 and not start.same_map
    above = Line("a", True, 0.5, (0.4, 0.6), 0.2, (0.1, 0.3))
    assert "untrained start does as well" in replace(result, controls=[above, start]).verdict()


def test_in_another_length_all_images_are_brought_to_it(tiny, film):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    prompt, other = prompt_of(tiny("bert"), 1), prompt_of(tiny("bert"), 2)
    prompt.initial = other.embeddings.clone()
    result = evaluate_projected(found, prompt, tiny("gpt2"), *film, others={"news": other}, target_length=2)
    for given, score in (
        (prompt, result.evaluation.score),
        (other, by_name(result)["news, projected"].score),
    ):
        image = found.apply(given)
        short = replace(image, embeddings=image.embeddings[[1, 3]])
        assert score == evaluate_stored(tiny("gpt2"), short, *film).score
    assert by_name(result)["untrained start, projected"].score == by_name(result)["news, projected"].score
    with pytest.raises(UserError, match="at least one row, not 0"):
        evaluate_projected(found, prompt, tiny("gpt2"), *film, target_length=0)
