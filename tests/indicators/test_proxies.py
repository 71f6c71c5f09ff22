"""Indicators that run a source prompt on labelled rows of the target: what they measure, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_prompts import fitting_prompts, made_rows

from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.indicators import INDICATORS, Context, Target
from prompt_hub.tasks import Example, Split, get_task

ON_ROWS = ("score", "loss", "logme", "h_score")
ROWS = made_rows(24)


def values(backbone, name, prompts, task="sst2", rows=ROWS, seen_by=frozenset()):
    target = Target("t", None, get_task(task), rows, seen_by)
    return INDICATORS[name].matrix(prompts, [target], Context(backbone)).loc["t"]


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_score_and_loss_are_those_of_the_prompt_on_the_rows(tiny, kind):
    backbone, task = tiny(kind), get_task("sst2")
    prompts = fitting_prompts(backbone, "ab")
    scores, losses = (values(backbone, name, prompts) for name in ("score", "loss"))
    encoder = Encoder(backbone, task, 4)
    batch = encoder.batch(encode_split(encoder, ROWS).rows)
    for name, prompt in prompts.items():
        assert scores[name] == evaluate_stored(backbone, prompt, task, ROWS, floors=()).score
        logits = backbone.label_logits(prompt.embeddings, batch, encoder.label_ids)
        expected = torch.nn.functional.cross_entropy(logits, batch.labels).item()
        assert losses[name] == pytest.approx(expected, rel=1e-5)
    assert INDICATORS["loss"].predicted(losses.to_frame()).to_numpy().max() == -losses.min()


@pytest.mark.parametrize("name", ON_ROWS)
def test_a_prompt_that_was_trained_on_the_rows_gets_no_value(tiny, name):
    prompts = fitting_prompts(tiny("gpt2"), "ab")
    found = values(tiny("gpt2"), name, prompts, seen_by=frozenset({prompts["a"].hash}))
    assert np.isnan(found["a"]) and np.isfinite(found["b"])


@pytest.mark.parametrize("name", ["logme", "h_score", "loss", "skill_on"])
def test_what_needs_classes_refuses_generation_regression_one_class_and_few_rows(tiny, name):
    backbone = tiny("gpt2")
    prompts = fitting_prompts(backbone, "ab")
    one_class = Split.of("train", [Example(each.text_a, None, 1) for each in ROWS.examples], "made up")
    for more, says in (
        ({"task": "squad"}, "is for classification tasks; 't' is a generation task"),
        ({"task": "stsb"}, "'t' is a regression task"),
        ({"rows": one_class}, "hold one class only"),
        ({"rows": made_rows(9)}, "at least 10 labelled rows of 't'; there are 9"),
    ):
        about = {"task": "sst2", "rows": ROWS, **more}
        target = Target("t", prompts["a"], get_task(about["task"]), about["rows"])
        with pytest.raises(UserError, match=says):
            INDICATORS[name].matrix(prompts, [target], Context(backbone))
