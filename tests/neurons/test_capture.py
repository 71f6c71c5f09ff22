"""The recorded neurons are those of forwards written out by hand, at the position that is read."""

from __future__ import annotations

import pytest
import torch

from by_hand import forward
from prompt_hub.backbones import Batch
from prompt_hub.backbones.ffn import find_sites
from prompt_hub.errors import UserError
from prompt_hub.neurons.capture import (
    VALUES,
    capture_prompt,
    dummy_batch,
    input_positions,
    plain_forward,
    recording,
    sites_for,
)
from tiny_models import CAUSAL, KINDS, MASKED, SEQ2SEQ

TEXTS = [[9, 17, 30, 12], [40, 7]]


def make_prompt(backbone, length=4, seed=1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(length, backbone.hidden, generator=generator)


def padded_batch(backbone) -> Batch:
    ids, mask = torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.long)
    for row, text in enumerate(TEXTS):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    last = mask.sum(1, keepdim=True) - 1
    return Batch(ids, mask, last if backbone.family == "causal_lm" else torch.ones_like(last))


def close(found, expected) -> bool:
    return torch.allclose(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_values_are_those_of_a_forward_written_out_by_hand(tiny, kind):
    backbone = tiny(kind)
    prompt, batch = make_prompt(backbone), padded_batch(backbone)
    for stack in sorted({site.stack for site in find_sites(backbone)}):
        sites = sites_for(backbone, stack=stack)
        in_encoder_of_two = backbone.family == "seq2seq_lm" and stack == "encoder"
        positions = [0, 5] if in_encoder_of_two else "read"
        where = input_positions(backbone, sites, batch, len(prompt), positions)
        with recording(sites, where, VALUES) as recorded:
            plain_forward(backbone, prompt, batch)
        for row, text in enumerate(TEXTS):
            embedded = backbone.embed(torch.tensor(text))
            layers = forward(kind, backbone.model, torch.cat([prompt, embedded]))
            if backbone.family == "seq2seq_lm":
                layers = layers[:2] if stack == "encoder" else layers[2:]
            for layer, by_hand in enumerate(layers):
                for value, expected in zip(VALUES, by_hand, strict=True):
                    at = where[row] % len(expected)
                    assert close(recorded[value][row, :, layer], expected[at]), (stack, layer, value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_alone_gives_layers_by_neurons_at_the_position_that_is_read(tiny, kind):
    backbone = tiny(kind)
    prompt = make_prompt(backbone)
    found = capture_prompt(backbone, prompt)
    ids = dummy_batch(backbone).input_ids[0]
    embedded = torch.cat([prompt, backbone.embed(ids)])
    by_hand = forward(kind, backbone.model, embedded)
    by_hand = by_hand[2:] if backbone.family == "seq2seq_lm" else by_hand
    assert found.after.shape == (2, 128 if kind == "gpt2" else 64) and found.after.dtype == torch.float32
    for layer, (before, gate, after) in enumerate(by_hand):
        for value, expected in (("before", before), ("gate", gate), ("after", after)):
            assert close(found[value][layer], expected[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_dummy_input_is_the_papers(tiny, kind):
    """The mask (masked LM), nothing but the prompt (causal), one sentinel (sequence to sequence)."""
    backbone = tiny(kind)
    batch, tokenizer = dummy_batch(backbone), backbone.tokenizer
    ids = batch.input_ids[0].tolist()
    where = input_positions(backbone, sites_for(backbone), batch, 4, "read")
    if kind in MASKED:
        assert ids == [tokenizer.cls_token_id, tokenizer.mask_token_id] and where.tolist() == [[5]]
    elif kind in CAUSAL:
        assert ids == [] and where.tolist() == [[3]]
    else:
        other = tokenizer.mask_token_id if kind == "bart" else tokenizer.eos_token_id
        assert ids == [other] and where.tolist() == [[-1]]


@pytest.mark.parametrize("kind", KINDS)
def test_no_hook_survives_a_recording_also_one_that_raised(tiny, kind):
    backbone = tiny(kind)
    prompt, batch = make_prompt(backbone), padded_batch(backbone)
    before = backbone.label_logits(prompt, batch, [[9], [17]])
    sites = sites_for(backbone)
    where = input_positions(backbone, sites, batch, len(prompt), "read")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), recording(sites, where, VALUES):
            plain_forward(backbone, prompt, batch)
            raise error
    capture_prompt(backbone, prompt)
    assert torch.equal(backbone.label_logits(prompt, batch, [[9], [17]]), before)
    hooked = [
        name
        for name, module in backbone.model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    ]
    assert not hooked


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_recording_leaves_the_outputs_as_they_are(tiny, kind):
    backbone = tiny(kind)
    prompt, batch = make_prompt(backbone), padded_batch(backbone)
    before = backbone.reference_label_logits(prompt, batch, [[9], [17]])
    fast = backbone.label_logits(prompt, batch, [[9], [17]])
    sites = sites_for(backbone)
    with recording(sites, torch.zeros(2, 1, dtype=torch.long), VALUES):
        during = backbone.reference_label_logits(prompt, batch, [[9], [17]])
        # A packed forward steps aside for hooks that look at rows, which moves the last bits.
        without_packing = backbone.label_logits(prompt, batch, [[9], [17]])
    assert torch.equal(during, before)
    torch.testing.assert_close(without_packing, fast, rtol=1e-5, atol=1e-6)


def test_prompt_positions_are_averaged(tiny):
    backbone = tiny("bert")
    prompt = make_prompt(backbone)
    ids = dummy_batch(backbone).input_ids[0]
    by_hand = forward("bert", backbone.model, torch.cat([prompt, backbone.embed(ids)]))
    found = capture_prompt(backbone, prompt, positions="prompt")
    assert close(found.after[1], by_hand[1][2][:4].mean(0))
    assert close(capture_prompt(backbone, prompt, positions=[2]).after[1], by_hand[1][2][2])
    assert close(capture_prompt(backbone, prompt, positions=[-1]).after[1], by_hand[1][2][-1])


def test_a_position_from_the_end_counts_from_the_rows_own_end(tiny):
    backbone = tiny("gpt2")
    where = input_positions(backbone, sites_for(backbone), padded_batch(backbone), 4, [-1, 0])
    assert where.tolist() == [[7, 0], [5, 0]]


def test_prompt_positions_stand_in_the_encoder(tiny):
    assert {site.stack for site in sites_for(tiny("t5"), "prompt")} == {"encoder"}
    assert {site.stack for site in sites_for(tiny("t5"), "read")} == {"decoder"}


@pytest.mark.parametrize(
    ("kind", "stack", "positions", "says"),
    [
        ("bert", None, [6], "no position 6: the shortest input has 6"),
        ("bert", None, [-7], "no position -7"),
        ("bert", None, [], "positions is empty"),
        ("bert", None, "mask", "Unknown positions 'mask'"),
        ("bert", "decoder", "read", "no decoder with feed-forward layers"),
        ("bert", "middle", "read", "Unknown stack 'middle'"),
        ("t5", "encoder", "read", "No label is read in the encoder"),
        ("t5", "decoder", "prompt", "The prompt stands in the encoder"),
        ("t5", "decoder", [1], "no position 1: the shortest input has 1"),
    ],
)
def test_a_position_that_is_not_there_is_refused(tiny, kind, stack, positions, says):
    backbone = tiny(kind)
    with pytest.raises(UserError, match=says):
        capture_prompt(
            backbone, make_prompt(backbone), positions=positions, sites=sites_for(backbone, positions, stack)
        )


def test_a_layout_that_the_model_cannot_place_is_refused(tiny):
    with pytest.raises(UserError, match="'paper' is for BERT, RoBERTa, T5"):
        capture_prompt(tiny("bart"), make_prompt(tiny("bart")), layout="paper")


def test_a_value_that_was_not_captured_is_refused_by_name(tiny):
    found = capture_prompt(tiny("bert"), make_prompt(tiny("bert")), values=("after",))
    with pytest.raises(UserError, match="Unknown captured value 'before'"):
        found["before"]


def test_reading_a_recording_before_a_forward_is_refused(tiny):
    with (
        recording(sites_for(tiny("bert")), torch.zeros(1, 1, dtype=torch.long)) as recorded,
        pytest.raises(UserError, match="run the backbone"),
    ):
        recorded["after"]


assert set(SEQ2SEQ) | set(CAUSAL) | set(MASKED) == set(KINDS)
