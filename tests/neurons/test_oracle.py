"""Neurons and ON against arrays that the original 1.0 code computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import RobertaForMaskedLM, T5ForConditionalGeneration

from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.backbones.seq2seq_lm import Seq2SeqLM
from prompt_hub.neurons.capture import capture_prompt
from prompt_hub.neurons.overlap import overlap, overlap_by_window

TOLERANCE = 1e-5
PAIRS = ((0, 1), (0, 2), (1, 2), (0, 0))


class RobertaTokens:
    """What the dummy input needs of RoBERTa's tokenizer, which does not come with the reference arrays."""

    mask_token_id = 50264

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [0, 102, 2] if add_special_tokens else [102]}


class T5Tokens:
    unk_token_id = 2

    def convert_tokens_to_ids(self, token):
        return {"<extra_id_0>": 32099}[token]


@pytest.fixture(scope="module")
def oracle(shared):
    return shared / "paper" / "oracle"


@pytest.fixture(scope="module")
def captured(oracle):
    """``[3, 3, 64]`` by name: prompts, layers, neurons, as the original recorded them, and ours."""
    roberta = MaskedLM(
        "roberta", RobertaForMaskedLM.from_pretrained(oracle / "roberta" / "model"), RobertaTokens()
    )
    t5 = Seq2SeqLM("t5", T5ForConditionalGeneration.from_pretrained(oracle / "t5" / "model"), T5Tokens())
    arrays = np.load(oracle / "neurons" / "neurons.npz")
    ours = {}
    # The original reads after GELU in RoBERTa, before ReLU in T5's decoder.
    for name, backbone, value in (("roberta", roberta, "after"), ("t5", t5, "before")):
        prompts = torch.as_tensor(np.load(oracle / name / "oracle.npz")["prompts"])
        ours[name] = np.stack([capture_prompt(backbone, each, layout="paper")[value] for each in prompts])
    return arrays, ours


@pytest.mark.parametrize("name", ["roberta", "t5"])
def test_activations_and_binary_maps_equal_the_original_codes(captured, name):
    arrays, ours = captured
    assert np.abs(ours[name] - arrays[f"{name}_activations"]).max() < TOLERANCE
    assert ((ours[name] > 0) == arrays[f"{name}_binary"].astype(bool)).all()


@pytest.mark.parametrize("name", ["roberta", "t5"])
def test_on_equals_the_original_codes_for_all_layers_and_every_start(oracle, captured, name):
    expected = json.loads((oracle / "neurons" / "on.json").read_text())[f"on_{name}"]
    ours = captured[1][name]
    for title, layers in (
        ("all layers (selector 12)", None),
        ("start 0 (layers 0-2)", slice(0, 3)),
        ("start 1 (layers 1-2, slice runs off the end)", slice(1, 4)),
        ("start 2 (layer 2 only)", 2),
    ):
        found = [overlap(ours[first], ours[second], layers=layers) for first, second in PAIRS]
        assert np.allclose(found, expected[title], atol=1e-6)


@pytest.mark.parametrize("name", ["base12", "large24", "small6"])
def test_on_equals_the_original_codes_in_the_papers_windows(oracle, captured, name):
    expected = json.loads((oracle / "neurons" / "on.json").read_text())[f"on_synthetic_{name}"]
    arrays = captured[0][f"synthetic_{name}_activations"]
    for place, (first, second) in enumerate(PAIRS):
        found = overlap_by_window(arrays[first], arrays[second])
        by_start = {f"start {window.split('-')[0]}": value for window, value in found.items()}
        by_start["all"] = overlap(arrays[first], arrays[second])
        assert by_start.keys() == expected.keys()
        for title, value in by_start.items():
            assert abs(value - expected[title][place]) < 1e-6


def test_a_map_without_active_neurons_overlaps_with_nothing(captured):
    activations = captured[1]["roberta"][0]
    assert overlap(np.full_like(activations, -1), activations) == 0
