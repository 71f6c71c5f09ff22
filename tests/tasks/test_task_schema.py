"""A broken task is refused with every problem at once, each with field, value and fix."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_hub.errors import UserError
from prompt_hub.tasks import list_tasks, task_from_dict, validate_task

GOOD: dict[str, Any] = {
    "name": "toy",
    "type": "custom",
    "kind": "classification",
    "classes": ["bad", "good"],
    "label_map": {"0": "bad", "1": "good"},
    "columns": {"text_a": "review", "label": "stars"},
    "templates": {"masked_lm": "{mask} {text_a}", "default": "{text_a}"},
    "label_words": {"default": ["bad", "good"]},
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


def test_a_good_task_has_no_problems_and_gets_defaults() -> None:
    assert validate_task(GOOD) == []
    task = task_from_dict(GOOD)
    assert (task.metrics, task.max_length, task.paper_segments) == (("accuracy",), 128, ("{text_a}",))


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_a_task_survives_the_way_to_plain_data_and_back(task: Any) -> None:
    assert task_from_dict(task.to_dict()) == task


def test_all_problems_are_reported_in_one_error() -> None:
    broken = changed(
        type="sentimnet",
        classes=["bad"],
        templates={"masked_lm": "{text_a}", "causal": "{text_a}"},
        metrics=["acuracy"],
        max_length=0,
        maxlength=3,
    )
    with pytest.raises(UserError) as caught:
        task_from_dict(broken, "toy.yaml")
    message = str(caught.value)
    assert message.startswith("toy.yaml is not a valid task:")
    for part in (
        "Did you mean 'sentiment'",
        "fewer than two classes",
        "exactly one {mask}",
        "templates.causal: unknown family. Did you mean 'causal_lm'",
        "Did you mean 'accuracy'",
        "max_length: 0 is not a whole number",
        "maxlength: unknown field. Did you mean max_length",
        "label_map.1: 'good' is not a class",
    ):
        assert part in message, part


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        *(
            ({"name": name}, "is not a name")
            for name in (
                None,
                "",
                ".",
                "..",
                "../evil",
                "a/..",
                "a/../b",
                "/etc",
                "a//b",
                "a/",
                "a/b/c",
                "a/.b",
                "./a",
                "a\\b",
                "a/b\n",
                "~/a",
                "C:/a",
                "a" * 101,
                "a/" + "b" * 99,
            )
        ),
        ({"templates": {}}, "templates: missing"),
        ({"label_words": {"default": [False, True]}}, "Put it in quotes"),
        ({"label_words": ["bad", "good"]}, "mapping from family to words"),
        ({"label_words": {"default": ["bad"]}}, "1 words for 2 classes"),
        ({"label_words": {"default": ["bad", "bad"]}}, "more than once"),
        ({"label_words": {"default": [" bad", "good"]}}, "spaces around"),
        ({"label_map": {True: "bad"}}, "Put it in quotes"),
        ({"label_map": {"bad": "good", "good": "bad"}}, "the name of another class"),
        ({"drop_labels": ["0"]}, "in drop_labels too"),
        ({"columns": {"text_a": "x"}}, "columns.label: missing"),
        ({"columns": {"text_a": "x", "label": "y", "text_c": "z"}}, "columns.text_c: unknown role"),
        ({"templates": {"default": "{text_a} {text_b}"}}, "no text_b column"),
        ({"templates": {"default": "{mask} {text_a}"}}, "belongs in a masked_lm template"),
        ({"templates": {"causal_lm": "hello"}}, "lacks {text_a}"),
        ({"templates": {"causal_lm": "{text_a} {text_a}"}}, "more than once"),
        ({"label_range": [0, 5]}, "only a regression has it"),
        (
            {"kind": "regression", "classes": [], "label_map": {}, "metrics": ["pearson"]},
            "a regression needs it",
        ),
        ({"metrics": ["rougeL"]}, "does not fit a classification task"),
        ({"metrics": []}, "metrics: empty"),
        ({"hub": "nyu-mll/glue"}, "lacks a path"),
        ({"hub": {"path": "x/y", "splits": {"dev": "dev"}}}, "hub.splits.dev: unknown split"),
        ({"generator": "flim"}, "generator: 'flim' is unknown. Did you mean 'film'? Known: film, restaurant"),
        ({"generator": True}, "generator: True is not text"),
        ({"generator": "film"}, "the labels terrible, great; the task has no class for terrible, great"),
        ({"generator": "film", "hub": {"path": "x/y"}}, "a task with a place on the hub has none"),
        ({"paper": "perhaps"}, "is not true or false"),
        ({"paper_segments": ["{text_b}"]}, "paper_segments"),
        ({"paper_seq2seq": "text"}, "not a mapping with segments"),
        ({"paper_seq2seq": {"segments": "text"}}, "not a list of texts"),
        ({"paper_seq2seq": {"segments": ["{text_a}"], "ends": "true"}}, "paper_seq2seq.ends: unknown field"),
        ({"paper_seq2seq": {"segments": ["{question}"]}}, "names question. Placeholders: text_a, text_b"),
        ({"paper_seq2seq": {"segments": ["{text_a"]}}, "paper_seq2seq.segments"),
        (
            {"paper_seq2seq": {"segments": ["{text_a}"], "beyond": "far"}},
            "beyond: 'far' is not a whole number",
        ),
        ({"paper_seq2seq": {"segments": ["{text_a}"], "end": "no"}}, "end: 'no' is not true or false"),
        ({"paper_label_ids": {"gpt2": [1, 2]}}, "unknown model type. Known: roberta, bert, t5"),
        ({"paper_label_ids": {"bert": ["one", "two"]}}, "is not a list of token ids"),
        ({"paper_label_ids": {"bert": [1]}}, "paper_label_ids.bert: 1 words for 2 classes"),
        ({"paper_label_ids": [1, 2]}, "not a mapping from model type"),
        ({"paper_label_words": {"masked_lm": ["one"]}}, "paper_label_words.masked_lm: 1 words for 2 classes"),
        ({"max_length": 1.5}, "whole number"),
        ({"max_length": True}, "whole number"),
    ],
)
def test_each_problem_is_named(fields: dict[str, Any], problem: str) -> None:
    assert any(problem in found for found in validate_task(changed(**fields))), validate_task(
        changed(**fields)
    )


@pytest.mark.parametrize("name", ["a", "shop-reviews", "mini/film", "a.b/c.d", "a/" + "b" * 98])
def test_a_name_may_have_one_folder(name: str) -> None:
    assert task_from_dict(changed(name=name)).name == name


def test_a_task_of_ones_own_may_use_a_generator_under_other_classes() -> None:
    mapped = changed(generator="film", label_map={"terrible": "bad", "great": "good"})
    assert task_from_dict(mapped).generator == "film"
    assert task_from_dict(mapped).fingerprint() == task_from_dict({**mapped, "generator": ""}).fingerprint()
    some = changed(generator="nli_people", label_map={"no": "bad", "yes": "good"}, drop_labels=["maybe"])
    assert validate_task(some) == []


@pytest.mark.parametrize("value", [[5, 0], [1], "ab", ["x", "y"], [0, float("inf")], 3])
def test_a_label_range_is_two_finite_numbers_in_order(value: Any) -> None:
    assert any("label_range" in problem for problem in validate_task(changed(label_range=value)))


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_task_that_is_no_mapping_is_refused(data: Any) -> None:
    assert "mapping of fields" in validate_task(data)[0]


def test_a_long_value_does_not_flood_the_message() -> None:
    assert all(
        len(problem) < 400 for problem in validate_task(changed(name="x" * 100_000, kind="y" * 100_000))
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("text_a"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "metrics", "hub", "label_range", "aliases", "max_length", "generator"]),
        ANYTHING,
    )
)
def test_no_plain_data_makes_validation_fail_otherwise_than_by_saying_so(fields: dict[str, Any]) -> None:
    problems = validate_task({**GOOD, **fields})
    assert all(isinstance(problem, str) and problem for problem in problems)


def test_a_number_beyond_floats_is_a_problem_and_no_crash() -> None:
    assert any("label_range" in problem for problem in validate_task(changed(label_range=[0, 10**400])))
