"""Rank correlations and regret of indicators, against known figures and against plain definitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_prompts import fitting_prompts, made_rows, random_prompts, table
from scipy.stats import kendalltau, spearmanr

from prompt_hub.errors import UserError
from prompt_hub.indicators import (
    PROTOCOLS,
    Context,
    Target,
    agreement,
    get_indicator,
    read_scores,
    validate,
)
from prompt_hub.indicators.compare import by_task
from prompt_hub.indicators.pairs import pair_up
from prompt_hub.indicators.permutation import p_value
from prompt_hub.indicators.regret import chance_regret_at, regret_at
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task

MODELS = ("roberta-base", "roberta-large", "t5-base", "t5-small")
RANDOM = np.random.default_rng(5)
TASKS = list("abcdef")


def figure(found: pd.DataFrame, statistic="spearman", protocol="per-target", with_self=False) -> pd.Series:
    chosen = (found["statistic"] == statistic) & (found["protocol"] == protocol)
    (row,) = found[chosen & (found["with_self"] == with_self)].to_dict("records")
    return row


def published(facts: str) -> dict[tuple[str, str], list[float]]:
    """The table "Spearman x100": by model and indicator, protocols in order, each with and without self."""
    found = {}
    for line in facts.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 7 and cells[1] in ("E_concat", "E_avg", "C_concat", "C_avg"):
            model = cells[0].split(" ")[0] or model  # noqa: F821
            found[model, cells[1].lower()] = [float(part) for cell in cells[3:] for part in cell.split("/")]
    return found


@pytest.fixture(scope="module")
def facts(shared) -> dict[tuple[str, str], list[float]]:
    return published((shared / "paper" / "FACTS.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", MODELS)
def test_the_released_prompts_and_scores_give_the_known_correlations(shared, facts, model):
    """To 0.15 of a hundredth: those figures let rounding break ties that are ties here."""
    prompts = load_prompts(shared / "paper" / "prompts" / f"{model}.npz").prompts
    prompts.pop("recastner", None)
    scores = read_scores(shared / "paper" / f"zero_shot_{model}.csv")
    found = validate(prompts, scores, draws=2)
    for indicator in ("e_concat", "e_avg", "c_concat", "c_avg"):
        part = found[found["indicator"] == indicator]
        got = [
            100 * figure(part, protocol=protocol, with_self=with_self)["value"]
            for protocol in PROTOCOLS
            for with_self in (True, False)
        ]
        np.testing.assert_allclose(got, facts[model, indicator], atol=0.15, rtol=0)
    assert figure(found[found["indicator"] == "c_avg"])["n"] == len(prompts) * (len(prompts) - 1)


def test_without_the_dead_row_c_concat_ranks_far_better_on_roberta_base(shared):
    place = shared / "paper" / "prompts" / "roberta-base.npz"
    prompts = load_prompts(place, layout="paper", family="masked_lm").prompts
    prompts.pop("recastner")
    scores = read_scores(shared / "paper" / "zero_shot_roberta-base.csv")
    found = validate(prompts, scores, ["c_concat"], draws=2)
    assert 100 * figure(found, with_self=True)["value"] == pytest.approx(46.9, abs=0.06)
    assert 100 * figure(found)["value"] == pytest.approx(32.5, abs=0.06)


def plain_spearman(predicted, scores, protocol, with_self):
    """The definitions, one list at a time, with scipy."""
    x, y = predicted.to_numpy(), scores.to_numpy()
    keep = np.full(x.shape, True) if with_self else ~np.eye(len(x), dtype=bool)
    if protocol == "global-relative":
        y = y / np.diag(y)[:, None]
    if protocol.startswith("global"):
        return spearmanr(x[keep], y[keep]).statistic
    if protocol == "per-source":
        x, y, keep = x.T, y.T, keep.T
    return np.mean([spearmanr(a[k], b[k]).statistic for a, b, k in zip(x, y, keep, strict=True)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("with_self", [True, False])
def test_each_protocol_is_its_definition_with_ties_at_their_mean_rank(protocol, with_self):
    predicted = table(RANDOM.integers(0, 4, (6, 6)) / 4, TASKS)
    scores = table(RANDOM.integers(1, 6, (6, 6)), TASKS)
    found = figure(agreement(predicted, scores, draws=3), protocol=protocol, with_self=with_self)
    assert found["value"] == pytest.approx(plain_spearman(predicted, scores, protocol, with_self))
    assert found["n"] == (36 if with_self else 30)


def test_only_a_perfect_indicator_has_correlation_one_and_no_regret():
    scores = table(RANDOM.permutation(36).reshape(6, 6) + 1, TASKS)
    found = agreement(scores**2, scores, draws=50)
    per_target, lost = figure(found), figure(found, "regret@1")
    assert per_target["value"] == per_target["low"] == per_target["high"] == pytest.approx(1)
    assert lost["value"] == lost["low"] == lost["high"] == 0 and lost["chance"] > 0
    assert figure(agreement(-(scores**2), scores, draws=2))["value"] == pytest.approx(-1)


def test_the_order_of_rows_and_columns_does_not_matter():
    predicted = table(RANDOM.integers(0, 3, (6, 6)), TASKS)
    scores = table(RANDOM.integers(1, 4, (6, 6)), TASKS)
    turned = predicted.iloc[::-1, [3, 1, 0, 5, 2, 4]]
    first, second = (agreement(each, scores, draws=3) for each in (predicted, turned))
    pd.testing.assert_frame_equal(first, second)
    shuffled = scores.iloc[[2, 0, 1, 5, 4, 3], ::-1]
    values = agreement(predicted, shuffled, draws=3)["value"]
    np.testing.assert_allclose(values, first["value"])


def test_values_that_differ_by_rounding_only_are_ties():
    predicted, scores = table(np.full((4, 4), 0.5), "abcd"), table(RANDOM.normal(size=(4, 4)), "abcd")
    noisy = predicted + RANDOM.normal(size=(4, 4)) * 1e-14
    assert np.isnan(figure(agreement(noisy, scores, draws=2))["value"])
    assert figure(agreement(noisy, scores, draws=2), "regret@1")["value"] == pytest.approx(
        figure(agreement(predicted, scores, draws=2), "regret@1")["chance"]
    )


def test_empty_cells_and_targets_without_an_order_are_left_out_and_counted():
    values = RANDOM.normal(size=(6, 6))
    values[0, 1:] = np.nan  # one pair, and that with itself
    values[1] = 0.5  # nothing to rank
    found = figure(agreement(table(RANDOM.normal(size=(6, 6)), TASKS), table(values, TASKS), draws=2))
    assert found["lists"] == 4 and found["n"] == 20


def test_the_interval_holds_the_value_and_narrows_with_more_tasks():
    def width(count):
        names = [f"t{number}" for number in range(count)]
        truth = np.random.default_rng(0).normal(size=(count, count))
        noisy = truth + np.random.default_rng(1).normal(size=(count, count))
        found = figure(agreement(table(noisy, names), table(truth, names), draws=300))
        assert found["low"] < found["value"] < found["high"]
        return found["high"] - found["low"]

    assert width(20) < 0.6 * width(6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_task_drawn_twice_does_not_count_as_its_own_foreign_source(protocol):
    """Otherwise the pairs with self would be as many as the copies squared, and every interval too high."""
    names = [f"t{number}" for number in range(12)]
    scores = np.random.default_rng(0).normal(size=(12, 12)) + 5 + 6 * np.eye(12)
    predicted = np.random.default_rng(1).normal(size=(12, 12)) + 6 * np.eye(12)
    found = figure(
        agreement(table(predicted, names), table(scores, names), draws=300), protocol=protocol, with_self=True
    )
    assert found["low"] < found["value"] - 0.05 and found["value"] + 0.05 < found["high"]


def test_several_prompts_of_a_task_count_by_the_mean_of_their_pairs_but_none_with_itself():
    values = table(np.arange(16).reshape(4, 4), ["a/1", "a/2", "b", "c"])
    found = by_task(values, {"a/1": "a", "a/2": "a", "b": "b", "c": "c"})
    assert found.loc["b", "a"] == np.mean([8, 9]) and found.loc["a", "c"] == np.mean([3, 7])
    assert found.loc["a", "a"] == np.mean([1, 4]) and found.loc["b", "b"] == 10


def test_names_of_paper_registry_and_people_are_one_task(tmp_path):
    (tmp_path / "scores.csv").write_text(",SST2,movierationales,MNLI\nsst2,9,8,5\nMNLI,3,4,8\nmovie,7,9,5\n")
    scores = read_scores(tmp_path / "scores.csv")
    assert set(scores.columns) == {"sst2", "movie_rationales", "mnli"} == set(scores.index)
    found = validate(random_prompts(["SST2", "movierationales", "MNLI"]), scores, ["c_avg"], draws=2)
    assert figure(found, protocol="global")["n"] == 6


# -- regret ------------------------------------------------------------------------------------------


def test_regret_is_what_the_best_source_has_more_than_the_best_that_was_picked():
    scores = np.array([0.9, 0.5, 0.7, 0.6])
    assert regret_at(1, np.array([0.1, 0.9, 0.8, 0.7]), scores) == pytest.approx(0.4)
    assert regret_at(3, np.array([0.1, 0.9, 0.8, 0.7]), scores) == pytest.approx(0.2)
    assert regret_at(9, np.array([0.1, 0.9, 0.8, 0.7]), scores) == 0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_ties_cost_what_they_cost_on_average_over_all_their_orders(k):
    predicted, scores = np.array([2, 1, 1, 1, 0]), np.array([0.2, 0.9, 0.4, 0.6, 1.0])
    orders = itertools.permutations([1, 2, 3])
    losses = [1.0 - max(scores[[0, *order][:k]]) for order in orders]
    assert regret_at(k, predicted, scores) == pytest.approx(np.mean(losses))


def test_by_lot_every_draw_is_as_likely():
    scores = np.array([0.1, 0.5, 0.8, 0.9])
    draws = [0.9 - max(each) for each in itertools.combinations(scores, 2)]
    assert chance_regret_at(2, scores) == pytest.approx(np.mean(draws))


# -- tables ------------------------------------------------------------------------------------------


def test_a_tidy_table_is_read_by_its_columns_and_seeds_are_averaged(tmp_path):
    path = tmp_path / "tidy.csv"
    path.write_text("source,target,seed,score\na,b,1,0.4\na,b,2,0.6\nb,a,1,0.2\n")
    scores = read_scores(path)
    assert scores.loc["b", "a"] == pytest.approx(0.5) and scores.loc["a", "b"] == 0.2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",a,b\na,1,much\n", "target 'a', source 'b' is 'much'"),
        (",a,b\na,1,2\na,3,4\n", "more than one row for the task 'a'"),
        (",SST2,sst-2\na,1,2\n", "more than one column for the task 'sst2'"),
        ("only\n1\n", "no table of scores"),
        ("", "no CSV|not a CSV"),
        ("source,target,score\na,b,\n", "holds no score"),
    ],
)
def test_a_broken_table_is_refused_with_the_place(tmp_path, text, says):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_scores(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read .*nowhere\.csv"):
        read_scores(tmp_path / "nowhere.csv")


def test_prompts_and_scores_of_other_tasks_are_refused_with_both_named():
    with pytest.raises(UserError, match=r"share 0 targets.*Prompts: x, y, z. Scores: a, b, c"):
        validate(random_prompts("xyz"), table(np.ones((3, 3)), "abc"))


# -- Kendall and permutations --------------------------------------------------------------------------


@pytest.mark.parametrize("with_self", [True, False])
def test_kendall_is_scipys_per_target_and_global(with_self):
    predicted = table(RANDOM.integers(0, 4, (6, 6)) / 4, TASKS)
    scores = table(RANDOM.integers(1, 6, (6, 6)), TASKS)
    keep = np.full((6, 6), True) if with_self else ~np.eye(6, dtype=bool)
    x, y = predicted.to_numpy(), scores.to_numpy()
    expected = {
        "per-target": np.mean([kendalltau(a[k], b[k]).statistic for a, b, k in zip(x, y, keep, strict=True)]),
        "global": kendalltau(x[keep], y[keep]).statistic,
    }
    found = agreement(predicted, scores, draws=3)
    for protocol, value in expected.items():
        assert figure(found, "kendall", protocol, with_self)["value"] == pytest.approx(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("with_self", [True, False])
def test_p_is_the_share_of_all_renamings_that_rank_as_well(protocol, with_self):
    """With four tasks all 24 renamings can be written down."""
    chooser = np.random.default_rng(2)
    predicted = table(chooser.normal(size=(4, 4)), "abcd")
    scores = table(chooser.uniform(1, 2, (4, 4)), "abcd")
    observed = plain_spearman(predicted, scores, protocol, with_self)
    renamed = [
        plain_spearman(
            table(predicted.to_numpy()[np.ix_(places, places)], "abcd"), scores, protocol, with_self
        )
        for places in map(list, itertools.permutations(range(4)))
    ]
    exact = np.mean([value >= observed - 1e-9 for value in renamed])
    found = p_value(pair_up(predicted, scores), protocol, with_self, permutations=4000)
    assert found == pytest.approx(exact, abs=0.03)


def test_p_of_a_perfect_indicator_is_small_and_of_a_random_one_is_evenly_spread():
    names = [f"t{number}" for number in range(8)]
    chooser = np.random.default_rng(4)
    scores = table(chooser.normal(size=(8, 8)), names)
    assert p_value(pair_up(scores**3, scores), "per-target", False, 199) == 1 / 200
    drawn = [
        p_value(pair_up(table(chooser.normal(size=(8, 8)), names), scores), "global", False, 99, seed)
        for seed in range(60)
    ]
    assert 0.35 < np.mean(drawn) < 0.65 and np.mean(np.array(drawn) <= 0.1) < 0.25


def test_p_with_empty_cells_and_targets_that_are_no_sources_is_a_number():
    values = RANDOM.normal(size=(5, 6))
    values[0, 3] = values[2, 2] = np.nan
    predicted = table(RANDOM.normal(size=(5, 6)), [*"abcd", "x"], TASKS)
    found = agreement(predicted, table(values, [*"abcd", "x"], TASKS), draws=2, permutations=50)
    p = found.loc[(found["statistic"] == "spearman") & (found["protocol"] != "global-relative"), "p"]
    assert p.between(1 / 51, 1).all()


# -- indicators that run the backbone ------------------------------------------------------------------


def test_targets_are_tasks_where_rows_are_looked_at_and_seeds_count_by_their_mean(tiny):
    backbone = tiny("gpt2")
    made = fitting_prompts(backbone, ["sst2/1", "sst2/2", "rte", "mrpc"])
    prompts = {
        name: SoftPrompt(each.embeddings, replace(each.metadata, task=name.split("/")[0]))
        for name, each in made.items()
    }
    tasks = ["sst2", "rte", "mrpc"]
    scores = table(RANDOM.uniform(size=(3, 3)), tasks)
    targets = {
        name: Target(name, None, get_task("sst2"), made_rows(20, seed=seed))
        for seed, name in enumerate(tasks[:2])
    }
    targets["mrpc"] = Target("mrpc", missing="they are locked away.")
    context = Context(backbone)
    found = validate(
        prompts, scores, ["loss", "on"], context=context, targets=targets, draws=2, permutations=5
    )
    pairs = {
        (each["indicator"], each["target"], each["source"]): each["value"] for each in found.attrs["pairs"]
    }
    single = get_indicator("loss").matrix(prompts, [targets["rte"]], context).loc["rte"]
    assert pairs["loss", "rte", "sst2"] == pytest.approx(single[["sst2/1", "sst2/2"]].mean())
    assert ("loss", "mrpc", "rte") not in pairs and ("on", "mrpc", "rte") in pairs
    (left_out,) = found.attrs["left_out"]
    assert left_out["target"] == "mrpc" and "they are locked away" in left_out["reason"]
    seconds = found[found["statistic"] == "seconds"].set_index("indicator")
    assert (seconds["value"] > 0).all() and dict(seconds["n"]) == {"loss": 8, "on": 16}


def test_an_indicator_that_cannot_be_had_does_not_stop_the_others():
    prompts, scores = random_prompts(TASKS), table(RANDOM.uniform(size=(6, 6)), TASKS)
    found = validate(prompts, scores, ["c_avg", "on", "logme"], draws=2, permutations=0)
    assert set(found["indicator"]) == {"c_avg"}
    assert [each["indicator"] for each in found.attrs["left_out"]] == ["on", "logme"]
    with pytest.raises(UserError, match="'logme' needs labelled rows of the target 'a'"):
        validate(prompts, scores, ["logme"], draws=2)
