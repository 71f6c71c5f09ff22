"""What the embedded backbones are for: prompts that learn, and transfer, in seconds."""

from __future__ import annotations

import pytest

from prompt_hub.backbones import load_backbone
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.mini.backbones import MINI_BACKBONES
from prompt_hub.tasks import get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import TrainingResult, train_prompt


def trained(backbone, name: str, folder, **more) -> TrainingResult:
    settings = dict(prompt_len=16, max_steps=60, hold_out=0, seed=7, use_cpu=True, disable_tqdm=True)
    args = PromptTrainingArguments(output_dir=str(folder), **{**settings, **more})
    task = get_task(name)
    rows, validation = load_split(task, "train", limit=1000), load_split(task, "validation", limit=200)
    return train_prompt(backbone, task, rows, args, folder, validation=validation)


@pytest.fixture(scope="module")
def roberta():
    return load_backbone("mini-roberta", device="cpu")


@pytest.fixture(scope="module")
def film(roberta, tmp_path_factory) -> TrainingResult:
    return trained(roberta, "mini/film", tmp_path_factory.mktemp("film"))


@pytest.mark.parametrize("name", MINI_BACKBONES)
def test_a_prompt_learns_sentiment_that_the_backbone_does_not_give_by_itself(name, tmp_path):
    backbone = load_backbone(name, device="cpu")
    result = trained(backbone, "mini/film", tmp_path, max_steps=200, init="text")
    found = result.evaluation
    assert found.score >= 0.8, found
    floors = (found.floors[floor]["accuracy"] for floor in ("majority", "no_prompt", "random_prompt"))
    assert found.ci95["accuracy"][0] > max(floors), found


def test_it_works_untrained_on_another_task_of_its_type(roberta, film):
    kitchen = get_task("mini/kitchen")
    found = evaluate_stored(roberta, film.prompt, kitchen, load_split(kitchen, "validation", limit=200))
    assert found.ci95["accuracy"][0] > max(floor["accuracy"] for floor in found.floors.values()), found


def test_a_warm_start_is_ahead_after_five_steps(roberta, film, tmp_path):
    few = dict(max_steps=5)
    warm = trained(roberta, "mini/hotel", tmp_path / "warm", init=f"prompt:{film.folder}", **few)
    cold = trained(roberta, "mini/hotel", tmp_path / "cold", init="vocab", **few)
    assert warm.evaluation.ci95["accuracy"][0] > cold.evaluation.ci95["accuracy"][1]
