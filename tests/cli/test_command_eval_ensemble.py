"""``prompt-hub eval`` with several prompts: together, and each by itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from command import refuses, succeeds

from prompt_hub.prompts.soft_prompt import SoftPrompt


@pytest.fixture(scope="module")
def pair(trained, tmp_path_factory):
    """Two prompts of one backbone, of other tasks."""
    folder = tmp_path_factory.mktemp("pair")
    for factor, name in ((1, "one"), (-1, "two")):
        stored = SoftPrompt.from_pretrained(trained("bert"))
        metadata = replace(stored.metadata, task=f"task-{name}")
        SoftPrompt(factor * stored.embeddings, metadata, stored.train_rows).save_pretrained(folder / name)
    return folder / "one", folder / "two"


@pytest.fixture
def rows(files, own_columns):
    return ("--eval", files.other, *own_columns, "--device", "cpu")


def test_with_the_option_or_as_arguments_it_is_the_same(pair, rows):
    one, two = pair
    listed = succeeds("eval", "--ensemble", f"{one},{two}", *rows, "--json").json
    named = succeeds("eval", one, two, *rows, "--json").json
    mixed = succeeds("eval", one, "--ensemble", two, *rows, "--json").json
    for found in (listed, named, mixed):
        assert found["metrics"] == listed["metrics"] and set(found["members"]) == {str(one), str(two)}
        assert set(found["floors"]) == {"majority", "no_prompt", "random_prompt"} and found["n"] == 16


def test_members_and_gain_are_printed_and_stored(pair, rows, tmp_path):
    out = succeeds("eval", *pair, *rows, "--output", tmp_path / "e.json")
    assert "Each prompt by itself" in out.words and "against the best of them" in out.words
    record = json.loads((tmp_path / "e.json").read_text())
    assert record["settings"]["prompts"] == [str(each) for each in pair]
    assert record["result"]["best_member"] in record["settings"]["prompts"]


def test_one_prompt_is_evaluated_as_ever(pair, rows):
    found = succeeds("eval", pair[0], *rows, "--json").json
    assert found["prompt"] == str(pair[0]) and "members" not in found


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda one, two: (), ("Name a prompt to evaluate",)),
        (lambda one, two: ("--ensemble", one), ("Name a prompt to evaluate, or several",)),
        (lambda one, two: (one, one), ("at least two different prompts",)),
        (lambda one, two: (one, "nowhere"), ("There is no prompt at 'nowhere'",)),
    ],
)
def test_too_few_prompts_are_refused(pair, rows, make, says):
    refuses("eval", *make(*pair), *rows, says=says)


def test_prompts_of_several_tasks_need_a_target(pair, files):
    refuses("eval", *pair, "--eval", files.other, says=("of several tasks: task-one, task-two", "--task"))
