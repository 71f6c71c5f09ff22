"""``prompt-hub rank``: from a folder of prompts and rows to an order, as a table or JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from command import refuses, succeeds

from prompt_hub.prompts.soft_prompt import SoftPrompt


@pytest.fixture(scope="module")
def prompts(trained, tmp_path_factory):
    """Two prompts of one backbone, said to be of tasks of their own, and one of another backbone."""
    folder = tmp_path_factory.mktemp("sources")
    for factor, name, kind in ((1, "one", "bert"), (-1, "two", "bert"), (1, "foreign", "gpt2")):
        stored = SoftPrompt.from_pretrained(trained(kind))
        described = replace(stored.metadata, task=f"task-{name}")
        SoftPrompt(factor * stored.embeddings, described, stored.train_rows).save_pretrained(folder / name)
    return folder


@pytest.fixture
def line(prompts, files, own_columns, tiny_folder):
    return (
        "rank", "--prompts", prompts, "--train", files.other, *own_columns, "--backbone", tiny_folder("bert"),
        "--device", "cpu",
    )  # fmt: skip


def test_the_json_holds_candidates_floors_and_what_was_left_out(line):
    out = succeeds(*line, "--limit", "12", "--json")
    assert {each["prompt"] for each in out.json["candidates"]} == {"one", "two"}
    assert {each["n"] for each in out.json["candidates"]} == {12}
    assert set(out.json["floors"]) == {"majority", "no_prompt", "random_prompt"}
    assert out.json["left_out"][0]["name"] == "foreign" and "Left out: foreign" in out.words


def test_the_table_names_score_gain_and_what_to_expect(line, tmp_path):
    out = succeeds(*line, "--output", tmp_path / "rank.json")
    assert all(word in out.stdout for word in ("one", "two", "is best", "accuracy"))
    assert "Picking the first is expected to give" in out.words and "no prompt" in out.words
    record = json.loads((tmp_path / "rank.json").read_text())
    assert record["kind"] == "rank" and len(record["result"]["candidates"]) == 2


def test_by_an_indicator_no_rows_are_needed(prompts):
    out = succeeds(
        "rank", "--prompts", prompts, "--task", "sst2", "--by", "c_avg", "--reference", prompts / "two"
    )
    assert "one" in out.stdout and "how often it was right" in out.words


def test_with_a_matrix_the_trust_is_printed(line, tmp_path):
    matrix = tmp_path / "matrix.csv"
    matrix.write_text(",a,b,c,d,e\na,90,60,70,50,55\nb,55,80,75,62,51\nc,64,66,85,71,70\nd,50,71,61,88,64\n")
    out = succeeds(*line, "--matrix", matrix)
    assert "How far to trust score, from 4 other targets" in out.words and "simulated" in out.words
    assert "score lost by taking the best of the first three" in out.words
    assert "of the target's own prompt there" in out.words


def test_strict_refuses_the_foreign_prompt(line):
    refuses(*line, "--strict", says=("1 prompt(s)", "foreign: ", "leave --strict out"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--by", "c_avg"), ("compares prompts", "--reference PROMPT")),
        (("--by", "best"), ("Unknown way of ranking 'best'", "c_avg")),
        (("--limit", "0"), ("--limit must be at least 1",)),
        (("--matrix", "nowhere.csv"), ("Cannot read nowhere.csv",)),
        (("--layout", "nonsense"), ("Unknown layout 'nonsense'",)),
    ],
)
def test_what_cannot_be_done_is_refused(line, more, says):
    refuses(*line, *more, says=says)


def test_a_folder_that_is_not_there_is_refused(line, tmp_path):
    refuses("rank", "--prompts", tmp_path / "no", "--task", "sst2", says=("There is nothing at",))


def test_training_can_start_from_the_best_of_a_folder(
    prompts, files, own_columns, short, tiny_folder, tmp_path
):
    line = (
        "train", "--backbone", tiny_folder("bert"), "--train", files.other, *own_columns, *short,
        "--init", f"auto:{prompts}", "--output", tmp_path / "run",
    )  # fmt: skip
    out = succeeds(*line, "--json")
    assert out.json["start"]["place"] in {str(prompts / "one"), str(prompts / "two")}
    assert "Starts from" in out.words and "foreign" in out.json["start"]["left_out"]
    assert succeeds(*line, "--resume", "--json").json["prompt_hash"] == out.json["prompt_hash"]


@pytest.mark.parametrize(
    ("init", "says"),
    [("auto", "Write it as auto:FOLDER"), ("auto:nowhere", "there is no folder nowhere")],
)
def test_an_auto_start_needs_a_folder(files, own_columns, tiny_folder, tmp_path, init, says):
    refuses(
        "train", "--backbone", tiny_folder("bert"), "--train", files.other, *own_columns, "--init", init,
        "--output", tmp_path / "run", says=(says,),
    )  # fmt: skip
