"""Sources are ranked by what they score or by an indicator; what cannot be a source is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_sources import make_prompt, make_rows, make_split, make_task, store

from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.indicators import INDICATORS, Target
from prompt_hub.indicators.base import Context, Indicator, Needs
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Split, get_task
from prompt_hub.transfer import rank

SPLIT = make_split()


@pytest.fixture
def roberta(tiny):
    return tiny("roberta")


@pytest.fixture
def folder(roberta, tmp_path):
    """Four sources of four tasks."""
    made = {f"p{seed}": make_prompt(roberta, f"task{seed}", seed=seed) for seed in range(4)}
    return store(tmp_path / "prompts", **made)


def ranked(folder, backbone=None, **more) -> pd.DataFrame:
    return rank(make_task(), folder, backbone=backbone, rows=SPLIT, limit=30, **more)


def reasons(table) -> dict[str, str]:
    return {each["name"]: each["reason"] for each in table.attrs["left_out"]}


# -- by score ----------------------------------------------------------------------------------------


def test_each_candidate_has_the_score_of_its_evaluation_on_the_same_rows(folder, roberta):
    table = rank(make_task(), folder, backbone=roberta, rows=SPLIT, limit=40, seed=5)
    for row in table.to_dict("records"):
        prompt = load_prompts(folder).prompts[row["prompt"]]
        plain = evaluate_stored(roberta, prompt, make_task(), SPLIT, seed=5)
        assert (row["value"], row["n"]) == (plain.score, 40)
        assert [row["low"], row["high"]] == plain.ci95["accuracy"]
        assert row["gain"] == pytest.approx(plain.score - plain.floors["no_prompt"]["accuracy"])
        assert table.attrs["floors"]["majority"] == plain.floors["majority"]["accuracy"]
    assert list(table["value"]) == sorted(table["value"], reverse=True)
    assert list(table["place"]) == [1, 2, 3, 4] and table["first"].sum() == pytest.approx(1)


def test_the_sample_has_the_asked_number_of_rows_and_is_the_same_for_the_same_seed(folder, roberta):
    first, second = (ranked(folder, roberta, seed=1) for _ in range(2))
    assert set(first["n"]) == {30} and first.equals(second)


def test_rows_that_any_candidate_was_trained_on_are_left_out_for_all_and_counted(roberta, tmp_path):
    seen = SPLIT.examples[:9]
    folder = store(
        tmp_path, a=make_prompt(roberta, "a", seen[:5]), b=make_prompt(roberta, "b", seen[3:], seed=1)
    )
    table = rank(make_task(), folder, backbone=roberta, rows=SPLIT, limit=40)
    assert set(table["n"]) == {31} and table.attrs["removed_overlap"] == 9
    rest = Split.of("train", SPLIT.examples[9:], "")
    plain = evaluate_stored(roberta, load_prompts(folder).prompts["b"], make_task(), rest)
    assert table.set_index("prompt").loc["b", "value"] == plain.score


def test_more_rows_are_read_until_enough_are_left(roberta, tmp_path):
    folder = store(tmp_path, a=make_prompt(roberta, "a", SPLIT.examples[:15]))
    asked = []

    def load(limit):
        asked.append(limit)
        return Split.of("train", make_rows(40)[:limit], "")

    table = rank(make_task(), folder, backbone=roberta, rows=load, limit=20)
    assert asked[0] == 20 and asked[-1] > 20 and set(table["n"]) == {20}


def test_a_candidate_trained_on_nearly_all_of_the_targets_rows_is_left_out(roberta, tmp_path):
    folder = store(
        tmp_path, a=make_prompt(roberta, "a", SPLIT.examples[:39]), b=make_prompt(roberta, "b", seed=1)
    )
    table = rank(make_task(), folder, backbone=roberta, rows=SPLIT, limit=40)
    assert list(table["prompt"]) == ["b"] and set(table["n"]) == {40}
    assert reasons(table) == {"a": "it was trained on 98% of the target's rows"}


def test_when_all_were_trained_on_the_targets_rows_the_message_says_so(roberta, tmp_path):
    folder = store(tmp_path, a=make_prompt(roberta, "a", SPLIT.examples))
    with pytest.raises(UserError, match=r"can be a source\. a: it was trained on 100% of the target's rows"):
        ranked(folder, roberta)


def test_when_too_few_rows_are_left_the_message_says_so(roberta, tmp_path):
    rows = Split.of("train", SPLIT.examples[:16], "few.csv")
    folder = store(tmp_path, a=make_prompt(roberta, "a", rows.examples[:7]))
    with pytest.raises(UserError, match=r"Only 9 rows of few.csv are left after 7 that a candidate was"):
        rank(make_task(), folder, backbone=roberta, rows=rows)


def test_prompts_that_do_not_say_their_rows_are_used_with_a_warning(roberta, tmp_path):
    folder = store(tmp_path, a=make_prompt(roberta, "a", known=False))
    (warning,) = ranked(folder, roberta).attrs["warnings"]
    assert warning.startswith("a does not say which rows it was trained on")


def test_the_backbone_is_that_of_the_prompts_when_none_is_named(folder, roberta, monkeypatch):
    named = []
    monkeypatch.setattr(
        "prompt_hub.transfer.selection.load_backbone", lambda name, **more: named.append(name) or roberta
    )
    ranked(folder)
    assert named == [roberta.name]


# -- by an indicator ---------------------------------------------------------------------------------


def test_by_an_indicator_the_order_is_that_of_its_values_to_the_reference(folder, roberta):
    reference = make_prompt(roberta, "tone", seed=9)
    table = ranked(folder, by="c_concat", reference=reference)
    values = INDICATORS["c_concat"].matrix(load_prompts(folder).prompts, [Target("tone", reference)])
    expected = values.loc["tone"].sort_values(ascending=False)
    assert list(table["prompt"]) == list(expected.index)
    np.testing.assert_allclose(table["value"], expected)


def test_a_distance_ranks_the_smallest_first(folder, roberta, monkeypatch):
    distance = Indicator(
        "far", "Far", "", lambda s, t, c: np.arange(len(s))[None], Needs(0), higher_is_similar=False
    )
    monkeypatch.setitem(INDICATORS, "far", distance)
    assert list(ranked(folder, by="far")["prompt"]) == ["p0", "p1", "p2", "p3"]


def test_an_indicator_gets_backbone_and_rows_when_it_asks_for_them(folder, roberta, monkeypatch):
    got = []

    def compute(sources, targets, context):
        got.append((context.backbone, len(targets[0].rows), targets[0].task.name))
        return np.zeros((1, len(sources)))

    needy = Indicator("needy", "Needy", "", compute, Needs.BACKBONE | Needs.TARGET_ROWS)
    monkeypatch.setitem(INDICATORS, "needy", needy)
    assert set(ranked(folder, roberta, by="needy")["value"]) == {0.0}
    assert got == [(roberta, 30, "tone")]


def test_without_a_reference_the_message_says_how_to_get_one(folder):
    with pytest.raises(UserError, match=r"'c_avg' compares prompts.*--max-steps 50.*--by score"):
        ranked(folder, by="c_avg")


def test_the_reference_is_no_candidate_though_it_lies_in_the_folder(folder, roberta):
    table = ranked(folder, by="c_avg", reference=folder / "p2")
    assert "p2" not in set(table["prompt"]) and reasons(table) == {"p2": "it is the reference"}


def test_a_prompt_of_another_length_is_left_out_only_where_the_indicator_needs_the_same(roberta, tmp_path):
    folder = store(tmp_path, long=make_prompt(roberta, "a", rows=6), short=make_prompt(roberta, "b", seed=1))
    reference = make_prompt(roberta, "tone", seed=9)
    table = ranked(folder, by="c_concat", reference=reference)
    assert list(table["prompt"]) == ["short"] and "lengths differ: 4 rows and 6" in reasons(table)["long"]
    assert len(ranked(folder, by="c_avg", reference=reference)) == 2


# -- what is no candidate ----------------------------------------------------------------------------


@pytest.fixture
def mixed(folder, tiny):
    store(
        folder,
        bert=make_prompt(tiny("bert"), "other"),
        gpt=make_prompt(tiny("gpt2"), "other", layout="prompt-text"),
        paper=make_prompt(tiny("roberta"), "other", layout="paper", seed=7),
        own=make_prompt(tiny("roberta"), "tone", seed=8),
    )
    (folder / "torn").mkdir()
    (folder / "torn" / "prompt_hub.json").write_text("{")
    return folder


EXPECTED = {
    "bert": "input embeddings differ",
    "gpt": "families differ",
    "paper": "layouts differ",
    "torn": "not valid JSON",
    "own": "it is the target's own",
}


def test_by_score_what_does_not_fit_is_named_and_left_out(mixed, roberta):
    table = ranked(mixed, roberta)
    assert set(table["prompt"]) == {"p0", "p1", "p2", "p3"} and set(reasons(table)) == set(EXPECTED)
    assert all(text in reasons(table)[name] for name, text in EXPECTED.items())


def test_by_an_indicator_too(mixed, roberta):
    table = ranked(mixed, by="c_avg", reference=make_prompt(roberta, "tone", seed=9))
    assert set(table["prompt"]) == {"p0", "p1", "p2", "p3"} and set(reasons(table)) == set(EXPECTED)
    assert "backbones differ" in reasons(table)["bert"]


def test_prompts_that_all_have_another_layout_are_used_under_it(roberta, tmp_path):
    folder = store(
        tmp_path, **{f"p{seed}": make_prompt(roberta, "x", seed=seed, layout="paper") for seed in (0, 1)}
    )
    task = get_task("sst2")
    table = rank(task, folder, backbone=roberta, rows=SPLIT, limit=40)
    prompt = load_prompts(folder).prompts["p0"]
    expected = evaluate_stored(roberta, prompt, task, SPLIT, layout="paper", floors=()).score
    assert table.set_index("prompt").loc["p0", "value"] == expected
    with pytest.raises(UserError, match="layouts differ"):
        rank(task, folder, backbone=roberta, rows=SPLIT, layout="prompt-mask-text")


@pytest.mark.parametrize("by", ["score", "c_avg"])
def test_strict_makes_it_an_error_that_names_all_of_them(mixed, roberta, by):
    with pytest.raises(UserError, match="4 prompt") as caught:
        ranked(mixed, roberta, by=by, strict=True, reference=make_prompt(roberta, "tone", seed=9))
    assert all(name in str(caught.value) for name in ("bert", "gpt", "paper", "torn"))


def test_strict_has_nothing_against_the_targets_own_prompt(folder, roberta):
    store(folder, own=make_prompt(roberta, "tone", seed=8))
    assert len(ranked(folder, roberta, strict=True)) == 4


def test_prompts_of_several_backbones_need_a_name(mixed, tiny):
    with pytest.raises(UserError, match=r"several backbones: .*Name one with --backbone"):
        ranked(mixed)


def test_when_nothing_fits_the_reasons_are_given(tiny, tmp_path):
    folder = store(tmp_path, only=make_prompt(tiny("bert"), "other"))
    with pytest.raises(UserError, match=r"No prompt in .* can be a source\. only: .*embeddings differ"):
        ranked(folder, tiny("roberta"))


def test_an_unknown_way_of_ranking_is_refused_with_the_known_ones(folder):
    with pytest.raises(UserError, match=r"Unknown way of ranking 'scores'\. Did you mean 'score'"):
        ranked(folder, by="scores")


# -- trust -------------------------------------------------------------------------------------------


def matrix_of(names, seed=0) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(0.4, 0.9, (len(names), len(names)))
    return pd.DataFrame(values, pd.Index(names, name="target"), pd.Index(names, name="source"))


def test_trust_in_an_indicator_is_its_agreement_with_the_matrix(folder, roberta):
    names = [f"task{number}" for number in range(4)]
    prompts = load_prompts(folder).prompts
    values = INDICATORS["c_avg"].matrix(prompts, [Target(name, each) for name, each in prompts.items()])
    perfect = pd.DataFrame(values.to_numpy(), pd.Index(names, name="target"), pd.Index(names, name="source"))
    table = ranked(folder, by="c_avg", reference=make_prompt(roberta, "tone", seed=9), matrix=perfect + 1)
    trust = table.attrs["trust"]
    assert trust["spearman"]["value"] == pytest.approx(1) and trust["regret_1"]["value"] == 0
    assert trust["targets"] == 4 and trust["picked"] == trust["best"] > trust["by_lot"]
    assert not trust["simulated"]


def test_trust_in_scores_grows_with_the_rows(folder, roberta):
    def lost(limit):
        table = rank(
            make_task(), folder, backbone=roberta, rows=make_split(400), limit=limit,
            matrix=matrix_of(list("abcdefgh")),
        )  # fmt: skip
        assert table.attrs["trust"]["simulated"]
        return table.attrs["trust"]["regret_1"]["value"]

    assert 0 < lost(400) < 0.7 * lost(10)


def test_a_matrix_of_other_tasks_than_the_prompts_is_a_warning_not_the_end(folder, roberta):
    table = ranked(
        folder, by="c_avg", reference=make_prompt(roberta, "tone", seed=9), matrix=matrix_of(list("xyz"))
    )
    assert table.attrs["trust"] is None and len(table) == 4
    assert any(
        "not held against the matrix: Prompts and scores share 0" in w for w in table.attrs["warnings"]
    )


def test_the_target_itself_does_not_count_for_trust(folder, roberta):
    names = [*(f"task{number}" for number in range(4)), "tone"]
    store(folder, own=make_prompt(roberta, "tone", seed=8))
    table = ranked(folder, by="c_avg", reference=folder / "own", matrix=matrix_of(names))
    assert table.attrs["trust"]["targets"] == 4


# -- by indicators that run the backbone ---------------------------------------------------------------


@pytest.mark.parametrize("by", ["on", "neuron_jaccard", "on:0-1", "skill_on"])
def test_neurons_of_candidates_are_compared_with_those_of_a_reference(folder, roberta, by):
    near = make_prompt(roberta, "tone", seed=2)
    reference = SoftPrompt(near.embeddings * 1.0001, near.metadata)
    table = ranked(folder, roberta, by=by, reference=reference)
    assert table.loc[0, "prompt"] == "p2", "the reference is nearly p2"
    assert table.attrs["by"] == by and table["value"].is_monotonic_decreasing
    assert table.attrs["n"] == (30 if by == "skill_on" else None)


@pytest.mark.parametrize("by", ["logme", "h_score", "loss"])
def test_indicators_that_run_candidates_on_target_rows_get_rows_that_none_has_seen(roberta, tmp_path, by):
    seen = SPLIT.examples[:9]
    folder = store(tmp_path, a=make_prompt(roberta, "a", seen), b=make_prompt(roberta, "b", seed=1))
    table = rank(make_task(), folder, backbone=roberta, rows=SPLIT, limit=40, by=by)
    assert table.attrs["n"] == 31 and table.attrs["removed_overlap"] == 9
    rest = Split.of("train", SPLIT.examples[9:], "")
    target = Target("tone", None, make_task(), rest)
    plain = INDICATORS[by].matrix(load_prompts(folder).prompts, [target], Context(roberta)).loc["tone"]
    assert dict(zip(table["prompt"], table["value"], strict=True)) == pytest.approx(dict(plain))
    assert table["value"].is_monotonic_decreasing or by == "loss"
