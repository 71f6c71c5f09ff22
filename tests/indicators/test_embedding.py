"""The four indicators of the paper equal its own code's, and say plainly what they cannot compare."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from made_prompts import made_rows, prompt, random_prompts

from prompt_hub.errors import UserError
from prompt_hub.indicators import INDICATORS, Context, Indicator, Needs, Target, compare, get_indicator
from prompt_hub.indicators.embedding import c_avg, c_concat, e_avg, e_concat
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.tasks import get_task

NAMES = ("e_concat", "e_avg", "c_concat", "c_avg")
MODELS = ("bert-base", "roberta-base", "roberta-large", "t5-base", "t5-small")


def matrix(prompts, name, **context):
    return INDICATORS[name].matrix(
        prompts, [Target(key, each) for key, each in prompts.items()], Context(**context)
    )


def test_each_is_its_formula_written_out():
    chooser = np.random.default_rng(1)
    p, q = chooser.normal(size=(6, 5)), chooser.normal(size=(6, 5))
    distances = [[np.linalg.norm(a - b) for b in q] for a in p]
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in q] for a in p]
    assert e_concat(p, q) == pytest.approx(1 / (1 + np.sqrt(((p - q) ** 2).sum())))
    assert e_avg(p, q) == pytest.approx(1 / (1 + np.mean(distances)))
    assert c_concat(p, q) == pytest.approx((p * q).sum() / np.sqrt((p**2).sum() * (q**2).sum()))
    assert c_avg(p, q) == pytest.approx(np.mean(cosines))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_released_prompts_are_as_alike_as_the_original_code_says(shared, model, name):
    title = get_indicator(name).title
    expected = pd.read_csv(shared / "paper" / "similarity" / f"{model}_{title}.csv", index_col=0)
    prompts = load_prompts(shared / "paper" / "prompts" / f"{model}.npz").prompts
    found = matrix(prompts, name).loc[expected.index, expected.columns]
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made_for", ["roberta", "t5", "offset"])
def test_made_up_prompts_are_as_alike_as_the_original_code_says(shared, name, made_for):
    oracle = shared / "paper" / "oracle"
    file = "indicators/prompts_offset.npz" if made_for == "offset" else f"{made_for}/oracle.npz"
    with np.load(oracle / file) as archive:
        rows = archive["prompts"] if "prompts" in archive.files else archive[archive.files[0]]
    prompts = {str(number): prompt(each) for number, each in enumerate(rows)}
    values = json.loads((oracle / "indicators" / "indicators.json").read_text())["values"][made_for]
    expected = np.array(values[get_indicator(name).title])
    np.testing.assert_allclose(matrix(prompts, name).to_numpy(), expected, atol=1e-5, rtol=0)


def test_a_prompt_is_wholly_like_itself_only_where_rows_are_compared_in_their_places():
    prompts = random_prompts("ab")
    own = {name: matrix(prompts, name).to_numpy().diagonal() for name in NAMES}
    np.testing.assert_allclose([own["e_concat"], own["c_concat"]], 1)
    assert (own["e_avg"] < 1).all() and (own["c_avg"] < 1).all()


def test_targets_stand_in_rows_and_sources_in_columns():
    prompts = random_prompts("abc")
    found = INDICATORS["c_avg"].matrix(prompts, [Target("b", prompts["b"])])
    assert list(found.index) == ["b"] and list(found.columns) == ["a", "b", "c"]
    assert found.loc["b", "a"] == matrix(prompts, "c_avg").loc["b", "a"]


def test_row_0_of_the_papers_encoder_prompts_is_left_out_unless_all_rows_are_asked_for():
    rows = np.random.default_rng(0).normal(size=(5, 4))
    other = rows.copy()
    other[0] += 100
    pair = {name: prompt(each, "paper", "masked_lm") for name, each in (("a", rows), ("b", other))}
    assert matrix(pair, "e_concat").loc["a", "b"] == 1
    assert matrix(pair, "e_concat", all_rows=True).loc["a", "b"] < 0.01


@pytest.mark.parametrize(
    ("layout", "family"), [("paper", "seq2seq_lm"), ("prompt-mask-text", "masked_lm"), (None, None)]
)
def test_row_0_counts_wherever_the_model_reads_it(layout, family):
    rows = np.random.default_rng(0).normal(size=(5, 4))
    other = rows.copy()
    other[0] += 100
    pair = {name: prompt(each, layout, family) for name, each in (("a", rows), ("b", other))}
    assert matrix(pair, "e_concat").loc["a", "b"] < 0.01


@pytest.mark.parametrize(("name", "comparable"), [("e_concat", False), ("c_concat", False), ("c_avg", True)])
def test_prompts_of_other_lengths_are_compared_where_the_formula_allows_it(name, comparable):
    prompts = {"short": prompt(np.ones((2, 4))), "long": prompt(np.ones((3, 4)))}
    assert np.isfinite(matrix(prompts, name).loc["short", "long"]) == comparable


def test_prompts_of_other_widths_are_never_compared():
    prompts = {"narrow": prompt(np.ones((2, 3))), "wide": prompt(np.ones((2, 4)))}
    assert all(np.isnan(matrix(prompts, name).loc["narrow", "wide"]) for name in NAMES)


def test_a_prompt_of_zeros_is_like_nothing_by_cosine():
    prompts = {"zero": prompt(np.zeros((2, 4))), "other": prompt(np.ones((2, 4)))}
    assert matrix(prompts, "c_concat").loc["zero", "other"] == 0
    assert matrix(prompts, "c_avg").loc["zero", "other"] == 0


def test_comparing_gives_a_row_for_every_indicator_and_ordered_pair():
    found = compare(random_prompts("abc"), ["c_avg", "E-concat"])
    assert list(found.columns) == ["indicator", "target", "source", "value"]
    assert len(found) == 18 and set(found["indicator"]) == {"c_avg", "e_concat"}


def test_an_unknown_indicator_is_named_with_the_known_ones():
    with pytest.raises(UserError, match=r"Unknown indicator 'c_awg'\. Did you mean 'c_avg'.*e_concat"):
        get_indicator("c_awg")


def test_an_indicator_gets_what_it_needs_or_says_what_is_missing(tiny):
    seen = []

    def count(sources, targets, context):
        seen.append((targets[0].rows, context.backbone))
        return np.zeros((len(targets), len(sources)))

    needy = Indicator("needy", "Needy", "-", count, Needs.BACKBONE | Needs.TARGET_ROWS)
    prompts = random_prompts("ab")
    with pytest.raises(UserError, match="'needy' runs the backbone"):
        needy.matrix(prompts, [Target("a")])
    prompts, model = random_prompts("ab", width=32), tiny("gpt2")
    with pytest.raises(UserError, match="labelled rows of the target 'a'"):
        needy.matrix(prompts, [Target("a")], Context(backbone=model))
    rows = made_rows(20)
    needy.matrix(prompts, [Target("a", task=get_task("sst2"), rows=rows)], Context(backbone=model))
    assert seen == [(rows, model)]


def test_without_a_prompt_of_the_target_the_message_says_how_to_get_one():
    with pytest.raises(UserError, match=r"needs one of the target 'a'\. Train one"):
        INDICATORS["c_avg"].matrix(random_prompts("ab"), [Target("a")])
