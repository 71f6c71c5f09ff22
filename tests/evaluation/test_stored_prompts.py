"""A stored prompt is used where it belongs, and rows it has seen do not count on other tasks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import evaluate
from prompt_hub.evaluation.stored import evaluate_stored, fitting_encoder
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, Split, task_from_dict
from prompt_hub.tasks.splits import row_hashes
from tiny_models import WORDS


def make_task(name="tone", words=("bad", "good"), template="{mask} {text_a}"):
    return task_from_dict(
        {
            "name": name, "classes": ["zero", "one"],
            "templates": {"masked_lm": template, "causal_lm": "{text_a} sentiment", "seq2seq_lm": "{text_a}"},
            "label_words": {"default": list(words)},
        }
    )  # fmt: skip


def make_rows(count=30, seed=0):
    chooser = random.Random(seed)
    texts = [" ".join(chooser.choices(WORDS, k=9)) for _ in range(count)]
    return [Example(text, None, index % 2) for index, text in enumerate(texts)]


ROWS = make_rows()
SPLIT = Split.of("validation", ROWS, "made up")


def stored(backbone, task="tone", seen=(), layout="prompt-mask-text", seed=0, known=True):
    tensor = 0.7 * torch.randn(4, backbone.hidden, generator=torch.Generator().manual_seed(seed))
    metadata = PromptMetadata(backbone=backbone.identity.to_dict(), layout=layout, task=task)
    hashes = torch.from_numpy(row_hashes(list(seen))) if known else None
    return SoftPrompt(tensor, metadata, hashes)


def test_the_score_is_that_of_its_numbers(tiny):
    backbone, prompt = tiny("roberta"), stored(tiny("roberta"))
    result = evaluate_stored(backbone, prompt, make_task(), SPLIT, seed=4)
    plain = evaluate(Encoder(backbone, make_task(), 4), prompt.embeddings, SPLIT, seed=4)
    assert (result.metrics, result.floors, result.ci95) == (plain.metrics, plain.floors, plain.ci95)


def test_a_prompt_read_back_from_disk_scores_the_same(tiny, tmp_path):
    prompt = stored(tiny("gpt2"), layout="prompt-text")
    prompt.save_pretrained(tmp_path / "p")
    again = SoftPrompt.from_pretrained(tmp_path / "p")
    first, second = (evaluate_stored(tiny("gpt2"), each, make_task(), SPLIT) for each in (prompt, again))
    assert replace(first, seconds=0) == replace(second, seconds=0)


def test_on_another_task_rows_it_was_trained_on_are_removed_and_counted(tiny):
    backbone = tiny("roberta")
    # Seen in other spelling: punctuation and case take no part.
    seen = [Example(f"{ROWS[index].text_a.title()} !", None, 1) for index in (0, 5, 9)]
    result = evaluate_stored(backbone, stored(backbone, "films", seen), make_task(), SPLIT)
    assert result.removed_overlap == 3 and result.n == 27
    assert any(
        "3 rows were left out because the prompt was trained on their text" in w for w in result.warnings
    )
    rest = Split.of("v", [row for index, row in enumerate(ROWS) if index not in (0, 5, 9)], "")
    expected = evaluate(Encoder(backbone, make_task(), 4), stored(backbone).embeddings, rest)
    assert result.metrics == expected.metrics and result.floors["majority"] == expected.floors["majority"]


def test_on_its_own_task_they_stay_and_are_reported(tiny):
    backbone = tiny("roberta")
    result = evaluate_stored(backbone, stored(backbone, "tone", ROWS[:4]), make_task(), SPLIT)
    assert result.removed_overlap == 0 and result.n == 30
    assert "4 of 30 texts were also in the prompt's training data." in result.warnings


def test_without_overlap_nothing_is_said_about_it(tiny):
    backbone = tiny("roberta")
    for task in ("tone", "films"):
        result = evaluate_stored(backbone, stored(backbone, task, make_rows(20, seed=9)), make_task(), SPLIT)
        assert result.n == 30 and not any("train" in warning for warning in result.warnings)


def test_when_every_row_was_seen_the_message_says_so(tiny):
    backbone = tiny("roberta")
    with pytest.raises(UserError, match="no rows are left to evaluate after 30 shared"):
        evaluate_stored(backbone, stored(backbone, "films", ROWS), make_task(), SPLIT)


def test_a_prompt_that_does_not_know_its_rows_says_so(tiny):
    backbone = tiny("roberta")
    result = evaluate_stored(backbone, stored(backbone, known=False), make_task(), SPLIT)
    assert any("overlap was not checked" in warning for warning in result.warnings)


def test_the_split_that_was_passed_is_left_as_it_is(tiny):
    backbone, before = tiny("roberta"), SPLIT.fingerprint
    evaluate_stored(backbone, stored(backbone, "films", ROWS[:4]), make_task(), SPLIT)
    assert len(SPLIT) == 30 and SPLIT.fingerprint == before


def test_template_and_label_words_are_the_targets(tiny):
    backbone = tiny("roberta")
    target = make_task("other", words=("sad", "happy"), template="{text_a} {mask}")
    encoder, _ = fitting_encoder(backbone, stored(backbone), target)
    assert encoder.label_words == ("sad", "happy") and encoder.template == "{text_a} {mask}"


# -- what does not fit -------------------------------------------------------------------------------


def test_another_backbone_of_the_family_is_refused_and_both_are_named(tiny):
    with pytest.raises(UserError) as caught:
        evaluate_stored(tiny("distilbert"), stored(tiny("bert")), make_task(), SPLIT)
    message = str(caught.value)
    assert repr(tiny("bert").name) in message and repr(tiny("distilbert").name) in message
    assert "input embeddings differ" in message and "force" in message


@pytest.mark.parametrize(("source", "target"), [("bert", "gpt2"), ("gpt2", "t5"), ("t5", "roberta")])
def test_a_backbone_of_another_family_is_refused_as_such(tiny, source, target):
    """The layout follows from the family: naming the layout alone sends the user the wrong way."""
    layout = "prompt-mask-text" if source == "bert" else "prompt-text"
    with pytest.raises(UserError) as caught:
        evaluate_stored(tiny(target), stored(tiny(source), layout=layout), make_task(), SPLIT)
    message = str(caught.value)
    assert tiny(source).name in message and tiny(target).name in message


def test_another_layout_is_refused(tiny):
    with pytest.raises(UserError, match="trained with 'paper', asked is 'prompt-mask-text'"):
        evaluate_stored(
            tiny("roberta"), stored(tiny("roberta"), layout="paper"), make_task(), SPLIT,
            layout="prompt-mask-text",
        )  # fmt: skip


def test_an_unknown_layout_is_refused(tiny):
    with pytest.raises(UserError, match="Unknown layout 'nonsense'"):
        evaluate_stored(tiny("roberta"), stored(tiny("roberta")), make_task(), SPLIT, layout="nonsense")


def test_force_turns_backbone_and_layout_into_warnings(tiny):
    result = evaluate_stored(tiny("distilbert"), stored(tiny("bert")), make_task(), SPLIT, force=True)
    assert any("Used although input embeddings differ" in warning for warning in result.warnings)
    paper = stored(tiny("roberta"), layout="paper")
    result = evaluate_stored(
        tiny("roberta"), paper, make_task(), SPLIT, layout="prompt-mask-text", force=True
    )
    assert any("Used although layouts differ" in warning for warning in result.warnings)
    other_family = evaluate_stored(tiny("gpt2"), stored(tiny("bert")), make_task(), SPLIT, force=True)
    assert any("families differ" in warning for warning in other_family.warnings)


@pytest.mark.parametrize("force", [False, True])
def test_a_prompt_of_the_papers_layout_is_used_under_it(tiny, force):
    paper = stored(tiny("roberta"), layout="paper")
    result = evaluate_stored(tiny("roberta"), paper, make_task(), SPLIT, force=force)
    assert result.layout == "paper" and result.n == len(SPLIT)


@pytest.mark.parametrize("force", [False, True])
def test_another_width_is_refused_with_and_without_force(tiny, force):
    identity = replace(tiny("roberta").identity, hidden=16)
    prompt = SoftPrompt(
        torch.randn(4, 16), PromptMetadata(backbone=identity.to_dict(), layout="prompt-mask-text")
    )
    with pytest.raises(UserError, match="width 16 cannot enter a model of width 32"):
        evaluate_stored(tiny("roberta"), prompt, make_task(), SPLIT, force=force)


def test_a_prompt_of_unknown_origin_is_used_with_warnings(tiny):
    result = evaluate_stored(
        tiny("roberta"), SoftPrompt(torch.randn(4, 32), PromptMetadata()), make_task(), SPLIT
    )
    text = " ".join(result.warnings)
    assert "Unverified" in text and "does not say which layout" in text and "overlap was not checked" in text


def test_warnings_of_one_evaluation_do_not_reach_the_next(tiny):
    backbone = tiny("roberta")
    evaluate_stored(backbone, stored(backbone, "films", ROWS[:4]), make_task(), SPLIT)
    result = evaluate_stored(backbone, stored(backbone), make_task(), SPLIT)
    assert not any("left out" in warning for warning in result.warnings)
