"""``prompt-hub indicators``: the figures of the library, from files, as tables or JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from command import refuses, succeeds

from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def npz(tmp_path):
    chooser = np.random.default_rng(0)
    path = tmp_path / "prompts.npz"
    np.savez(path, **{name: chooser.normal(size=(5, 4)).astype(np.float32) for name in NAMES})
    return path


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.csv"
    values = np.random.default_rng(1).uniform(size=(4, 4))
    pd.DataFrame(values, index=list(NAMES), columns=list(NAMES)).to_csv(path)
    return path


def test_ls_says_what_each_indicator_needs():
    found = succeeds("indicators", "ls", "--json").json["indicators"]
    assert {"e_concat", "e_avg", "c_concat", "c_avg"} <= {each["name"] for each in found}
    assert next(each for each in found if each["name"] == "c_avg")["needs"] == ["target prompt"]
    assert "c_avg" in succeeds("indicators", "ls").stdout


def test_compare_writes_a_csv_an_indicator_and_prints_the_same_numbers(npz, tmp_path):
    line = ("indicators", "compare", "--prompts", npz)
    out = succeeds(*line, "--by", "c_avg,e_avg", "--output", tmp_path / "m")
    written = pd.read_csv(tmp_path / "m" / "c_avg.csv", index_col=0)
    assert list(written.index) == list(written.columns) == list(NAMES)
    assert f"{written.loc['b', 'a']:.4f}" in out.stdout and (tmp_path / "m" / "e_avg.csv").exists()
    pairs = succeeds(*line, "--by", "c_avg", "--json").json["pairs"]
    assert {(pair["target"], pair["source"]): pair["value"] for pair in pairs}["b", "a"] == pytest.approx(
        written.loc["b", "a"]
    )


def test_a_folder_of_prompts_is_compared_under_the_names_of_its_folders(tmp_path):
    for name in ("first", "deep/second"):
        rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(len(name)))
        SoftPrompt(rows, PromptMetadata()).save_pretrained(tmp_path / "runs" / name)
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "prompt_hub.json").write_text("{}")
    out = succeeds("indicators", "compare", "--prompts", tmp_path / "runs", "--by", "c_avg", "--json")
    assert {pair["target"] for pair in out.json["pairs"]} == {"first", "deep/second"}
    assert "torn was left out" in out.words


def test_validate_prints_correlations_and_regret_and_stores_every_figure(npz, scores, tmp_path):
    line = ("indicators", "validate", "--prompts", npz, "--scores", scores)
    out = succeeds(*line, "--output", tmp_path / "figures.csv")
    for words in ("per-target", "per-source", "global-relative", "regret@3", "by lot"):
        assert words in out.stdout
    stored = pd.read_csv(tmp_path / "figures.csv")
    assert {"indicator", "statistic", "protocol", "with_self", "value", "low", "high", "n"} <= set(stored)
    assert len(succeeds(*line, "--json").json["figures"]) == len(stored)


def test_validate_writes_a_document_and_json_and_draws_figures(npz, scores, tmp_path):
    line = ("indicators", "validate", "--prompts", npz, "--scores", scores)
    succeeds(*line, "--output", tmp_path / "found.md", "--figures", tmp_path / "drawn")
    text = (tmp_path / "found.md").read_text()
    for words in (
        "Spearman x 100",
        "Kendall's tau-b",
        "share of renamings",
        "| c_avg | regret@1 |",
        "ms a pair",
    ):
        assert words in text
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"pairs.png", "agreement.png"}
    succeeds(*line, "--output", tmp_path / "found.json")
    stored = json.loads((tmp_path / "found.json").read_text())
    assert len(stored["pairs"]) == 4 * 16 and {"value", "score", "same_task"} <= set(stored["pairs"][0])
    refuses(*line, "--output", tmp_path / "found.txt", says=("must end in .csv, .md, .json",))
    succeeds(*line, "--output", tmp_path / "found.json")
    (tmp_path / "train.json").write_text('{"kind": "train"}')
    refuses(*line, "--output", tmp_path / "train.json", says=("train.json", "no validation wrote it"))
    refuses(*line, "--output", scores, says=("is the file of the scores",))


def test_compare_runs_the_backbone_where_an_indicator_needs_it(tiny_folder, tmp_path):
    path = tmp_path / "wide.npz"
    chooser = np.random.default_rng(0)
    np.savez(path, **{name: chooser.normal(size=(4, 32)).astype(np.float32) for name in "ab"})
    line = ("indicators", "compare", "--prompts", path, "--backbone", tiny_folder("gpt2"), "--by")
    pairs = succeeds(*line, "on", "--json").json["pairs"]
    assert [pair["value"] for pair in pairs] == pytest.approx([1, pairs[1]["value"], pairs[1]["value"], 1])
    assert 0 < pairs[1]["value"] < 1
    refuses(*line, "logme", says=("needs labelled rows of every target", "indicators validate"))


def test_scores_without_prompts_are_refused(scores):
    refuses("indicators", "validate", "--matrix", scores, says=("holds scores only", "--prompts"))


def test_prompts_can_be_left_out_by_name(npz, scores):
    line = ("indicators", "validate", "--prompts", npz, "--scores", scores, "--by", "c_avg", "--json")
    counts = [
        next(
            row["n"] for row in succeeds(*line, *more).json["figures"]
            if row["protocol"] == "global" and row["with_self"]
        )
        for more in ((), ("--without", "d"))
    ]  # fmt: skip
    assert counts == [16, 9]
    refuses(*line, "--without", "e", says=("Unknown prompt in --without 'e'", "a, b, c, d"))


def test_a_layout_that_the_file_does_not_say_leaves_out_the_dead_row(npz):
    line = ("indicators", "compare", "--prompts", npz, "--by", "e_concat", "--json")
    paper = (*line, "--layout", "paper", "--family", "masked_lm")
    plain, live, everything = (
        succeeds(*each).json["pairs"][1]["value"] for each in (line, paper, (*paper, "--rows", "all"))
    )
    assert plain == everything != live


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--by", "c_awg"), ("Unknown indicator 'c_awg'", "c_avg")),
        (("--rows", "some"), ("Unknown choice of --rows 'some'", "all, live")),
        (("--layout", "papers"), ("Unknown layout 'papers'",)),
        (("--family", "bert"), ("Unknown family 'bert'",)),
        (("--without", "a,b,c"), ("holds 1 usable prompt(s)",)),
        (("--by", ","), ("No indicator is named",)),
    ],
)
def test_what_cannot_be_done_is_refused(npz, more, says):
    refuses("indicators", "compare", "--prompts", npz, *more, says=says)


def test_a_place_without_prompts_is_refused(tmp_path, scores):
    refuses("indicators", "compare", "--prompts", tmp_path / "no", says=("There is nothing at",))
    refuses("indicators", "compare", "--prompts", tmp_path, says=("holds no prompt",))
    refuses("indicators", "compare", "--prompts", scores, says=("no format that is read here",))
