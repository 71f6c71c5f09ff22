"""Prompts that are one vector are found, whatever projector, folder or name they come from."""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.transfer.cross_model.collapse import compare

SENTIMENT = ["IMDB", "SST2", "laptop", "restaurant", "movierationales", "tweetevalsentiment"]
NLI = ["MNLI", "QNLI", "snli"]


def rows(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (6, 8)), generator=torch.Generator().manual_seed(seed))


def prompt(values: torch.Tensor, **known) -> SoftPrompt:
    return SoftPrompt(values, PromptMetadata(**known))


def projected(values: torch.Tensor, task: str) -> SoftPrompt:
    return prompt(values, task=task, parent={"relation": "projected"})


def released(folder: Path, constants: dict[str, torch.Tensor]) -> Path:
    """Files as the paper's, for nine tasks: two vectors and rounding, as in those of T5 to RoBERTa."""
    for index, task in enumerate([*SENTIMENT, *NLI]):
        kind = "sentiment" if task in SENTIMENT else "nli"
        place = folder / f"{task}Prompt_cross_model_T5_to_Roberta"
        place.mkdir(parents=True)
        torch.save(constants[kind] * (1 + 3e-5 * rows(index)), place / "task_prompt")
    own = folder / "SST2PromptRoberta"
    own.mkdir()
    torch.save(rows(70), own / "task_prompt")
    return folder


def test_a_projector_that_gives_two_vectors_for_nine_tasks_is_found(tmp_path):
    folder = released(tmp_path, {"sentiment": rows(50), "nli": rows(51)})
    groups = compare(load_prompts(folder).prompts).groups
    assert [len(group.names) for group in groups] == [6, 3]
    assert all(group.is_collapse and group.lowest_cosine > 0.999999 for group in groups)
    assert groups[1].tasks == ["mnli", "qnli", "snli"] and groups[1].largest_distance < 2e-4


def test_a_projector_that_answers_its_input_has_not_collapsed():
    common = rows(50)
    made = {str(seed): projected(common + 0.05 * rows(seed), str(seed)) for seed in range(3)}
    found = compare(made)
    assert found.groups == [] and float(found.cosine.min()) > 0.99


def test_copies_of_a_prompt_are_alike_but_no_collapse():
    first = rows(1)
    found = compare({"a": prompt(first, task="sst2"), "b": prompt(first, task="sst2"), "c": prompt(rows(2))})
    assert found.groups[0].names == ["a", "b"] and not found.groups[0].is_collapse


def test_rows_that_never_reach_the_model_do_not_count():
    known = dict(backbone={"family": "masked_lm"}, layout="paper")
    first, second = rows(1), rows(1)
    second[0] = 100.0
    assert len(compare({"a": prompt(first, **known), "b": prompt(second, **known)}).groups) == 1
    assert len(compare({"a": prompt(first, **known), "b": prompt(second)}).groups) == 1
    assert compare({"a": prompt(first), "b": prompt(second)}).groups == []


def test_distance_tells_a_longer_vector_from_the_same_one():
    found = compare({"a": prompt(rows(1)), "b": prompt(2 * rows(1))})
    assert found.groups[0].lowest_cosine == pytest.approx(1)
    assert found.groups[0].largest_distance == pytest.approx(0.5)


def test_prompts_of_other_shapes_are_not_compared():
    found = compare({"a": prompt(rows(1)), "b": prompt(rows(1, 6, 4))})
    assert math.isnan(float(found.cosine[0, 1])) and found.groups == []


def test_one_prompt_or_an_impossible_cosine_is_refused():
    with pytest.raises(UserError, match="at least two"):
        compare({"a": prompt(rows(1))})
    with pytest.raises(UserError, match="at most 1, not 2"):
        compare({"a": prompt(rows(1)), "b": prompt(rows(2))}, same_cosine=2)


def test_the_released_files_that_are_here_are_read_as_they_were_released_and_differ(shared):
    """One output of each projector is here: alone it can be like no other. That the file is the paper's is
    told by its hash; that all nine are two vectors shows in the norms of the manifest only.
    """
    folder = shared / "paper" / "original_prompts"
    with (shared / "paper" / "prompts_manifest.csv").open() as file:
        manifest = {row["name"]: row for row in csv.DictReader(file)}
    for file in folder.glob("*/task_prompt"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == manifest[file.parent.name]["sha256"]
    prompts = load_prompts(folder).prompts
    assert {"laptopPrompt_cross_model_T5_to_Roberta", "MNLIPromptRoberta_proj"} <= set(prompts)
    assert compare(prompts).groups == []
    norms = {
        task: float(manifest[f"{task}Prompt_cross_model_T5_to_Roberta"]["fro_norm"])
        for task in SENTIMENT + NLI
    }
    assert {norms[task] for task in SENTIMENT} == {371.103}
    assert max(norms[task] for task in NLI) < 1.0002 * min(norms[task] for task in NLI)
