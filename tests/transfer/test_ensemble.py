"""Several prompts answer together: the mean of their label log-probabilities, beside each by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_sources import make_prompt, make_split, make_task

from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.tasks import Split, get_task
from prompt_hub.transfer import evaluate_ensemble

SPLIT = make_split(60)


@pytest.fixture
def prompts(tiny):
    return {name: make_prompt(tiny("roberta"), name, seed=seed) for seed, name in enumerate(("a", "b", "c"))}


def test_the_answer_is_the_class_with_the_largest_mean_log_probability(tiny, prompts):
    backbone, task = tiny("roberta"), make_task()
    encoder = Encoder(backbone, task, 4)
    logits = [
        torch.from_numpy(label_scores(encoder, each.embeddings, encode_split(encoder, SPLIT), 7))
        for each in prompts.values()
    ]
    mean = torch.stack([each.log_softmax(1) for each in logits]).mean(0)
    right = (mean.argmax(1).numpy() == np.array(SPLIT.labels())).mean()
    found = evaluate_ensemble(backbone, prompts, task, SPLIT)
    assert found.evaluation.score == pytest.approx(right) and found.evaluation.n == 60


def test_a_prompt_that_is_sure_outweighs_two_that_are_not(tiny, prompts, monkeypatch):
    """Unlike under the mean of the probabilities, where the two would win."""
    said = {"a": [0.001, 0.999], "b": [0.8, 0.2], "c": [0.8, 0.2]}
    by_hash = {prompt.embeddings.sum().item(): said[name] for name, prompt in prompts.items()}

    def answer(encoder, prompt, encoded, batch_size, description=""):
        return np.log(np.array([by_hash[prompt.sum().item()]] * len(encoded), np.float32))

    monkeypatch.setattr("prompt_hub.transfer.ensemble.label_scores", answer)
    found = evaluate_ensemble(tiny("roberta"), prompts, make_task(), SPLIT, floors=("majority",))
    assert found.evaluation.predicted == {"zero": 0, "one": 60}


def test_each_member_is_scored_as_it_is_alone(tiny, prompts):
    found = evaluate_ensemble(tiny("roberta"), prompts, make_task(), SPLIT, seed=3)
    for name, prompt in prompts.items():
        alone = evaluate_stored(tiny("roberta"), prompt, make_task(), SPLIT, floors=(), seed=3)
        assert found.members[name].metrics == alone.metrics and found.members[name].ci95 == alone.ci95
    assert found.members[found.best].score == max(each.score for each in found.members.values())
    assert found.gain == pytest.approx(found.evaluation.score - found.members[found.best].score)
    assert found.gain_ci95[0] <= found.gain <= found.gain_ci95[1]


def test_two_copies_and_a_near_copy_answer_like_one(tiny, prompts):
    first = prompts["a"]
    twin = make_prompt(tiny("roberta"), "twin", seed=0)
    twin.embeddings += 1e-6
    found = evaluate_ensemble(tiny("roberta"), {"a": first, "twin": twin}, make_task(), SPLIT)
    assert found.gain == 0 and found.gain_ci95 == [0, 0]


def test_floors_stand_beside_it_and_random_prompts_answer_together_too(tiny, prompts):
    found = evaluate_ensemble(tiny("roberta"), prompts, make_task(), SPLIT)
    alone = evaluate_stored(tiny("roberta"), prompts["a"], make_task(), SPLIT)
    assert set(found.evaluation.floors) == {"majority", "no_prompt", "random_prompt"}
    for name in ("majority", "no_prompt"):
        assert found.evaluation.floors[name] == alone.floors[name]


def test_rows_that_any_member_was_trained_on_are_left_out_for_all(tiny):
    backbone, seen = tiny("roberta"), SPLIT.examples[:12]
    pair = {"a": make_prompt(backbone, "a", seen[:8]), "b": make_prompt(backbone, "b", seen[4:], seed=1)}
    found = evaluate_ensemble(backbone, pair, make_task(), SPLIT)
    rest = Split.of("train", SPLIT.examples[12:], "")
    alone = evaluate_stored(backbone, pair["a"], make_task(), rest, floors=())
    assert found.evaluation.removed_overlap == 12 and {each.n for each in found.members.values()} == {48}
    assert found.members["a"].metrics == alone.metrics
    assert any("12 rows were left out" in warning for warning in found.evaluation.warnings)


def test_rows_of_the_targets_own_prompt_stay_and_are_reported(tiny):
    backbone, seen = tiny("roberta"), SPLIT.examples[:5]
    pair = {"own": make_prompt(backbone, "tone", seen), "b": make_prompt(backbone, "b", seed=1)}
    found = evaluate_ensemble(backbone, pair, make_task(), SPLIT)
    assert found.evaluation.n == 60 and found.evaluation.removed_overlap == 0
    assert any("5 of 60 texts were also in the training data of own" in w for w in found.evaluation.warnings)


def test_the_table_has_a_row_for_each_with_interval(tiny, prompts):
    table = evaluate_ensemble(tiny("roberta"), prompts, make_task(), SPLIT).table()
    assert list(table["kind"]) == ["ensemble"] + ["member"] * 3 + ["floor"] * 3
    scored = table[table["kind"] != "floor"]
    assert (scored["low"] <= scored["score"]).all() and (scored["score"] <= scored["high"]).all()


def test_regression_averages_too(tiny):
    task = make_task(kind="regression", classes=[], label_range=[0, 5], metrics=["pearson"])
    rows = [type(each)(each.text_a, None, float(index % 6)) for index, each in enumerate(SPLIT.examples)]
    pair = {name: make_prompt(tiny("roberta"), name, seed=seed) for seed, name in enumerate("ab")}
    found = evaluate_ensemble(tiny("roberta"), pair, task, Split.of("v", rows, ""))
    assert found.evaluation.primary_metric == "pearson" and -1 <= found.evaluation.score <= 1


def test_members_of_other_lengths_can_answer_together(tiny):
    pair = {"long": make_prompt(tiny("roberta"), "a", rows=7), "short": make_prompt(tiny("roberta"), "b")}
    assert evaluate_ensemble(tiny("roberta"), pair, make_task(), SPLIT).evaluation.n == 60


def test_what_cannot_answer_together_is_refused(tiny, prompts):
    backbone = tiny("roberta")
    with pytest.raises(UserError, match="at least two different prompts; there is one: a, again"):
        evaluate_ensemble(backbone, {"a": prompts["a"], "again": prompts["a"]}, make_task(), SPLIT)
    with pytest.raises(UserError, match="input embeddings differ"):
        other = make_prompt(tiny("bert"), "x")
        evaluate_ensemble(backbone, {**prompts, "x": other}, make_task(), SPLIT)
    pair = {
        name: make_prompt(tiny("gpt2"), name, layout="prompt-text", seed=len(name)) for name in ("x", "yy")
    }
    with pytest.raises(UserError, match="'samsum' generates text"):
        evaluate_ensemble(tiny("gpt2"), pair, get_task("samsum"), SPLIT)
    with pytest.raises(UserError, match="no rows are left after 60"):
        evaluate_ensemble(
            backbone, {**prompts, "d": make_prompt(backbone, "d", SPLIT.examples)}, make_task(), SPLIT
        )
    with pytest.raises(UserError, match="Unknown floor 'ceiling'"):
        evaluate_ensemble(backbone, prompts, make_task(), SPLIT, floors=("ceiling",))
