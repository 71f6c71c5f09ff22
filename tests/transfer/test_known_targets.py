"""Indicators are held against the folder of a matrix, on rows that nothing was trained or scored on."""

from __future__ import annotations

import pytest

from prompt_hub.errors import UserError
from prompt_hub.indicators import INDICATORS, Context, validate
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split, row_hashes
from prompt_hub.transfer import run_matrix
from prompt_hub.transfer.known_targets import known_targets, prompts_of
from prompt_hub.transfer.measured import measured_scores

TASKS = ["sst2", "rotten_tomatoes", "rte", "mrpc"]


@pytest.fixture(scope="module")
def folders(tiny_folder, data, make_prompt, tmp_path_factory):
    """The folder of prompts, trained on the first half of their tasks' rows, and that of their matrix."""
    place = tmp_path_factory.mktemp("measured")
    for task in TASKS:
        prompt = make_prompt("gpt2", task)
        seen = prompt.train_rows[:20]
        SoftPrompt(prompt.embeddings, prompt.metadata, seen).save_pretrained(place / "prompts" / task)
    tasks = [*TASKS, "squad"]
    run_matrix(
        str(tiny_folder("gpt2")),
        tasks,
        place / "matrix",
        prompts=place / "prompts",
        data_dir=data,
        device="cpu",
    )
    return place / "prompts", place / "matrix"


def test_the_prompts_of_a_matrix_are_found_from_its_folder(folders):
    prompts = prompts_of(folders[1])
    assert sorted(prompts) == sorted(TASKS)
    assert prompts["rte"].hash == SoftPrompt.from_pretrained(folders[0] / "rte").hash


def test_target_rows_are_training_rows_that_no_prompt_has_seen(folders, data):
    prompts = prompts_of(folders[1])
    found = known_targets(folders[1], TASKS, prompts, limit=15).by_task
    for task in TASKS:
        train = load_split(get_task(task), "train", data)
        rows = row_hashes(found[task].rows.examples)
        assert len(rows) == 15 and set(rows) <= set(row_hashes(train.examples[20:]))
        assert not found[task].seen_by


def test_a_prompt_that_has_seen_all_rows_is_named_instead_of_emptying_them(folders, make_prompt):
    prompts = {**prompts_of(folders[1]), "rte": make_prompt("gpt2", "rte")}
    found = known_targets(folders[1], ["rte"], prompts, limit=30).by_task["rte"]
    assert len(found.rows) == 30 and found.seen_by == {prompts["rte"].hash}


def test_rows_that_the_matrix_was_scored_on_are_left_out(folders, data, tmp_path):
    copied = tmp_path / "data"
    for split in ("train", "validation"):
        lines = (data / "rte" / f"{split}.jsonl").read_text().splitlines()
        if split == "train":
            lines += (data / "rte" / "validation.jsonl").read_text().splitlines()
        (copied / "rte").mkdir(parents=True, exist_ok=True)
        (copied / "rte" / f"{split}.jsonl").write_text("\n".join(lines))
    found = known_targets(folders[1], ["rte"], prompts_of(folders[1]), data_dir=copied).by_task["rte"]
    scored = row_hashes(load_split(get_task("rte"), "validation", data).examples)
    assert len(found.rows) == 20 and not set(row_hashes(found.rows.examples)) & set(scored)


def test_a_target_without_rows_says_why(folders, tmp_path):
    found = known_targets(folders[1], ["rte", "nothing"], prompts_of(folders[1]), data_dir=tmp_path).by_task
    assert found["rte"].rows is None and found["rte"].missing
    assert "Unknown task 'nothing'" in found["nothing"].missing


def test_every_indicator_is_held_against_the_matrix(folders, tiny):
    prompts, scores = prompts_of(folders[1]), measured_scores(folders[1])
    targets = known_targets(folders[1], list(scores.index), prompts, limit=15).by_task
    about = {"context": Context(tiny("gpt2")), "targets": targets, "draws": 5, "permutations": 9}
    found = validate(prompts, scores, ["all"], **about)
    assert list(dict.fromkeys(found["indicator"])) == list(INDICATORS)
    chosen = found[(found["protocol"] == "global") & ~found["with_self"]]
    spearman = chosen[chosen["statistic"] == "spearman"].set_index("indicator")
    assert spearman["value"].between(-1, 1).all() and spearman["p"].between(0.1, 1).all()
    assert spearman.loc["logme", "n"] == 12 and spearman.loc["score", "n"] == 16, "squad is a target of score"
    left_out = {(each["indicator"], each["target"]) for each in found.attrs["left_out"]}
    assert {("logme", "squad"), ("h_score", "squad"), ("loss", "squad")} <= left_out
    assert ("score", "squad") not in left_out


def test_a_limit_of_no_rows_is_refused(folders):
    with pytest.raises(UserError, match="--limit must be at least 1"):
        known_targets(folders[1], TASKS, {}, limit=0)
