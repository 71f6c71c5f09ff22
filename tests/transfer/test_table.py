"""The tidy table, its summary and its views, from answers that are known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_up import ROWS, made_up_plan, right, store

from prompt_hub.reports.tables import latex_table, latex_text, markdown_table
from prompt_hub.runs.grid import Grid
from prompt_hub.transfer import best_sources, load_table, summary
from prompt_hub.transfer.document import Document
from prompt_hub.transfer.view import view_of


def row(table, source, target, seed=None) -> dict:
    found = table[(table["source"] == source) & (table["target"] == target)]
    found = found if seed is None else found[found["seed"] == seed]
    assert len(found) == 1
    return found.to_dict("records")[0]


HALF = {("no_prompt", "sst2"): right((0, 200)), ("random_prompt", "sst2"): right((100, 300))}


def test_scores_relative_performance_and_floors_of_a_cell(tmp_path):
    scores = {**HALF, ("sst2", "sst2"): right((0, 320)), ("imdb", "sst2"): right((0, 240))}
    store(tmp_path, made_up_plan(), scores)
    found = row(load_table(tmp_path), "imdb", "sst2")
    assert (found["score"], found["own"], found["relative"]) == (0.6, 0.8, pytest.approx(0.75))
    assert (found["majority"], found["no_prompt"], found["random_prompt"]) == (0.6, 0.5, 0.5)
    assert found["low"] < 0.6 < found["high"] and found["high"] - found["low"] < 0.11
    assert found["relative_low"] < 0.75 < found["relative_high"]
    assert found["same_type"] is True and found["kind"] == "prompt" and found["seconds"] == 2
    floor = row(load_table(tmp_path), "random_prompt", "sst2")
    assert floor["kind"] == "floor" and floor["score"] == 0.5 and floor["relative"] == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("scores", "negative"),
    [
        # 12 rows worse and none better: sure, though the two intervals overlap.
        (right((0, 188)), True),
        # As many worse, but others better: not sure.
        (right((12, 200), (200, 208)), False),
        (right((0, 200)), False),
        (right((0, 230)), False),
    ],
)
def test_negative_transfer_is_below_the_floor_without_a_prompt_row_by_row(tmp_path, scores, negative):
    store(tmp_path, made_up_plan(), {**HALF, ("rte", "sst2"): scores})
    found = row(load_table(tmp_path), "rte", "sst2")
    assert found["negative"] is negative
    assert found["gain"] == pytest.approx(scores.mean() - 0.5)
    if negative:
        floor = row(load_table(tmp_path), "no_prompt", "sst2")
        assert found["high"] > floor["low"]


def test_beside_a_cell_with_rows_left_out_all_else_is_on_the_rows_that_remain(tmp_path):
    scores = {
        **HALF,
        ("imdb", "sst2"): right((0, 150), (200, 250)),
        ("sst2", "sst2"): right((0, 320)),
    }
    kept = np.arange(100, ROWS)
    store(tmp_path, made_up_plan(), scores, rows={("imdb", "sst2"): kept})
    found = row(load_table(tmp_path), "imdb", "sst2")
    assert (found["n"], found["overlap_removed"]) == (300, 100)
    assert found["score"] == pytest.approx(100 / 300)
    assert found["own"] == pytest.approx(220 / 300)
    assert found["no_prompt"] == pytest.approx(100 / 300) and found["random_prompt"] == pytest.approx(
        200 / 300
    )
    # 60 of the rows that remain are of the first class, 240 of the second.
    assert found["majority"] == pytest.approx(240 / 300)
    assert row(load_table(tmp_path), "sst2", "sst2")["own"] == 0.8


def test_over_seeds_the_mean_stands_and_seeds_that_differ_widen_its_interval(tmp_path):
    alike, apart = tmp_path / "alike", tmp_path / "apart"
    plan = made_up_plan(seeds=(1, 2, 3))
    store(alike, plan, {("imdb", "sst2"): right((0, 240))})
    store(
        apart, plan, {("imdb", "sst2", seed): right((0, end)) for seed, end in ((1, 80), (2, 240), (3, 400))}
    )
    narrow, wide = (row(load_table(folder, over_seeds=True), "imdb", "sst2") for folder in (alike, apart))
    assert narrow["score"] == wide["score"] == pytest.approx(0.6) and narrow["seeds"] == 3
    assert narrow["high"] - narrow["low"] < 0.12 < 0.4 < wide["high"] - wide["low"]
    single = row(load_table(apart), "imdb", "sst2", seed=2)
    assert single["score"] == pytest.approx(0.6) and single["high"] - single["low"] < 0.12


def test_a_source_of_another_seed_than_the_own_prompts_is_held_against_all_of_them(tmp_path):
    plan = made_up_plan(seeds=(1, 2))
    first, second, third, *others = plan.sources
    moved = (first, replace(second, seed=7), third, *others)
    scores = {("sst2", "sst2", 1): right((0, 400)), ("sst2", "sst2", 2): right((0, 240))}
    store(tmp_path, replace(plan, sources=moved), scores)
    table = load_table(tmp_path)
    assert row(table, "imdb", "sst2", 7)["own"] == pytest.approx(0.8)
    assert row(table, "imdb", "sst2", 2)["own"] == pytest.approx(0.6)
    assert row(table, "rte", "imdb", 1)["own"] == row(table, "imdb", "imdb", 7)["score"]


def test_what_failed_and_what_is_open_have_no_numbers(tmp_path):
    store(tmp_path, made_up_plan(seeds=(1, 2)), {}, failing={("rte", "sst2", 2): "no room"})
    table = load_table(tmp_path)
    failed = row(table, "rte", "sst2", 2)
    assert failed["status"] == "failed" and failed["error"] == "no room" and np.isnan(failed["score"])
    mean = row(load_table(tmp_path, over_seeds=True), "rte", "sst2")
    assert mean["status"] == "failed" and np.isnan(mean["score"]) and mean["seeds"] == 1
    assert row(table, "rte", "sst2", 1)["status"] == "done"


def test_a_matrix_of_which_nothing_is_computed_is_shown_too(tmp_path):
    plan = made_up_plan()
    # A task that generates text has no majority either.
    texts = replace(plan, targets=tuple(replace(target, references=None) for target in plan.targets))
    texts.save(tmp_path, {})
    with Grid.open(tmp_path) as grid:
        grid.add(texts.items())
    document = Document.of(tmp_path)
    assert set(document.table["status"]) == {"open"} and document.data()["counts"]["done"] == 0
    assert "..." in document.markdown() and "not computed yet" in "".join(document.notes)
    assert document.latex() and document.view.draw(tmp_path / "heat.png").is_file()


def test_the_summary_takes_means_by_type_and_leaves_out_own_prompts_and_failures(tmp_path):
    scores = {
        ("sst2", "sst2"): right((0, 320)),
        ("imdb", "sst2"): right((0, 240)),
        ("rte", "sst2"): right((0, 80)),
        ("imdb", "imdb"): right((0, 400)),
        ("sst2", "imdb"): right((0, 300)),
        ("rte", "imdb"): right((0, 100)),
        ("rte", "rte"): right((0, 160)),
        ("sst2", "rte"): right((0, 80)),
    }
    store(tmp_path, made_up_plan(), scores, failing={("imdb", "rte"): "gone"})
    found = summary(load_table(tmp_path)).set_index("group").to_dict("index")
    same, other = found["same type"], found["other type"]
    assert same["pairs"] == 2 and same["relative"] == pytest.approx((0.75 + 0.75) / 2)
    assert other["pairs"] == 3 and other["relative"] == pytest.approx((0.25 + 0.25 + 0.5) / 3)
    assert same["score"] == pytest.approx((0.6 + 0.75) / 2) and same["negative"] == 0
    assert other["negative"] == 3
    # rte's own prompt is below the majority class: it does not count there.
    assert same["pairs_above_majority"] == 2 and other["pairs_above_majority"] == 2
    assert same["above_majority"] == pytest.approx((0 + 0.15 / 0.4) / 2)
    assert same["relative_majority"] == pytest.approx((0.6 / 0.8 + 0.6) / 2)


def test_a_summary_has_a_row_a_group_and_seed(tmp_path):
    store(tmp_path, made_up_plan(seeds=(1, 2)), {})
    assert summary(load_table(tmp_path))["seed"].tolist() == [1, 1, 1, 2, 2, 2]
    assert summary(load_table(tmp_path, over_seeds=True))["seed"].isna().tolist() == [True] * 3


def test_of_custom_tasks_no_type_is_known(tmp_path):
    plan = made_up_plan()
    custom = tuple(replace(each, type="custom") if each.task == "imdb" else each for each in plan.sources)
    store(tmp_path, replace(plan, sources=custom), {})
    table = load_table(tmp_path)
    assert row(table, "imdb", "sst2")["same_type"] is None
    assert summary(table)["pairs"].tolist() == [1, 3, 2]


def test_the_best_source_of_a_target_is_another_tasks_prompt(tmp_path):
    scores = {
        ("sst2", "sst2"): right((0, 400)),
        ("imdb", "sst2"): right((0, 300)),
        ("rte", "sst2"): right((0, 320)),
    }
    store(tmp_path, made_up_plan(), scores)
    best = best_sources(load_table(tmp_path)).set_index("target").to_dict("index")["sst2"]
    assert (best["source"], best["second"], best["of"]) == ("rte", "imdb", 2)
    assert best["lead"] == pytest.approx(0.05) and best["relative"] == 0.8


def test_a_view_groups_by_type_marks_negative_transfer_and_shows_what_is_missing(tmp_path):
    plan = made_up_plan(("sst2", "rte", "imdb", "qnli"))
    scores = {**HALF, ("qnli", "sst2"): right((0, 100)), ("sst2", "sst2"): right((0, 400))}
    store(tmp_path, plan, scores, failing={("rte", "imdb"): "gone"})
    view = view_of(load_table(tmp_path, over_seeds=True))
    assert [name for name, _ in view.rows] == ["sst2", "imdb", "rte", "qnli"]
    assert [name for name, _, _ in view.columns] == ["sst2", "imdb", "rte", "qnli"]
    assert view.floors == ["majority", "no_prompt", "random_prompt"]
    head, rows = view.plain()
    assert head == ["prompt of", "1", "2", "3", "4"]
    assert rows[0][:2] == ["1 sst2", "[100]"] and rows[3][:2] == ["4 qnli", "25*"]
    assert rows[2][2] == "failed" and rows[5][0] == "no prompt"
    assert "**100 (100 to 100)**" in view.markdown() and "(n = 400)" in view.markdown()
    relative = view_of(load_table(tmp_path, over_seeds=True), relative=True)
    assert relative.plain()[1][3][1] == "25*"
    assert view.draw(tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")


def test_the_notes_name_every_failure_and_explain_the_signs_that_are_there(tmp_path):
    store(
        tmp_path, made_up_plan(), {**HALF, ("imdb", "sst2"): right((0, 100))},
        rows={("rte", "sst2"): np.arange(380)}, failing={("rte", "imdb"): "gone"},
    )  # fmt: skip
    notes = "\n".join(Document.of(tmp_path).notes)
    assert "negative transfer (1)" in notes and "rte on imdb: gone" in notes and "20 rows" in notes
    assert "not computed yet" not in notes


def test_markdown_and_latex_escape_what_is_theirs():
    assert markdown_table(["a|b"], [["c\nd"]]) == "| a\\|b |\n| --- |\n| c d |"
    assert latex_text("50% of a_b & {c}") == r"50\% of a\_b \& \{c\}"
    lines = latex_table(["x", "y"], [["a", "1"], ["b", "2"]], rules_above=[1]).splitlines()
    assert lines.count(r"\midrule") == 2 and lines[0] == r"\begin{tabular}{lr}"


def test_reading_a_matrix_takes_no_model_library(tmp_path):
    store(tmp_path, made_up_plan(), {})
    code = (
        "import sys; from prompt_hub.transfer import load_table, summary; "
        f"summary(load_table({str(tmp_path)!r})); assert not {{'torch', 'transformers'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
