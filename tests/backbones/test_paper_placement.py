"""The paper's placement of mask, prompt and positions, against arrays from the original 1.0 code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from paper_oracle import PLACEMENT, TASKS, Oracle, close
from prompt_hub.backbones import Batch, Placement

T5_TASKS = ("SST2", "laptop", "MNLI")


@pytest.fixture(scope="module")
def roberta(shared):
    return Oracle(shared, "roberta")


@pytest.fixture(scope="module")
def t5(shared):
    return Oracle(shared, "t5")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("path", ["label_logits", "reference_label_logits"])
def test_scores_and_losses_of_roberta_equal_the_original_codes(roberta, task, path):
    labels = roberta.arrays[f"labels_{task}"].long()
    for index, prompt in enumerate(roberta.arrays["prompts"]):
        score = getattr(roberta.backbone, path)
        scores = score(prompt, roberta.batch(), roberta.label_ids(task))
        assert close(scores, roberta.arrays[f"scores_{task}"][index])
        assert close(F.cross_entropy(scores, labels), roberta.arrays[f"loss_{task}"][index])
        assert int((scores.argmax(1) == labels).sum()) == roberta.arrays[f"right_{task}"][index]


@pytest.mark.parametrize("task", ["SST2", "MNLI"])
def test_prompt_gradients_of_roberta_equal_the_original_codes(roberta, task):
    prompt = roberta.arrays["prompts"][0].clone().requires_grad_(True)
    scores = roberta.backbone.label_logits(prompt, roberta.batch(), roberta.label_ids(task))
    F.cross_entropy(scores, roberta.arrays[f"labels_{task}"].long()).backward()
    assert close(prompt.grad, roberta.arrays[f"grad_prompt0_{task}"])
    assert prompt.grad[0].abs().max() > 0


def test_row_0_never_reaches_roberta_but_row_1_does(roberta):
    prompt, ids = roberta.arrays["prompts"][0], roberta.label_ids("MNLI")
    before = roberta.backbone.label_logits(prompt, roberta.batch(), ids)
    for row, reaches in ((0, False), (1, True)):
        changed = prompt.clone()
        changed[row] += torch.randn(prompt.shape[1], generator=torch.Generator().manual_seed(row))
        moved = (roberta.backbone.label_logits(changed, roberta.batch(), ids) - before).abs().max().item()
        assert moved > 1e-3 if reaches else moved == 0.0


WRONG_PLACEMENTS = {
    "row 0 not replaced by mask": replace(PLACEMENT, mask_in_prompt_row=False),
    "prompt positions not zeroed": Placement(mask_in_prompt_row=True),
    "logits read at index 100": replace(PLACEMENT, mask_in_prompt_row=False),
}


@pytest.mark.parametrize("mistake", WRONG_PLACEMENTS)
def test_a_wrong_placement_is_told_from_the_papers(roberta, shared, mistake):
    """By more than the least that any of the original's documented mistakes moves a score."""
    variants = json.loads((shared / "paper/oracle/roberta/wrong_variants.json").read_text())
    least = min(values["min_over_inputs"] for values in variants.values())
    expected = roberta.arrays["scores_MNLI"][0]
    batch = replace(roberta.batch(), placement=WRONG_PLACEMENTS[mistake])
    scores = roberta.backbone.label_logits(roberta.arrays["prompts"][0], batch, roberta.label_ids("MNLI"))
    assert (scores - expected).abs().amax(1).min() > least - 0.02 and mistake in variants


def test_text_positions_one_lower_are_told_from_the_papers(roberta, monkeypatch):
    position = roberta.backbone.model.roberta.embeddings.position_embeddings
    rows = position.weight.data.roll(1, 0)
    monkeypatch.setattr(position.weight, "data", rows)
    scores = roberta.backbone.label_logits(
        roberta.arrays["prompts"][0], roberta.batch(), roberta.label_ids("MNLI")
    )
    assert (scores - roberta.arrays["scores_MNLI"][0]).abs().amax(1).min() > 0.14


@pytest.mark.parametrize("task", T5_TASKS)
@pytest.mark.parametrize("path", ["label_logits", "reference_label_logits"])
def test_evaluation_scores_of_t5_equal_the_original_codes(t5, task, path):
    for index, prompt in enumerate(t5.arrays["prompts"]):
        scores = getattr(t5.backbone, path)(prompt, t5.batch(task), t5.label_ids(task))
        assert close(scores, t5.arrays[f"eval_scores_{task}"][index])
        right = (scores.argmax(1) == t5.arrays[f"class_index_{task}"]).sum()
        assert int(right) == t5.arrays[f"eval_right_{task}"][index]


@pytest.mark.parametrize("task", T5_TASKS)
def test_t5_attends_to_padding_in_training_only(t5, task):
    batch = t5.batch(task)
    padded = replace(batch, attention_mask=torch.ones_like(batch.attention_mask))
    for index, prompt in enumerate(t5.arrays["prompts"]):
        scores = t5.backbone.label_logits(prompt, padded, t5.label_ids(task))
        assert close(scores, t5.arrays[f"train_first_step_scores_{task}"][index])
        assert not close(scores, t5.arrays[f"eval_scores_{task}"][index], 0.02)


def test_every_row_of_a_t5_prompt_is_live(t5):
    prompt, ids = t5.arrays["prompts"][0], t5.label_ids("SST2")
    before = t5.backbone.label_logits(prompt, t5.batch("SST2"), ids)
    for row in (0, 1, 99):
        changed = prompt.clone()
        changed[row] += 1
        assert (t5.backbone.label_logits(changed, t5.batch("SST2"), ids) - before).abs().max() > 1e-3


# -- BERT, written out by hand ---------------------------------------------------------------------


def bert_by_hand(model, mask_token: int, prompt, batch: Batch, rows: list[int]) -> torch.Tensor:
    """The forward as the original describes it: embeddings summed here, the rest by the encoder itself."""
    parts = model.bert.embeddings
    texts, prompt_len = batch.input_ids, len(prompt)
    soft = prompt.clone()
    soft[0] = parts.word_embeddings.weight[mask_token]
    scores = []
    for ids, mask in zip(texts, batch.attention_mask, strict=True):
        ids = ids[mask.bool()]
        # [CLS] has position 1; a prompt row has neither a position nor a token type.
        text = parts.word_embeddings.weight[ids] + parts.position_embeddings.weight[1 : len(ids) + 1]
        text = text + parts.token_type_embeddings.weight[0]
        hidden = parts.LayerNorm(torch.cat([soft, text]))[None]
        hidden = model.bert.encoder(hidden)[0]
        scores.append(model.cls(hidden)[0, 0, rows])
    assert prompt_len == len(soft)
    return torch.stack(scores)


def test_berts_placement_equals_a_forward_by_hand(tiny):
    backbone = tiny("bert")
    generator = torch.Generator().manual_seed(0)
    lengths = (5, 11, 8)
    ids = torch.randint(5, len(backbone.tokenizer), (3, 11), generator=generator)
    mask = (torch.arange(11) < torch.tensor(lengths)[:, None]).long()
    batch = Batch(ids * mask, mask, torch.zeros(3, 1, dtype=torch.long), None, PLACEMENT)
    prompt, rows = torch.randn(7, backbone.hidden, generator=generator), [9, 17, 30]
    expected = bert_by_hand(backbone.model, backbone.tokenizer.mask_token_id, prompt, batch, rows)
    for path in (backbone.label_logits, backbone.reference_label_logits):
        assert close(path(prompt, batch, [[row] for row in rows]), expected, 1e-5)
    assert not close(
        backbone.label_logits(prompt, replace(batch, placement=Placement(True)), [[row] for row in rows]),
        expected,
        0.01,
    )


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_without_a_prompt_the_mask_stands_alone_before_the_text(tiny, kind):
    backbone = tiny(kind)
    ids = torch.randint(5, 50, (2, 6), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids, torch.ones_like(ids), torch.zeros(2, 1, dtype=torch.long), None, PLACEMENT)
    one_row = backbone.label_logits(torch.randn(1, backbone.hidden), batch, [[7], [8]])
    assert torch.equal(backbone.label_logits(None, batch, [[7], [8]]), one_row)
