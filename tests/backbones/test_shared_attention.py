"""Attention over a shared prompt and packed texts, against a softmax written out row by row."""

from __future__ import annotations

import pytest
import torch

from prompt_hub.backbones.packing import Packing
from prompt_hub.backbones.shared_attention import (
    _joined,
    _repeated,
    prompt_attention,
    read_attention,
    text_attention,
)

WIDTH, PROMPT, SCALE = 8, 5, 0.3


def mask_of(lengths) -> torch.Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


def by_hand(lengths, query, key, value, prompt_key=None, prompt_value=None):
    """One row, one head, one query at a time: softmax over prompt and text so far."""
    if prompt_key is None:
        prompt_key, prompt_value = key[:0], value[:0]
    groups = query.shape[1] // key.shape[1]
    rows, start = [], 0
    for length in lengths:
        for place in range(start, start + length):
            heads = []
            for head in range(query.shape[1]):
                keys = torch.cat([prompt_key, key[start : place + 1]])[:, head // groups]
                values = torch.cat([prompt_value, value[start : place + 1]])[:, head // groups]
                weights = torch.exp(SCALE * keys @ query[place, head])
                heads.append(weights @ values / weights.sum())
            rows.append(torch.stack(heads))
        start += length
    return torch.stack(rows)


def packed(lengths, *parts):
    return text_attention(*parts[:3], *(parts[3:] or (None, None)), Packing.of(mask_of(lengths)), SCALE)


def joined(lengths, *parts):
    groups = parts[0].shape[1] // parts[1].shape[1]
    repeated = [_repeated(part, groups) for part in parts[1:]]
    return _joined(
        parts[0], *repeated[:2], *(repeated[2:] or (None, None)), Packing.of(mask_of(lengths)), SCALE
    )


def where_read(lengths, *parts):
    packing = Packing.of(mask_of(lengths))
    positions = torch.arange(packing.width).expand(packing.rows, -1)
    allowed = torch.arange(packing.width) <= positions[..., None]
    padded = [packing.pad(part) for part in parts[:3]]
    return packing.pack(read_attention(*padded, *(parts[3:] or (None, None)), allowed, SCALE))


@pytest.mark.parametrize("way", [packed, joined, where_read])
@pytest.mark.parametrize("with_prompt", [True, False])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2)], ids=["own keys", "shared keys"])
@pytest.mark.parametrize("lengths", [(3, 7, 1, 5), (4, 4), (6,), (1,)], ids=str)
def test_every_way_gives_the_softmax_over_prompt_and_own_text(lengths, heads, with_prompt, way):
    generator = torch.Generator().manual_seed(0)
    count, shapes = sum(lengths), [heads[0], heads[1], heads[1]]
    parts = [torch.randn(count, head, WIDTH, generator=generator) for head in shapes]
    if with_prompt:
        parts += [torch.randn(PROMPT, heads[1], WIDTH, generator=generator) for _ in range(2)]
    weights = torch.randn(count, heads[0], WIDTH, generator=generator)
    results = []
    for attend in (way, by_hand):
        inputs = [part.clone().requires_grad_() for part in parts]
        mixed = attend(lengths, *inputs)
        (mixed * weights).sum().backward()
        results.append([mixed.detach(), *(part.grad for part in inputs)])
    for value, expected in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=2e-6)


def test_texts_that_need_no_gradient_still_carry_the_prompts():
    lengths = (3, 2)
    parts = [torch.randn(5, 2, WIDTH) for _ in range(3)]
    gradients = []
    for attend in (packed, by_hand):
        prompt = [torch.full((PROMPT, 2, WIDTH), 0.1 * place, requires_grad=True) for place in (1, 2)]
        attend(lengths, *parts, *prompt).square().sum().backward()
        gradients.append([part.grad for part in prompt])
    for value, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_a_prompt_attends_to_itself_causally():
    parts = [torch.randn(PROMPT, heads, WIDTH) for heads in (6, 2, 2)]
    expected = by_hand((PROMPT,), *parts)
    torch.testing.assert_close(prompt_attention(*parts, SCALE), expected, rtol=1e-5, atol=1e-6)


def test_packing_leaves_out_padding_and_puts_it_back():
    packing = Packing.of(mask_of((2, 4, 1)))
    ids = torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6], [7, 0, 0, 0]])
    assert packing.pack(ids).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (packing.pad(packing.pack(ids)) * packing.real).tolist() == ids.tolist()
    assert packing.positions().tolist() == [0, 1, 0, 1, 2, 3, 0]
    assert packing.places(torch.tensor([[1], [0], [3]])).tolist() == [[1], [2], [6]]
    assert not packing.is_full and Packing.of(mask_of((3, 3))).is_full


def test_on_another_device_than_a_cpu_the_padding_stays():
    packing = Packing.of(mask_of((2, 4, 1)).to("meta"))
    assert packing.is_full and packing.tokens == 12
    assert packing.places(torch.empty(3, 1, dtype=torch.long, device="meta")).shape == (3, 1)
