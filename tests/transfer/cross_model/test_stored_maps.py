"""A map on disk is the map that was saved, refuses what is not its own, and marks what it makes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.transfer.cross_model.base import CrossModelMap, find_maps
from prompt_hub.transfer.cross_model.fit import fit_map
from prompt_hub.transfer.cross_model.maps import METHODS


def prompt_of(backbone, **known) -> SoftPrompt:
    metadata = PromptMetadata(
        backbone=backbone.identity.to_dict(), task="mini/films", label_words=["bad", "good"]
    )
    rows = torch.randn(5, backbone.hidden, generator=torch.Generator().manual_seed(3))
    return SoftPrompt(rows, replace(metadata, **known), train_rows=torch.tensor([4, 8]))


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_map_does_the_same_and_knows_the_same(method, tiny, tmp_path):
    made = fit_map(tiny("bert"), tiny("gpt2"), method)
    found = CrossModelMap.from_pretrained(made.save_pretrained(tmp_path / "map"))
    prompt = prompt_of(tiny("bert"))
    assert found.to_dict() == made.to_dict() and found.source == tiny("bert").identity
    assert torch.equal(found.apply(prompt).embeddings, made.apply(prompt).embeddings)


def test_a_projected_prompt_fits_the_target_and_remembers_where_it_comes_from(tiny, tmp_path):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    prompt = prompt_of(tiny("bert"), layout="prompt-mask-text", template="{text_a} {mask}")
    made = SoftPrompt.from_pretrained(found.apply(prompt).save_pretrained(tmp_path / "prompt"))
    assert made.check_fits(tiny("gpt2").identity, "prompt-text") == []
    assert made.metadata.task == "mini/films" and made.metadata.template is None
    assert made.train_rows.tolist() == [4, 8]
    parent = made.metadata.parent
    assert (parent["relation"], parent["hash"], parent["map"]) == ("projected", prompt.hash, found.hash)


def test_within_a_family_layout_and_template_stay(tiny):
    prompt = prompt_of(tiny("bert"), layout="paper", template="{text_a} {mask}")
    made = fit_map(tiny("bert"), tiny("roberta")).apply(prompt)
    assert made.metadata.layout == "paper" and made.metadata.template == "{text_a} {mask}"


def test_a_prompt_of_another_backbone_is_refused_with_both_names(tiny):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    with pytest.raises(UserError, match=r"takes prompts of .*bert.*for .*roberta.*Use a prompt of"):
        found.apply(prompt_of(tiny("roberta")))


def test_another_target_is_refused_with_both_names(tiny):
    found = fit_map(tiny("bert"), tiny("gpt2"))
    found.check_target(tiny("gpt2").identity)
    with pytest.raises(UserError, match=r"gives prompts of .*gpt2.*not of .*llama.*embedding hash"):
        found.check_target(tiny("llama").identity)


def test_damaged_and_foreign_folders_are_refused(tiny, tmp_path):
    made = fit_map(tiny("bert"), tiny("gpt2"), "nearest")
    with pytest.raises(UserError, match="no map at"):
        CrossModelMap.from_pretrained(tmp_path)
    folder = made.save_pretrained(tmp_path / "map")
    values = json.loads((folder / "map.json").read_text())

    def refused(match, **changed):
        (folder / "map.json").write_text(json.dumps({**values, **changed}))
        with pytest.raises(UserError, match=match):
            CrossModelMap.from_pretrained(folder)

    refused("schema version 9.*Upgrade", schema_version=9)
    refused("Unknown method 'magic'", method="magic")
    refused("source must hold", source={"name": "bert"})
    refused("hidden is of another type", source={**values["source"], "hidden": "32"})
    refused("scale is missing or of another type", scale=3)
    refused("but .* is there", source_norm=values["source_norm"] * 2)
    refused("must be", target={**values["target"], "hidden": 31})
    refused("procrustes map holds weight", method="procrustes")
    (folder / "map.json").write_text(json.dumps(values))
    (folder / "map.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(UserError, match="is not the file that"):
        CrossModelMap.from_pretrained(folder)


def test_maps_below_a_folder_are_found_and_damaged_ones_named(tiny, tmp_path):
    made = fit_map(tiny("bert"), tiny("gpt2"))
    made.save_pretrained(tmp_path / "good")
    made.save_pretrained(tmp_path / "bad")
    (tmp_path / "bad" / "map.safetensors").write_bytes(b"")
    found = find_maps(tmp_path)
    assert found[tmp_path / "good"].hash == made.hash
    assert "map.safetensors is not the file" in found[tmp_path / "bad"]


def test_a_map_that_could_not_be_read_back_is_not_written(tiny, tmp_path, monkeypatch):
    made = fit_map(tiny("bert"), tiny("gpt2"), "nearest")
    monkeypatch.setattr("prompt_hub.transfer.cross_model.base.MAX_TENSOR_BYTES", made.bytes)
    with pytest.raises(UserError, match="--max-tokens"):
        made.save_pretrained(tmp_path / "map")
    assert not (tmp_path / "map").exists()
