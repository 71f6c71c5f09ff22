"""A matrix of real cells on tiny backbones: what is in them, and that each is computed once."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.grid import Grid
from prompt_hub.tasks import get_task, load_split
from prompt_hub.transfer import load_table, run_matrix
from prompt_hub.transfer.cost import estimate
from prompt_hub.transfer.matrix import fill, prepare_matrix

TASKS = ["sst2", "rotten_tomatoes", "rte"]
TRAINING = {"max_steps": 2, "prompt_len": 4, "hold_out": 0}


@pytest.fixture
def matrix(tiny_folder, data, prompts, tmp_path):
    """``matrix(tasks, ...)``: run a matrix of tiny GPT-2 into one folder."""

    def run(tasks: list[str], **options) -> pd.DataFrame:
        chosen = {"prompts": prompts, "data_dir": data, "device": "cpu", **options}
        return run_matrix(str(tiny_folder("gpt2")), tasks, tmp_path / "matrix", **chosen)

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "matrix"


def cell(table: pd.DataFrame, source: str, target: str, seed: int | None = None) -> dict:
    found = table[(table["source"] == source) & (table["target"] == target)]
    rows = found[found["seed"] == seed] if seed is not None else found
    assert len(rows) == 1
    return rows.to_dict("records")[0]


def finished(folder: Path, *kinds: str) -> dict[str, tuple[str, int]]:
    """When each item was finished, and how often it was begun."""
    with Grid.open(folder, create=False) as grid:
        return {done.key: (done.finished_at, done.begun) for done in grid.results(*kinds)}


def test_a_cell_holds_what_eval_finds_for_the_prompt_on_the_task(matrix, prompts, tiny, data):
    table = matrix(TASKS)
    for source in TASKS:
        prompt = SoftPrompt.from_pretrained(prompts / source)
        for target in TASKS:
            task = get_task(target)
            rows = load_split(task, "validation", data)
            expected = evaluate_stored(tiny("gpt2"), prompt, task, rows, seed=1)
            found = cell(table, source, target)
            assert found["score"] == pytest.approx(expected.score, abs=1e-6), (source, target)
            assert found["n"] == expected.n and found["overlap_removed"] == expected.removed_overlap
            assert found["prompt_hash"] == prompt.hash and found["status"] == "done"
            floors = {name: values["accuracy"] for name, values in expected.floors.items()}
            assert found["majority"] == pytest.approx(floors["majority"])
            assert found["no_prompt"] == pytest.approx(floors["no_prompt"], abs=1e-6)
            if source == target:
                assert found["random_prompt"] == pytest.approx(floors["random_prompt"], abs=1e-6)
                assert found["relative"] == 1 and found["own"] == found["score"]


def test_rows_that_the_source_was_trained_on_are_left_out_for_all_that_stands_beside_it(matrix):
    table = matrix(TASKS)
    found = cell(table, "sst2", "rotten_tomatoes")
    assert found["overlap_removed"] == 4 and found["n"] == 20
    assert cell(table, "rte", "rotten_tomatoes")["overlap_removed"] == 0
    own = cell(table, "rotten_tomatoes", "rotten_tomatoes")
    assert own["n"] == 24
    # The own prompt and the floors beside the cell are those on its 20 rows.
    assert found["own"] * 20 == pytest.approx(round(found["own"] * 20))
    assert found["no_prompt"] * 20 == pytest.approx(round(found["no_prompt"] * 20))
    assert found["relative"] == pytest.approx(found["score"] / found["own"])


def test_the_same_again_computes_nothing_and_one_task_more_its_row_and_column(matrix, folder):
    first = matrix(TASKS[:2], prompts=None, train=True, training=TRAINING)
    before = finished(folder)
    pd.testing.assert_frame_equal(first, matrix(TASKS[:2], prompts=None, train=True, training=TRAINING))
    assert finished(folder) == before
    matrix(TASKS, prompts=None, train=True, training=TRAINING)
    new = {kind: set(finished(folder, kind)) - set(before) for kind in ("cell", "train", "floor")}
    assert {kind: len(keys) for kind, keys in new.items()} == {"cell": 5, "train": 1, "floor": 2}
    assert {key: value for key, value in finished(folder).items() if key in before} == before


def test_trained_sources_are_kept_and_used_without_training_again(matrix, folder):
    with pytest.raises(UserError, match="--train"):
        matrix(TASKS[:2], prompts=None, training=TRAINING)
    table = matrix(TASKS[:2], prompts=None, train=True, seeds=(1, 2), training=TRAINING)
    assert len(table[table["kind"] == "prompt"]) == 8 and set(table["status"]) == {"done"}
    pd.testing.assert_frame_equal(table, matrix(TASKS[:2], prompts=None, seeds=(1, 2), training=TRAINING))
    hashes = set(table["prompt_hash"].dropna())
    stored = {SoftPrompt.from_pretrained(path.parent).hash for path in folder.rglob("prompt_hub.json")}
    assert hashes == stored and len(hashes) == 4
    with pytest.raises(UserError, match=r"seed 3"):
        matrix(TASKS[:2], prompts=None, seeds=(1, 3), training=TRAINING)


def test_over_seeds_a_cell_is_the_mean_and_its_interval_holds_both_scores(matrix, folder):
    single = matrix(TASKS[:2], prompts=None, train=True, seeds=(1, 2), training={**TRAINING, "max_steps": 8})
    means = load_table(folder, over_seeds=True)
    for source in TASKS[:2]:
        for target in TASKS[:2]:
            rows = [cell(single, source, target, seed) for seed in (1, 2)]
            mean = cell(means, source, target)
            assert mean["score"] == pytest.approx(np.mean([row["score"] for row in rows]))
            assert mean["seeds"] == 2 and mean["low"] <= min(row["score"] for row in rows)
            assert mean["high"] >= max(row["score"] for row in rows)
            assert mean["low"] <= min(row["low"] for row in rows) + 0.05
    assert len(means[means["source"] == "random_prompt"]) == 2


def test_an_exchanged_or_vanished_prompt_is_not_mixed_with_finished_cells(matrix, folder, make_prompt):
    matrix(TASKS[:1], prompts=None, train=True, training=TRAINING)
    place = next(folder.rglob("prompt_hub.json")).parent
    make_prompt("gpt2", "sst2").save_pretrained(place)
    with pytest.raises(UserError, match="not the one that was trained"):
        matrix(TASKS, prompts=None, train=True, training=TRAINING)
    shutil.rmtree(place)
    with pytest.raises(UserError, match="gone"):
        matrix(TASKS, prompts=None, train=True, training=TRAINING)


def test_a_cell_that_fails_is_stored_with_its_error_and_stops_nothing(matrix, prompts, make_prompt):
    long = make_prompt("gpt2", "rte", prompt_len=95)
    long.save_pretrained(prompts / "rte")
    table = matrix(TASKS)
    failed = table[table["status"] == "failed"]
    assert set(failed["source"]) == {"rte", "random_prompt"} and failed["score"].isna().all()
    assert all("no room" in error for error in failed["error"])
    assert len(failed) == 4 and len(table[table["status"] == "done"]) == 6 + 3 + 3 + 2


def test_a_training_that_fails_names_itself_in_its_cells_and_the_others_go_on(matrix):
    table = matrix(
        TASKS, prompts=None, train=True, training={**TRAINING, "learning_rate": 1e30, "max_grad_norm": 0.0}
    )
    failed = table[(table["kind"] == "prompt")]
    assert set(failed["status"]) == {"failed"}
    assert all("diverged" in error for error in failed["error"])
    assert set(table[table["source"].isin(["majority", "no_prompt"])]["status"]) == {"done"}


def test_metrics_that_are_no_mean_over_rows_have_intervals_and_gains_too(matrix, prompts, make_prompt):
    for task in ("cola", "stsb"):
        make_prompt("gpt2", task).save_pretrained(prompts / task)
    table = matrix(["cola", "stsb"])
    for target, metric in (("cola", "matthews"), ("stsb", "pearson")):
        found = cell(table, "sst2", target)
        assert found["metric"] == metric and found["low"] <= found["score"] <= found["high"]
        assert found["gain_low"] <= found["gain"] <= found["gain_high"]
        assert cell(table, "majority", target)["score"] == 0


def test_prompts_of_classification_can_be_used_where_text_is_generated(matrix):
    table = matrix(["sst2", "squad"])
    found = cell(table, "sst2", "squad")
    assert found["metric"] == "exact_match" and found["status"] == "done"
    assert found["own"] != found["own"], "squad has no prompt of its own here"
    assert "majority" not in set(table[table["target"] == "squad"]["source"])


@pytest.mark.parametrize("kind", ["roberta", "t5"])
def test_prompts_of_the_papers_layout_are_used_under_it(
    kind, tiny, tiny_folder, data, make_prompt, tmp_path, folder
):
    prompts = tmp_path / "paper"
    for task in ("sst2", "rte"):
        make_prompt(kind, task, layout="paper").save_pretrained(prompts / task)
    make_prompt(kind, "sst2", seed=2).save_pretrained(prompts / "another layout")
    table = run_matrix(
        str(tiny_folder(kind)), ["sst2", "rte"], folder, prompts=prompts, data_dir=data, layout="paper",
        device="cpu",
    )  # fmt: skip
    assert set(table["status"]) == {"done"} and set(table["seed"].dropna()) == {1}
    prompt = SoftPrompt.from_pretrained(prompts / "sst2")
    rows = load_split(get_task("rte"), "validation", data)
    expected = evaluate_stored(tiny(kind), prompt, get_task("rte"), rows, seed=1)
    found = cell(table, "sst2", "rte")
    assert found["score"] == pytest.approx(expected.score, abs=1e-6)
    assert found["no_prompt"] == pytest.approx(expected.floors["no_prompt"]["accuracy"], abs=1e-6)


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra 'ray')")
@pytest.mark.slow
def test_on_ray_the_table_is_that_of_this_machine(matrix, folder):
    options = {"prompts": None, "train": True, "training": TRAINING}
    here = matrix(TASKS[:2], **options)
    shutil.rmtree(folder)
    there = matrix(TASKS[:2], **options, executor="ray", jobs=2)
    pd.testing.assert_frame_equal(here.drop(columns="seconds"), there.drop(columns="seconds"))


def test_the_cost_counts_what_is_open_and_writes_nothing(tiny_folder, data, prompts, tmp_path, folder):
    options = {"data_dir": data, "device": "cpu", "training": TRAINING, "seeds": (1, 2), "train": True}
    planned = prepare_matrix(str(tiny_folder("gpt2")), TASKS, folder, **options)
    cost = estimate(planned)
    assert (cost.trainings, cost.cells, cost.floors) == (6, 18, 9)
    assert cost.rows == 27 * 24 and cost.steps == 12
    assert cost.seconds > 0 and cost.probe_seconds < 20
    assert not folder.exists()
    run_matrix(str(tiny_folder("gpt2")), TASKS[:2], folder, **options)
    planned = prepare_matrix(str(tiny_folder("gpt2")), TASKS, folder, **options)
    cost = estimate(planned)
    assert (cost.trainings, cost.cells, cost.floors) == (2, 10, 3) and cost.all_cells == 18


def test_nothing_left_to_do_costs_nothing_and_times_nothing(tiny_folder, data, prompts, matrix, folder):
    matrix(TASKS[:1])
    options = {"data_dir": data, "device": "cpu", "prompts": prompts}
    cost = estimate(prepare_matrix(str(tiny_folder("gpt2")), TASKS[:1], folder, **options))
    assert cost.cells == 0 and cost.seconds is None and cost.all_cells == 3


def test_rows_that_changed_since_planning_are_not_scored_and_what_failed_waits_to_be_asked_for(
    tiny_folder, data, prompts, tmp_path, folder, matrix
):
    own = tmp_path / "own"
    shutil.copytree(data, own)
    backbone, tasks = str(tiny_folder("gpt2")), ["sst2", "rte"]
    planned = prepare_matrix(backbone, tasks, folder, data_dir=own, prompts=prompts, device="cpu")
    rows = own / "rte" / "validation.jsonl"
    whole = rows.read_text()
    rows.write_text(json.dumps({"text_a": "a", "text_b": "b", "label": 1}))
    fill(planned)
    table = load_table(folder)
    on_rte = table[(table["target"] == "rte") & (table["source"] != "majority")]
    assert set(on_rte["status"]) == {"failed"} and all("changed" in error for error in on_rte["error"])
    assert set(table[table["target"] == "sst2"]["status"]) == {"done"}
    rows.write_text(whole)
    assert "failed" in set(matrix(tasks, data_dir=own)["status"])
    assert set(matrix(tasks, data_dir=own, retry_failed=True)["status"]) == {"done"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train": True}, "--train makes the prompts"),
        ({"jobs": 0}, "jobs"),
        ({"executor": "there"}, "executor"),
        ({"prompts": Path("/nowhere")}, "nowhere"),
        ({"data_dir": Path("/nowhere")}, "nowhere"),
    ],
)
def test_bad_options_are_refused(matrix, options, says):
    with pytest.raises(UserError, match=says):
        matrix(TASKS, **options)


def test_a_folder_of_other_files_is_left_alone(matrix, folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="other files"):
        matrix(TASKS)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_folders_place_is_refused(matrix, folder):
    folder.write_text("precious")
    with pytest.raises(UserError, match="is a file"):
        matrix(TASKS)
