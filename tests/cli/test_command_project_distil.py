"""``prompt-hub project distil``: a prompt of another backbone from texts without labels."""

from __future__ import annotations

import json

import pytest
from command import refuses, succeeds

from prompt_hub.prompts.soft_prompt import SoftPrompt


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The task's text column alone."""
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    path.write_text("review\n" + "".join(f"the {index} dog was lovely\n" for index in range(12)))
    return path


@pytest.fixture
def options(tiny_folder, tmp_path):
    quick = ("--max-steps", "3", "--batch-size", "4", "--device", "cpu", "--quiet")
    return ("--target-backbone", tiny_folder("gpt2"), *quick, "-o", tmp_path / "made")


def test_texts_without_a_label_column_are_enough(trained, texts, options, tmp_path):
    outcome = succeeds("project", "distil", trained("bert"), "--texts", texts, *options, "--json")
    made = SoftPrompt.from_pretrained(tmp_path / "made")
    assert outcome.json["hash"] == made.hash and made.metadata.parent["relation"] == "distilled"
    assert (outcome.json["texts"], outcome.json["held_out"]) == (10, 2)
    assert "On 2 texts that were held out" in outcome.words and "Not scored" in outcome.words
    record = json.loads((tmp_path / "made" / "distil.json").read_text())
    assert record["status"] == "done" and record["result"]["hash"] == made.hash
    assert record["settings"]["n"] == 12 and record["settings"]["match"] == "answers"


def test_with_labelled_rows_the_score_stands_beside_its_controls(trained, files, texts, options, tmp_path):
    values = SoftPrompt.from_pretrained(trained("bert"))
    other = SoftPrompt(values.embeddings.flip(0), values.metadata).save_pretrained(tmp_path / "other")
    outcome = succeeds(
        "project", "distil", trained("bert"), "--texts", texts, *options, "--eval", files.eval, "--other",
        other, "--own", trained("gpt2"), "--match", "shift", "--prompt-len", "3", "--json",
    )  # fmt: skip
    result = outcome.json
    assert [line["name"] for line in result["controls"]] == [
        f"{other}, distilled", "gaussian source, distilled", "source without its prompt, distilled",
        "source with labels shuffled, distilled", "untrained start", "random prompt", "no prompt",
        "the source on its own backbone", "target's own prompt",
    ]  # fmt: skip
    assert result["verdict"] in outcome.words
    scored = succeeds("eval", tmp_path / "made", "--eval", files.eval, "--json").json
    assert scored["metrics"] == result["metrics"] and result["n"] == 16
    assert SoftPrompt.from_pretrained(tmp_path / "made").prompt_len == 3


def test_what_makes_no_sense_is_refused_before_any_work(trained, files, texts, options, tmp_path):
    line = ("project", "distil", trained("bert"), *options)
    refuses(*line, says=("made from a file", "--texts FILE"))
    refuses(*line, "--texts", texts, "--match", "moved", says=("Unknown match 'moved'", "centred-shift"))
    refuses(*line, "--texts", texts, "--temperature", "-1", says=("temperature", "above 0"))
    refuses(*line, "--texts", texts, "--rows", "4", says=("at least 10 texts, there are 4",))
    refuses(*line, "--texts", texts, "--init", "prompt:nowhere", says=("nowhere",))
    refuses(*line, "--texts", texts, "--other", trained("bert"), says=("is no control",))
    refuses(*line, "--texts", files.train.parent / "none.csv", says=("none.csv",))
    assert not (tmp_path / "made").exists()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine")
    refuses(*line, "--texts", texts, says=("holds other files",))
    refuses(*line[:-1], trained("gpt2"), "--texts", texts, says=("already holds a prompt",))
