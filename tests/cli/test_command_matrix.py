"""``prompt-hub matrix`` and ``matrix show``: a run, its views, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from command import call, refuses, succeeds, write_jsonl

from prompt_hub.runs.database import APPLICATION_ID
from prompt_hub.transfer.plan import Plan

WORDS = ("good", "bad", "great", "awful")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for task in ("sst2", "rotten_tomatoes", "rte"):
        (folder / task).mkdir()
        for split, count in (("train", 24), ("validation", 16)):
            rows = [
                {"text_a": f"the {task} {split} {WORDS[index % 4]} film {index}", "label": index % 2}
                for index in range(count)
            ]
            pairs = [{**row, "text_b": "the dog sleeps"} for row in rows] if task == "rte" else rows
            write_jsonl(folder / task / f"{split}.jsonl", pairs)
    return folder


@pytest.fixture(scope="module")
def options(tiny_folder, data) -> tuple:
    return (
        "--backbone", tiny_folder("gpt2"), "--data-dir", data, "--device", "cpu", "--prompt-len", "4",
        "--max-steps", "3", "--batch-size", "8", "--hold-out", "0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def matrix(options, tmp_path_factory) -> Path:
    """A finished matrix of three tasks and two seeds. Not to be changed."""
    folder = tmp_path_factory.mktemp("matrix") / "m"
    outcome = succeeds(
        "matrix", *options, "--tasks", "sst2,rotten_tomatoes,rte", "--train", "--seeds", "1,2",
        "--output", folder,
    )  # fmt: skip
    assert "6 of 6 trainings, 18 of 18 cells, 9 of 9 floors" in outcome.words
    assert "prompt of" in outcome.stdout and "random prompt" in outcome.stdout
    return folder


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(options, tmp_path):
    outcome = succeeds(
        "matrix",
        *options,
        "--tasks",
        "sst2,rte",
        "--train",
        "--output",
        tmp_path / "m",
        "--dry-run",
        "--json",
    )
    assert outcome.json["cost"]["cells"] == 4 and outcome.json["cost"]["wall_seconds"] > 0
    assert "About" in outcome.words and not list(tmp_path.iterdir())


def test_the_same_command_again_has_nothing_to_do_and_prints_the_same(options, matrix):
    line = ("matrix", *options, "--tasks", "sst2,rotten_tomatoes,rte", "--train", "--seeds", "1,2")
    outcome = succeeds(*line, "--output", matrix)
    assert "0 of 6 trainings, 0 of 18 cells" in outcome.words
    assert outcome.stdout == succeeds("matrix", "show", matrix).stdout


def test_prompts_of_a_folder_are_used_and_strangers_named(options, matrix, trained, tmp_path):
    line = ("matrix", *options, "--tasks", "sst2", "--output", tmp_path / "m", "--prompts")
    outcome = succeeds(*line, matrix / "prompts", "--json")
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["counts"] == {"done": 10, "partial": 0, "failed": 0, "open": 0}
    stranger = trained("bert")
    refuses(*line, stranger, says=(str(stranger), "do not fit"))
    refuses(*line, matrix / "prompts", "--train", says=("--train", "--prompts"))


def test_a_failed_cell_ends_in_exit_code_1_with_its_error_in_the_table(options, tmp_path):
    outcome = call(
        "matrix", *options, "--tasks", "sst2,rte", "--train", "--lr", "1e30", "--output", tmp_path / "m"
    )
    assert outcome.code == 1 and "failed" in outcome.stdout and "diverged" in outcome.stderr


def test_csv_is_the_tidy_table(matrix):
    rows = list(csv.DictReader(io.StringIO(succeeds("matrix", "show", matrix, "--format", "csv").stdout)))
    assert len(rows) == 18 + 3 + 3 + 6
    assert {row["source"] for row in rows} == {
        "sst2", "rotten_tomatoes", "rte", "majority", "no_prompt", "random_prompt",
    }  # fmt: skip
    assert {row["seed"] for row in rows if row["kind"] == "prompt"} == {"1", "2"}


def test_json_holds_table_means_summary_and_best_sources(matrix):
    found = succeeds("matrix", "show", matrix, "--format", "json").json
    assert found["counts"] == {"done": 30, "partial": 0, "failed": 0, "open": 0}
    assert [row["group"] for row in found["summary"]] == ["same type", "other type", "unknown type"]
    assert len(found["over_seeds"]) == 18 and len(found["best_sources"]) == 3
    assert {row["target"] for row in found["best_sources"]} == set(found["tasks"])


def test_markdown_groups_tasks_by_type_and_shows_intervals_floors_and_counts(matrix):
    text = succeeds("matrix", "show", matrix, "--format", "markdown").stdout
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")][:8]
    assert table[0].startswith("| prompt of | sst2 (n = 16) | rotten_tomatoes (n = 16) | rte (n = 16)")
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "sst2", "rotten_tomatoes", "rte", "majority class", "no prompt", "random prompt",
    ]  # fmt: skip
    assert all(line.count("|") == 5 and " to " in line for line in table[2:])
    assert "**" in table[2] and "Mean of score / own score" in text and "The best source" in text


def test_latex_is_a_tabular_with_escaped_names(matrix):
    text = succeeds("matrix", "show", matrix, "--format", "latex", "--relative").stdout
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 2
    assert r"rotten\_tomatoes" in text and "rotten_tomatoes" not in text.replace(r"\_", "")
    assert r"\textbf{100 (100 to 100)}" in text


@pytest.mark.parametrize("more", [(), ("--relative",)])
def test_the_heat_map_is_drawn(matrix, tmp_path, more):
    picture = tmp_path / "new" / "heat.png"
    succeeds("matrix", "show", matrix, "--figure", picture, *more)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_show_reads_a_matrix_that_is_not_finished(options, matrix, tmp_path):
    copy = tmp_path / "m"
    shutil.copytree(matrix, copy)
    connection = sqlite3.connect(copy / "grid.sqlite")
    connection.execute("UPDATE items SET state = 'open', result = NULL WHERE kind = 'cell' AND number % 2")
    connection.commit()
    connection.close()
    assert "..." in succeeds("matrix", "show", copy, "--format", "markdown").stdout
    succeeds("matrix", "show", copy, "--figure", tmp_path / "heat.png", "--relative")
    assert succeeds("matrix", "show", copy, "--format", "json").json["counts"]["open"] > 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--tasks", "sst3", "--train"), ("sst3", "sst2")),
        (("--train",), ("--tasks",)),
        (("--tasks", "sst2"), ("--train", "--prompts")),
        (("--tasks", "sst2", "--train", "--seeds", "1,x"), ("--seeds", "1,x")),
        (("--tasks", "sst2", "--train", "--seeds", "-1"), ("--seeds", "-1")),
        (("--tasks", "sst2", "--train", "--seeds", ","), ("No seeds",)),
        (("--tasks", "sst2", "--train", "--limit-eval", "0"), ("--limit-eval", "0")),
        (("--tasks", "sst2", "--train", "--executor", "slurm"), ("slurm", "ray")),
        (("--tasks", "sst2", "--train", "--address", "a:1"), ("--address", "--executor ray")),
        (("--tasks", "sst2", "--train", "--split", "dev"), ("dev", "validation")),
        (("--tasks", "sst2", "--train", "--schedule", "up"), ("up",)),
        (("--tasks", "sst2", "--prompts", "/nowhere"), ("/nowhere",)),
        (("--tasks", "sst2", "--prompts", "runs", "--seeds", "1"), ("--seeds", "--prompts")),
    ],
)
def test_refusals(options, tmp_path, more, says):
    refuses("matrix", *options, *more, "--output", tmp_path / "m", says=says)
    assert not (tmp_path / "m").exists()


def test_a_backbone_is_needed():
    refuses("matrix", "--tasks", "sst2", says=("--backbone",))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_trained(options, tmp_path):
    tmp_path.chmod(0o500)
    try:
        refuses(
            "matrix", *options, "--tasks", "sst2", "--train", "--output", tmp_path / "m", says=("writable",)
        )
    finally:
        tmp_path.chmod(0o700)


def test_a_place_where_no_folder_can_be_is_refused(options, tmp_path):
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file", tmp_path / "file" / "m"):
        refuses("matrix", *options, "--tasks", "sst2", "--train", "--output", output, says=("file",))


def test_a_grid_of_another_schema_is_refused(options, tmp_path):
    (tmp_path / "m").mkdir()
    connection = sqlite3.connect(tmp_path / "m" / "grid.sqlite")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 0")
    connection.execute("CREATE TABLE items (key TEXT)")
    connection.commit()
    connection.close()
    refuses(
        "matrix", *options, "--tasks", "sst2", "--train", "--output", tmp_path / "m",
        says=("schema 0", "older"),
    )  # fmt: skip


def test_show_refuses_what_is_no_matrix_and_formats_and_pictures_it_does_not_know(matrix, tmp_path):
    refuses("matrix", "show", tmp_path, says=("no transfer matrix",))
    refuses("matrix", "show", matrix, "--format", "html", says=("html", "markdown"))
    assert call("matrix", "show", matrix, "--figure", tmp_path / "heat.docx").code == 2


def test_races_name_the_best_source_of_each_target_or_say_that_it_is_not_settled(options, matrix, tmp_path):
    line = ("matrix", *options, "--tasks", "sst2,rte", "--prompts", matrix / "prompts", "--output", tmp_path)
    outcome = succeeds(*line, "--budget", "0.5", "--json")
    # Two targets, two prompts each of two other tasks, half of 16 rows.
    assert "0 of 0 trainings, 8 of 8 cells;" in outcome.words and "at most 64 rows to score" in outcome.words
    assert "Best source of each target, by races" in outcome.stdout
    assert "With 95% confidence, for all targets together" in outcome.words
    found = json.loads(outcome.stdout.splitlines()[-1])
    races = found["races"]
    assert [race["target"] for race in races] == ["sst2", "rte"]
    assert all(0 < race["examples"] <= 0.5 * race["full"] == 32 for race in races)
    assert found["counts"]["partial"] == 8
    shown = succeeds("matrix", "show", tmp_path)
    assert "~8" in shown.stdout and "in no mean" in shown.words and "by races" in shown.stdout
    markdown = succeeds("matrix", "show", tmp_path, "--format", "markdown").stdout
    assert all(f"| {race['verdict']} |" in markdown for race in races) and "~8" in markdown
    succeeds("matrix", "show", tmp_path, "--figure", tmp_path / "heat.png")


@pytest.mark.parametrize("more", [(), ("--budget", "0.5")])
def test_a_command_prints_its_own_matrix_where_another_asked_for_more_meanwhile(
    options, matrix, tmp_path, monkeypatch, more
):
    shutil.copytree(matrix, tmp_path / "m")
    mine = tmp_path / "m" / "matrix.json"
    line = (
        "matrix", *options, "--tasks", "rte", "--prompts", matrix / "prompts", "--output", tmp_path / "m",
        "--json", *more,
    )  # fmt: skip
    alone = succeeds(*line)
    own_save = Plan.save

    def saved_before_another(plan, folder, made_by, verdicts=()):
        own_save(plan, folder, made_by, verdicts)
        shutil.copy(matrix / "matrix.json", mine)

    monkeypatch.setattr(Plan, "save", saved_before_another)
    beside = succeeds(*line)
    found, expected = (json.loads(each.stdout.splitlines()[-1]) for each in (beside, alone))
    assert found["tasks"] == ["rte"]
    for part in ("tasks", "table", "over_seeds", "races"):
        assert found[part] == expected[part]
    assert "Another command asked for another matrix" in beside.words
    assert "Another command" not in alone.words
    assert "sst2" in succeeds("matrix", "show", tmp_path / "m").stdout


def test_the_cost_of_races_is_a_bound(options, matrix, tmp_path):
    outcome = succeeds(
        "matrix", *options, "--tasks", "sst2,rte", "--prompts", matrix / "prompts", "--budget", "0.25",
        "--output", tmp_path / "m", "--dry-run",
    )  # fmt: skip
    assert "at most 32 rows" in outcome.words and "At most about" in outcome.words


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--budget", "0"), ("--budget 0", "0.33")),
        (("--budget", "1.01"), ("--budget 1.01",)),
        (("--budget", "0.5", "--confidence", "0"), ("--confidence 0", "0.95")),
        (("--budget", "0.5", "--tolerance", "1"), ("--tolerance 1", "0.01")),
        (("--confidence", "0.9"), ("--budget",)),
        (("--budget", "0.5", "--train"), ("1 source", "a race needs two")),
    ],
)
def test_what_cannot_be_raced_is_refused(options, tmp_path, more, says):
    refuses("matrix", *options, "--tasks", "sst2,rte", *more, "--output", tmp_path / "m", says=says)
    assert not (tmp_path / "m").exists()


def test_indicators_are_held_against_the_matrix_and_its_own_prompts(matrix, tmp_path):
    out = succeeds(
        "indicators", "validate", "--matrix", matrix, "--by", "c_avg,on,loss", "--limit", "12",
        "--device", "cpu", "--figures", tmp_path, "--json",
    )  # fmt: skip
    pairs = out.json["pairs"]
    counts = {name: sum(pair["indicator"] == name for pair in pairs) for name in ("c_avg", "on", "loss")}
    assert counts == {"c_avg": 9, "on": 9, "loss": 6}, "a prompt has seen all rows of its own task"
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.png", "agreement.png"}
    refuses(
        "indicators", "validate", "--matrix", matrix, "--by", "loss", "--limit", "0", "--device", "cpu",
        says=("--limit must be at least 1",),
    )  # fmt: skip
