"""Every kind of record has its section, with the numbers of the record and what has to be said first."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from command import succeeds
from made_records import beside_controls, masking, projector, record, tour, training, warm_start, write

from prompt_hub.indicators import validate
from prompt_hub.overview.export import export
from prompt_hub.overview.page import report_page
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.reports.html.blocks import Figure, Table
from prompt_hub.runs.records import json_text


@pytest.fixture
def section(tmp_path):
    """The one section of what was written."""

    def get():
        [found] = report_page(tmp_path).sections
        assert found.title != "Records that could not be read", found.notices
        return found

    return get


def figure(section, name: str) -> Figure:
    return next(item for item in section.content if isinstance(item, Figure) and item.name == name)


def table(section, name: str) -> Table:
    return next(item for item in section.tables if item.name == name)


def kinds(section) -> dict[str, str]:
    return {notice.kind: notice.text for notice in section.notices}


def test_a_warm_start_with_curves_means_and_bounds(tmp_path, section):
    write(tmp_path / "w" / "warm_start.json", warm_start())
    found = section()
    score, loss = map(str, figure(found, "learning-curves").block.charts)
    # The means over the two seeds, and losses with their own sign.
    assert "cold label, mean, at 5: 0.650" in score and "warm label, mean, at 10: 0.825" in score
    assert "cold label, mean, at 10: 0.200" in loss
    assert table(found, "starts").rows[1] == ["warm", "0.825", "+0.050 (-0.010 to 0.110)"]
    assert table(found, "speed-up").rows[0][2] == ">= 2.50x (1 of 2 >=)"
    said = kinds(found)
    assert "hardly moved" in said["not learning"] and "cold label, seed 2" in said["not learning"]
    assert "7 train rows of sst2 left out" in said["overlap"] and "a word" in said["other"]


def test_a_comparison_that_was_cut_off_is_named(tmp_path, section):
    write(tmp_path / "w" / "warm_start.json", record("warm_start", {"task": "sst2"}, {}, status="running"))
    assert "not finished" in kinds(section())["unfinished"]


@pytest.mark.parametrize("ratios", [(0.1, 0.2), (0.2,)])
def test_masking_as_a_curve_or_as_intervals(tmp_path, section, ratios):
    write(tmp_path / "m" / "mask.json", masking(ratios))
    found = section()
    chart = str(figure(found, "masking").block.charts[0])
    assert ("top, at 0.2: 0.300" if len(ratios) > 1 else "top: 0.300 (0.200 to 0.400)") in chart
    assert ("Active under the prompt alone", "12 (12.0%)") in found.facts
    assert "3 rows of sst2 left out" in kinds(found)["overlap"]


def test_indicators_with_scatter_and_the_table_of_validate(tmp_path, section):
    chooser = np.random.default_rng(0)
    names = ["sst2", "imdb", "rte", "qnli"]
    backbone = {"name": "m", "revision": None, "family": "causal_lm", "model_type": "x", "hidden": 6,
                "embedding_hash": "e", "tokenizer_hash": "t"}  # fmt: skip
    prompts = {
        name: SoftPrompt(
            torch.from_numpy(chooser.normal(size=(3, 6)).astype(np.float32)),
            PromptMetadata(backbone=backbone, task=name),
        )
        for name in names
    }
    scores = pd.DataFrame(chooser.random((4, 4)), index=names, columns=names)
    result = validate(prompts, scores, ["c_avg"], draws=20, permutations=9)
    data = {"prompts": "p", "scores": "s", "figures": result.to_dict("records"), **result.attrs}
    (tmp_path / "validation.json").write_text(json_text({**data, "command": ["prompt-hub", "indicators"]}))
    found = section()
    chart = str(figure(found, "pairs").block.charts[0])
    assert chart.count("data-tip") == 16
    assert (
        f"imdb on rte: c_avg {_value(result, 'rte', 'imdb'):.4g}, score {scores.loc['rte', 'imdb']:.3f}"
        in chart
    )
    row = result[
        (result["statistic"] == "spearman") & (result["protocol"] == "per-target") & ~result["with_self"]
    ]
    shown = next(line for line in table(found, "indicators-1").rows if line[1] == "per-target")
    assert shown[3].startswith(f"{100 * row['value'].item():.1f} (")


def _value(result, target: str, source: str) -> float:
    return next(
        pair["value"]
        for pair in result.attrs["pairs"]
        if (pair["target"], pair["source"]) == (target, source)
    )


@pytest.mark.parametrize("matters", [True, False])
def test_a_projected_prompt_beside_its_controls(tmp_path, section, matters):
    write(tmp_path / "any name.json", beside_controls(matters))
    found = section()
    own, control, majority = table(found, "controls").rows
    assert str(own[1]) == "0.723 (0.630 to 0.810)" and majority[0] == "majority class"
    assert str(control[2]).startswith("+0.123 (") and control[3] is True
    assert ("ignored input" in kinds(found)) is not matters
    assert "4 rows" in kinds(found)["overlap"]


def test_a_projector_with_its_verdict_and_the_command_of_its_training(tmp_path, section):
    write(tmp_path / "p" / "map.json", projector())
    write(
        tmp_path / "p" / "project.json",
        record("project", {}, {}, ["prompt-hub", "project", "train", "-o", "p"]),
    )
    found = section()
    assert table(found, "projected").rows[0][3] == 0.7
    assert str(table(found, "gains").rows[0][4]) == "+0.010 (-0.100 to +0.120)"
    assert "ignores its input" in kinds(found)["ignored input"]
    assert found.command == "prompt-hub project train -o p"


def test_a_distillation_with_its_curve(tmp_path, section):
    settings = {"source_backbone": {"name": "a"}, "target_backbone": {"name": "b"}, "task": "sst2",
                "match": "answers", "n": 90, "steps": 20, "prompt_len": 4}  # fmt: skip
    result = {"curve": [[0, 0.9], [20, 0.25]], "constant": 0.5, "held_out": 10, **beside_controls(True)}
    write(tmp_path / "d" / "distil.json", record("distil", settings, result))
    found = section()
    assert "divergence, at 20: 0.250" in str(figure(found, "fit").block.charts[0])
    assert str(table(found, "controls").rows[0][1]) == "0.723 (0.630 to 0.810)"


def test_evaluations_are_one_table(tmp_path, section):
    result = training()["result"] | {"removed_overlap": 6}
    for name in ("a", "b"):
        settings = {"prompt": f"runs/{name}", "task": "sst2"}
        write(tmp_path / f"{name}.json", record("eval", settings, result))
    found = section()
    assert [row[0] for row in table(found, "evaluations").rows] == ["runs/a", "runs/b"]
    assert "6 rows of sst2 left out, since runs/b" in kinds(found)["overlap"]


def test_neurons_by_layer_and_as_a_map(tmp_path, section, tiny_folder):
    from prompt_hub.backbones import load_backbone
    from prompt_hub.neurons.capture import capture_prompt

    model = load_backbone(str(tiny_folder("bert")))
    for seed, name in enumerate("ab"):
        rows = torch.randn(4, model.hidden, generator=torch.Generator().manual_seed(seed))
        metadata = PromptMetadata(backbone=model.identity.to_dict(), layout="prompt-mask-text", task=name)
        SoftPrompt(rows, metadata).save_pretrained(tmp_path / "prompts" / name)
    places = [str(tmp_path / "prompts" / name) for name in "ab"]
    printed = succeeds(
        "neurons", "overlap", *places, "--output", tmp_path / "n.json", "--json", "--device", "cpu"
    ).json
    found = section()
    [pair] = printed["pairs"]
    chart = str(figure(found, "overlap").block.charts[0])
    assert f"b, at 0: {pair['measures']['on']['by_layer'][0]:.3f}" in chart
    assert table(found, "overlap").rows[0][2] == pair["measures"]["on"]["all"]
    shown = json.loads((tmp_path / "n.json").read_text())["result"]["map"]
    layers = capture_prompt(model, SoftPrompt.from_pretrained(places[0]).embeddings)["after"].numpy()
    expected = -np.sort(-layers, axis=1)
    assert np.allclose(np.array(shown["values"]["a"]).mean(1), expected.mean(1), atol=1e-5)
    tiles = layers.shape[0] * len(shown["values"]["a"][0])
    assert str(figure(found, "neurons").block.charts[0]).count("<rect") == tiles


def test_export_writes_every_format_with_the_same_numbers(tmp_path):
    tour(tmp_path / "t", "a_b", "news")
    page = report_page(tmp_path)
    files = {path.name: path for path in export(page, tmp_path / "out")}
    for name in ("transfer", "transfer-relative"):
        assert files[f"{name}.png"].read_bytes().startswith(b"\x89PNG")
        assert files[f"{name}.pdf"].read_bytes().startswith(b"%PDF")
        # Letters stay letters, so that they can be searched for and set in the font of the paper.
        assert ">news</text>" in files[f"{name}.svg"].read_text()
    with open(files["pairs.csv"], newline="") as lines:
        row = next(csv.DictReader(lines))
    assert (row["prompt of"], float(row["score (95%)"]), float(row["score (95%) low"])) == (
        "a_b",
        0.437,
        0.377,
    )
    assert json.loads(files["pairs.json"].read_text())["rows"][0]["n"] == 200
    assert r"a\_b & news & accuracy & 0.437 (0.377 to 0.487)" in files["pairs.tex"].read_text()
    assert "| a_b | news | accuracy | 0.437 (0.377 to 0.487) |" in files["pairs.md"].read_text()
