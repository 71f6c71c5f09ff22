"""Every fast path gives the numbers of the plain Hugging Face forward, and their gradients."""

from __future__ import annotations

import pytest
import torch

from prompt_hub.backbones import Batch
from prompt_hub.backbones.base import gather_rows
from prompt_hub.errors import UserError
from tiny_models import CAUSAL, KINDS, MASKED, SEQ2SEQ

LENGTHS = (3, 11, 7, 1)
ONE_PIECE = [[9], [17], [23]]
SEVERAL_PIECES = [[9], [17, 30, 12], [23, 8]]


def make_batch(backbone, lengths=LENGTHS, seed=0) -> Batch:
    """Rows of odd lengths, padded on the right; the mask (or the read position) is not at a fixed place."""
    generator = torch.Generator().manual_seed(seed)
    size = max(lengths)
    ids = torch.randint(6, backbone.embedding_matrix.shape[0], (len(lengths), size), generator=generator)
    mask = torch.zeros(len(lengths), size, dtype=torch.long)
    read = torch.zeros(len(lengths), 1, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
        read[row] = length - 1 if backbone.family == "causal_lm" else row % length
    if backbone.family == "masked_lm":
        ids.scatter_(1, read, backbone.tokenizer.mask_token_id)
    return Batch(ids * mask, mask, read)


def make_prompt(backbone, length=5, seed=1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(length, backbone.hidden, generator=generator)


def assert_close(value, reference, relative=1e-5):
    scale = reference.abs().max().clamp(min=1e-6)
    assert ((value - reference).abs().max() / scale).item() <= relative


@pytest.mark.parametrize("label_ids", [ONE_PIECE, SEVERAL_PIECES], ids=["one-piece", "several-pieces"])
@pytest.mark.parametrize("kind", KINDS)
def test_label_logits_and_prompt_gradient_equal_the_plain_forward(tiny, kind, label_ids):
    backbone = tiny(kind)
    batch = make_batch(backbone)
    results = []
    for path in (backbone.label_logits, backbone.reference_label_logits):
        prompt = make_prompt(backbone).requires_grad_(True)
        logits = path(prompt, batch, label_ids)
        assert logits.shape == (len(LENGTHS), len(label_ids)) and logits.dtype == torch.float32
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 1])).backward()
        results.append((logits.detach(), prompt.grad))
    assert_close(results[0][0], results[1][0])
    assert_close(results[0][1], results[1][1])
    assert results[1][1].abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_label_logits_are_those_of_a_forward_written_out_by_hand(tiny, kind):
    """One row at a time, no padding, no shared code: prompt and text concatenated, the whole head."""
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    fast = backbone.label_logits(prompt, batch, ONE_PIECE)
    embed = backbone.model.get_input_embeddings()
    for row, length in enumerate(LENGTHS):
        text = embed(batch.input_ids[row : row + 1, :length])
        inputs = torch.cat([prompt[None], text], 1)
        if backbone.family == "seq2seq_lm":
            start = [backbone.config.decoder_start_token_id]
            if kind == "bart":
                start.append(backbone.config.bos_token_id)
            logits = backbone.model(inputs_embeds=inputs, decoder_input_ids=torch.tensor([start])).logits[
                0, -1
            ]
        else:
            logits = backbone.model(inputs_embeds=inputs).logits[
                0, len(prompt) + batch.read_positions[row, 0]
            ]
        assert_close(fast[row], logits[[9, 17, 23]], 2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_content_and_batch_mates_do_not_matter(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    together = backbone.label_logits(prompt, batch, ONE_PIECE)
    noisy = Batch(
        torch.where(batch.attention_mask == 0, 11, batch.input_ids),
        batch.attention_mask,
        batch.read_positions,
    )
    assert_close(backbone.label_logits(prompt, noisy, ONE_PIECE), together)
    for row, length in enumerate(LENGTHS):
        alone = Batch(
            batch.input_ids[row : row + 1, :length],
            batch.attention_mask[row : row + 1, :length],
            batch.read_positions[row : row + 1],
        )
        assert_close(backbone.label_logits(prompt, alone, ONE_PIECE)[0], together[row])


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_prompt_the_backbone_is_the_plain_model(tiny, kind):
    backbone = tiny(kind)
    batch = make_batch(backbone)
    fast = backbone.label_logits(None, batch, ONE_PIECE)
    assert_close(fast, backbone.reference_label_logits(None, batch, ONE_PIECE))
    if backbone.family != "seq2seq_lm":
        plain = backbone.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        assert_close(fast, gather_rows(plain, batch.read_positions)[:, 0][:, [9, 17, 23]], 2e-5)


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_a_word_of_several_pieces_is_scored_as_a_sequence(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    scores = backbone.label_logits(prompt, batch, SEVERAL_PIECES)
    embed = backbone.model.get_input_embeddings()
    row, length = 1, LENGTHS[1]
    word = SEVERAL_PIECES[1]
    expected = 0.0
    for index, piece in enumerate(word):
        known = torch.tensor([word[:index]], dtype=torch.long)
        text = batch.input_ids[row : row + 1, :length]
        if backbone.family == "causal_lm":
            inputs = torch.cat([prompt[None], embed(torch.cat([text, known], 1))], 1)
            logits = backbone.model(inputs_embeds=inputs).logits[0, -1]
        else:
            start = [backbone.config.decoder_start_token_id] + ([0] if kind == "bart" else [])
            logits = backbone.model(
                inputs_embeds=torch.cat([prompt[None], embed(text)], 1),
                decoder_input_ids=torch.cat([torch.tensor([start]), known], 1),
            ).logits[0, -1]
        expected += logits.log_softmax(-1)[piece]
    assert_close(scores[row, 1], torch.as_tensor(expected), 2e-5)


@pytest.mark.parametrize("kind", MASKED)
def test_a_masked_word_of_two_pieces_is_read_at_two_masks(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    scores = backbone.label_logits(prompt, batch, [[9], [17, 30]])
    row, length, at = 1, LENGTHS[1], int(batch.read_positions[1, 0])
    ids = batch.input_ids[row, :length].tolist()
    ids.insert(at, backbone.tokenizer.mask_token_id)
    inputs = torch.cat([prompt[None], backbone.embed(torch.tensor([ids]))], 1)
    log_probs = backbone.model(inputs_embeds=inputs).logits[0].log_softmax(-1)
    expected = log_probs[len(prompt) + at, 17] + log_probs[len(prompt) + at + 1, 30]
    assert_close(scores[row, 1], expected, 2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    before = backbone.reference_label_logits(prompt, batch, ONE_PIECE)
    backbone.label_logits(prompt, batch, ONE_PIECE)
    with pytest.raises(IndexError), backbone.narrowed(None, torch.tensor([10**9])):
        pass
    head = backbone.model.get_output_embeddings()
    assert "forward" not in head.__dict__
    assert not any(module._forward_hooks for module in backbone.model.modules())
    assert torch.equal(before, backbone.reference_label_logits(prompt, batch, ONE_PIECE))
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert not backbone.model.training


def target_batch(backbone) -> Batch:
    """Text with a target of 3, 1 and 2 tokens."""
    targets, lengths = ([12, 30, 2], [40], [9, 2]), (4, 6, 2)
    labels = torch.full((3, 3), -100)
    for row, target in enumerate(targets):
        labels[row, : len(target)] = torch.tensor(target)
    batch = make_batch(backbone, lengths)
    if backbone.family == "seq2seq_lm":
        return Batch(batch.input_ids, batch.attention_mask, None, labels)
    width = max(n + len(t) - 1 for n, t in zip(lengths, targets, strict=True))
    ids, mask = torch.zeros(3, width, dtype=torch.long), torch.zeros(3, width, dtype=torch.long)
    read = torch.zeros(3, 3, dtype=torch.long)
    for row, (length, target) in enumerate(zip(lengths, targets, strict=True)):
        ids[row, :length] = batch.input_ids[row, :length]
        ids[row, length : length + len(target) - 1] = torch.tensor(target[:-1])
        mask[row, : length + len(target) - 1] = 1
        read[row] = torch.arange(length - 1, length + 2).clamp(max=width - 1)
    return Batch(ids, mask, read, labels)


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_target_loss_is_the_mean_over_examples_of_token_losses(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = target_batch(backbone), make_prompt(backbone)
    embed = backbone.model.get_input_embeddings()
    losses = []
    for row in range(3):
        target = batch.labels[row][batch.labels[row] != -100]
        length = int(batch.attention_mask[row].sum())
        inputs = torch.cat([prompt[None], embed(batch.input_ids[row : row + 1, :length])], 1)
        if backbone.family == "causal_lm":
            logits = backbone.model(inputs_embeds=inputs).logits[0, -len(target) :]
        else:
            logits = backbone.model(inputs_embeds=inputs, labels=target[None]).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits, target))
    assert_close(backbone.target_loss(prompt, batch), torch.stack(losses).mean(), 2e-5)


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_generation_in_a_padded_batch_equals_generation_alone(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    together = backbone.generate(prompt, batch, 6)
    for row, length in enumerate(LENGTHS):
        alone = Batch(batch.input_ids[row : row + 1, :length], batch.attention_mask[row : row + 1, :length])
        assert backbone.generate(prompt, alone, 6)[0] == together[row]


@pytest.mark.parametrize("kind", CAUSAL)
def test_greedy_generation_follows_the_plain_forward(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    ids = batch.input_ids[1:2, : LENGTHS[1]]
    expected: list[int] = []
    for _ in range(5):
        inputs = torch.cat([prompt[None], backbone.embed(ids)], 1)
        token = int(backbone.model(inputs_embeds=inputs).logits[0, -1].argmax())
        if token == backbone.tokenizer.eos_token_id:
            break
        expected.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    assert backbone.generate(prompt, batch, 5)[1] == expected


@pytest.mark.parametrize("kind", MASKED)
def test_a_masked_model_says_that_it_cannot_generate(tiny, kind):
    with pytest.raises(UserError, match="cannot generate text"):
        tiny(kind).generate(None, make_batch(tiny(kind)), 4)


def test_a_prompt_of_the_wrong_width_is_refused(tiny):
    with pytest.raises(UserError, match=r"needs \[P, 32\]"):
        tiny("gpt2").label_logits(torch.zeros(5, 16), make_batch(tiny("gpt2")), ONE_PIECE)
