"""Measured transfer is read from a table or from the folder of a matrix, without its floors."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_hub.errors import UserError
from prompt_hub.indicators import validate
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.transfer import load_table, rank, run_matrix
from prompt_hub.transfer.measured import measured_scores

TASKS = ["sst2", "rotten_tomatoes", "rte"]


@pytest.fixture
def matrix(tiny_folder, data, prompts, tmp_path):
    run_matrix(
        str(tiny_folder("gpt2")), TASKS, tmp_path / "matrix", prompts=prompts, data_dir=data, device="cpu"
    )
    return tmp_path / "matrix"


def test_a_matrix_is_read_from_its_folder_and_from_the_csv_of_its_table(matrix, tmp_path):
    table, scores = load_table(matrix), measured_scores(matrix)
    assert sorted(scores.columns) == sorted(scores.index) == sorted(TASKS)
    for row in table[table["kind"] == "prompt"].to_dict("records"):
        assert scores.loc[row["target"], row["source_task"]] == row["score"]
    table.to_csv(tmp_path / "table.csv", index=False)
    np.testing.assert_allclose(
        measured_scores(tmp_path / "table.csv").loc[scores.index, scores.columns], scores
    )


def test_indicators_and_rankings_are_held_against_it(matrix, prompts, tiny, data):
    found = validate(load_prompts(prompts).prompts, measured_scores(matrix), ["c_avg"], draws=5)
    pooled = found[(found["protocol"] == "global") & (found["statistic"] == "kendall")]
    assert pooled["n"].tolist() == [9, 6]
    table = rank("sst2", prompts, backbone=tiny("gpt2"), data_dir=data, limit=20, matrix=matrix)
    warnings = " ".join(table.attrs["warnings"])
    assert table.attrs["trust"] is None and "share 2 targets and 2 sources" in warnings


def test_the_papers_random_column_is_no_source(tmp_path):
    (tmp_path / "scores.csv").write_text("target,SST2,MNLI,random\nSST2,90,50,49\nMNLI,40,80,33\n")
    assert list(measured_scores(tmp_path / "scores.csv").columns) == ["sst2", "mnli"]


def test_a_folder_without_a_matrix_is_refused(tmp_path):
    with pytest.raises(UserError, match="matrix"):
        measured_scores(tmp_path)
