"""A study of masked neurons: every target under every condition, once, with an honest summary."""

from __future__ import annotations

import random

import pytest
import torch

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import evaluate
from prompt_hub.neurons import selection
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import capture_prompt, sites_for
from prompt_hub.neurons.masking import CHOICES, Condition, MaskingStudy, Target, summarise
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example
from tiny_models import WORDS


def soft_prompt(backbone, seed=1) -> SoftPrompt:
    rows = 0.7 * torch.randn(4, backbone.hidden, generator=torch.Generator().manual_seed(seed))
    known = PromptMetadata(task="sst2", layout="prompt-mask-text", backbone=backbone.identity.to_dict())
    return SoftPrompt(rows, known, torch.zeros(0, dtype=torch.int64))


def rows(count=30) -> Split:
    chooser = random.Random(0)
    texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 9))) for _ in range(count)]
    return Split.of("validation", [Example(t, None, i % 2) for i, t in enumerate(texts)], "made up")


@pytest.fixture
def study(tiny):
    backbone = tiny("bert")
    prompt = soft_prompt(backbone)
    values = capture_prompt(backbone, prompt.embeddings).after
    other = capture_prompt(backbone, soft_prompt(backbone, 2).embeddings).after

    def make(**changes) -> MaskingStudy:
        target = Target("sst2", prompt, get_task("sst2"), rows(), "own")
        given = dict(ratios=[0.2], choices=list(CHOICES), others={"qnli": other}, draws=2)
        return MaskingStudy(backbone, sites_for(backbone), values, [target], **{**given, **changes})

    return make


def test_every_choice_is_there_with_its_draws_and_the_unmasked_one_first(study):
    found = study(ratios=[0.1, 0.3]).conditions()
    assert found[0] == Condition("unmasked")
    counts = {choice: sum(c.choice == choice and c.ratio == 0.1 for c in found) for choice in CHOICES}
    assert counts == {
        "top": 1, "random": 2, "random-active": 2, "bottom": 1, "other-task": 1, "common": 1, "specific": 1
    }  # fmt: skip
    assert len(found) == 1 + 2 * 9


def test_a_cells_score_is_that_of_the_prompt_while_its_neurons_are_held(study, tmp_path):
    made = study(choices=["top"], ratios=[0.4])
    cells = [cell for _, _, cell in made.run(tmp_path)]
    target, backbone = made.targets[0], made.backbone
    encoder = Encoder(backbone, target.task, 4)
    chosen = selection.top(made.values, 0.4)
    plain = evaluate(encoder, target.prompt.embeddings, target.rows)
    with held_neurons(made.sites, chosen):
        masked = evaluate(encoder, target.prompt.embeddings, target.rows, floors=())
    assert [cell["score"] for cell in cells] == [plain.score, masked.score]
    assert cells[0]["floors"] == plain.floors and cells[1]["predicted"] == masked.predicted
    assert cells[1]["neurons"] == int(chosen.sum()) == round(0.4 * made.values.numel())
    assert cells[1]["active"] == int((made.values[chosen] > 0).sum())


def test_a_second_run_computes_only_what_is_new(study, tmp_path):
    first = study(choices=["top", "random"])
    assert len(list(first.run(tmp_path))) == 4
    assert list(study(choices=["top", "random"]).run(tmp_path)) == []
    more = study(choices=["top", "random", "bottom"])
    assert [cell["choice"] for _, _, cell in more.run(tmp_path)] == ["bottom"]
    assert len(more.results(tmp_path)) == 5
    changed = study(choices=["top"], to=1.0)
    assert [cell["choice"] for _, _, cell in changed.run(tmp_path)] == ["top"]


def test_an_interruption_loses_nothing_and_leaves_no_hook(study, tmp_path, monkeypatch):
    from prompt_hub.neurons import masking

    made = study(choices=["top", "bottom"])
    real, calls = masking.evaluate_stored, []

    def interrupted(*given, **asked):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given, **asked)

    monkeypatch.setattr(masking, "evaluate_stored", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(made.run(tmp_path))
    assert len(made.results(tmp_path)) == 2
    assert not any(module._forward_pre_hooks for module in made.backbone.model.modules())
    monkeypatch.setattr(masking, "evaluate_stored", real)
    assert [cell["choice"] for _, _, cell in made.run(tmp_path)] == ["bottom"]


def test_the_summary_has_means_an_interval_over_all_draws_and_what_was_lost():
    def cell(choice, score, low, high, draw=0, **more):
        return {
            "target": "sst2", "relation": "own", "choice": choice, "ratio": 0.2 if draw is not None else 0.0,
            "score": score, "ci95": [low, high], "metric": "accuracy", "n": 50, "neurons": 10, "active": 4,
            **more,
        }  # fmt: skip

    found = summarise([cell("unmasked", 0.9, 0.8, 1.0), cell("random", 0.6, 0.5, 0.7),
                       cell("random", 0.8, 0.7, 0.9, draw=1, active=2)])  # fmt: skip
    assert len(found) == 1
    assert found[0]["mean"] == pytest.approx(0.7) and found[0]["scores"] == [0.6, 0.8]
    assert found[0]["interval"] == [0.5, 0.9] and found[0]["lost"] == pytest.approx(0.2)
    assert found[0]["active"] == 3


def test_a_draw_of_a_higher_ratio_holds_that_of_a_lower_one(study):
    made = study()
    for choice in ("top", "bottom", "random", "random-active", "common", "specific"):
        small, large = made.chosen(Condition(choice, 0.1, 1)), made.chosen(Condition(choice, 0.3, 1))
        assert (large | small).equal(large) and large.sum() > small.sum()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ratios": [0.2, 1.2]}, "above 0 and at most 1"),
        ({"ratios": []}, "at least one ratio"),
        ({"choices": ["topp"]}, "Unknown choice of neurons 'topp'. Did you mean 'top'"),
        ({"others": {}}, "name at least one"),
        ({"draws": 0}, "at least one draw, not 0"),
    ],
)
def test_a_study_without_a_meaning_is_refused_before_it_starts(study, changes, says):
    with pytest.raises(UserError, match=says):
        study(**changes)
