"""A stored prompt is distilled into one of another backbone that remembers it, and is judged by controls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_distillation import sealed, settings

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split
from prompt_hub.tasks.splits import row_hashes
from prompt_hub.transfer.cross_model.beside import Line
from prompt_hub.transfer.cross_model.distillation import distil, source_scores
from prompt_hub.transfer.cross_model.distilled import Distillation, evaluate_distilled

TASK = get_task("mini/film").with_overrides(label_words=["bad", "good"])


def prompt_of(backbone, seed, **known) -> SoftPrompt:
    values = torch.randn(5, backbone.hidden, generator=torch.Generator().manual_seed(seed))
    metadata = PromptMetadata(backbone=backbone.identity.to_dict(), task="mini/film")
    return SoftPrompt(values, replace(metadata, **known), train_rows=torch.tensor([7]))


@pytest.fixture(scope="module")
def texts():
    return load_split(TASK, "train", limit=20, seed=1)


def prepared(tiny, texts, source="bert", target="gpt2", **changes) -> Distillation:
    given = {"settings": settings(steps=4), **changes}
    prompt = given.pop("prompt", None) or prompt_of(tiny(source), 1)
    return Distillation.prepare(prompt, tiny(source), tiny(target), TASK, texts, **given)


def test_the_new_prompt_fits_the_target_and_remembers_where_it_comes_from(tiny, texts, tmp_path):
    distillation = prepared(tiny, texts)
    made, found = distillation.run()
    stored = SoftPrompt.from_pretrained(made.save_pretrained(tmp_path / "prompt"))
    assert stored.check_fits(tiny("gpt2").identity, "prompt-text") == []
    parent = stored.metadata.parent
    assert (parent["relation"], parent["hash"]) == ("distilled", distillation.prompt.hash)
    assert set(stored.train_rows.tolist()) == {7, *row_hashes(texts.examples).tolist()}
    assert torch.equal(stored.initial, distillation.initial)
    assert stored.metadata.metrics["held-out texts"]["divergence"] == pytest.approx(found.divergence)
    assert stored.metadata.data["n"] == 20


def test_labels_are_not_read_and_do_not_change_the_prompt(tiny, texts):
    flipped = [replace(one, label=1 - one.label) for one in texts.examples]
    made = [
        prepared(tiny, each).run()[0].hash
        for each in (texts, sealed(texts), replace(texts, examples=flipped))
    ]
    assert len(set(made)) == 1


def test_another_length_layout_and_start_are_kept(tiny, texts, tmp_path):
    made, _ = prepared(tiny, texts, prompt_len=3, init="vocab").run()
    assert made.prompt_len == 3 and made.metadata.hyperparameters["init"] == "vocab"
    start = made.save_pretrained(tmp_path / "start")
    again = prepared(tiny, texts, prompt_len=3, init=f"prompt:{start}")
    assert torch.equal(again.initial, made.embeddings)
    paper = prompt_of(tiny("bert"), 1, layout="paper")
    within = prepared(tiny, texts, target="roberta", prompt=paper, settings=settings(steps=1))
    assert within.target.layout.name == "paper" and within.run()[0].metadata.layout == "paper"


def test_every_control_is_made_in_the_same_way_and_scored_on_the_same_rows(tiny, texts):
    distillation = prepared(tiny, texts)
    made, _ = distillation.run()
    split = load_split(TASK, "validation", limit=30, seed=1)
    other = prompt_of(tiny("bert"), 2, task="mini/hotel")
    own = prompt_of(tiny("gpt2"), 3)
    result = evaluate_distilled(distillation, made, split, others={"hotel": other}, own=own)
    lines = {line.name: line for line in result.controls}
    assert {name: line.same_map for name, line in lines.items()} == {
        "hotel, distilled": True, "gaussian source, distilled": True,
        "source without its prompt, distilled": True, "source with labels shuffled, distilled": True,
        "untrained start": False, "random prompt": False, "no prompt": False,
        "the source on its own backbone": False, "target's own prompt": False,
    }  # fmt: skip

    def score(backbone, prompt):
        stored = SoftPrompt(prompt, PromptMetadata(task="mini/film"), torch.tensor([0]))
        return evaluate_stored(backbone, stored, TASK, split, force=True, floors=()).score

    assert result.evaluation.score == score(tiny("gpt2"), made.embeddings)
    assert lines["the source on its own backbone"].score == score(
        tiny("bert"), distillation.prompt.embeddings
    )
    assert lines["untrained start"].score == score(tiny("gpt2"), distillation.initial)
    bare = source_scores(Encoder(tiny("bert"), TASK, 5), None, distillation.texts)
    fitted = distil(bare, distillation.target, distillation.texts, distillation.initial, settings(steps=4))
    assert lines["source without its prompt, distilled"].score == score(tiny("gpt2"), fitted.prompt)
    assert result.evaluation.n == 30 and result.majority is not None


def test_the_verdict_says_whether_the_source_and_the_fit_counted(tiny, texts):
    distillation = prepared(tiny, texts)
    made, _ = distillation.run()
    result = evaluate_distilled(distillation, made, load_split(TASK, "validation", limit=10, seed=1))
    above = Line("a, distilled", True, 0.5, (0.4, 0.6), 0.2, (0.1, 0.3))
    rival = replace(above, name="b, distilled", gain_ci95=(0.0, 0.4))
    start = Line("untrained start", False, 0.7, (0.6, 0.8), 0.0, (-0.1, 0.1))
    assert replace(result, controls=[above]).verdict().startswith("The source matters: ")
    assert "b, distilled does as well" in replace(result, controls=[above, rival]).verdict()
    assert "untrained start does as well" in replace(result, controls=[above, start]).verdict()
    better = replace(start, gain=-0.2, gain_ci95=(-0.3, -0.1))
    assert "untrained start is better, by 0.200" in replace(result, controls=[above, better]).verdict()


def test_what_cannot_be_distilled_is_refused_before_anything_is_computed(tiny, texts):
    with pytest.raises(UserError, match=r"for .*bert.*the backbone is .*llama"):
        Distillation.prepare(prompt_of(tiny("bert"), 1), tiny("llama"), tiny("gpt2"), TASK, texts)
    with pytest.raises(UserError, match="at least 10 texts, there are 3"):
        prepared(tiny, texts.only(range(3)))
    samsum = get_task("samsum")
    with pytest.raises(UserError, match="'samsum' generates text"):
        Distillation.prepare(prompt_of(tiny("gpt2"), 1), tiny("gpt2"), tiny("t5"), samsum, texts)
    with pytest.raises(UserError, match="prompt was trained"):
        paper = prompt_of(tiny("bert"), 2, layout="paper")
        distillation = prepared(tiny, texts, prompt=prompt_of(tiny("bert"), 1, layout="prompt-mask-text"))
        split = load_split(TASK, "validation", limit=10, seed=1)
        evaluate_distilled(distillation, distillation.run()[0], split, others={"paper": paper})


def test_a_source_that_does_not_say_what_it_has_seen_is_named(tiny, texts):
    unknown = replace(prompt_of(tiny("bert"), 1), train_rows=None)
    distillation = prepared(tiny, texts, prompt=unknown)
    assert any("does not say which rows" in note for note in distillation.warnings)
    assert set(distillation.run()[0].train_rows.tolist()) == set(row_hashes(texts.examples).tolist())
