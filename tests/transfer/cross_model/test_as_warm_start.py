"""What a map or a distillation gives is a source of warm starts like any other prompt, in any length."""

from __future__ import annotations

import pytest
import torch
from test_distillation import settings

from prompt_hub.backbones import load_backbone
from prompt_hub.prompts.initialisers import initial_prompt
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split
from prompt_hub.tasks.splits import row_hashes
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.presets import instruction_for
from prompt_hub.transfer.cross_model.distilled import Distillation
from prompt_hub.transfer.cross_model.fit import fit_map
from prompt_hub.transfer.cross_model.lengths import resized
from prompt_hub.transfer.starts import Source
from prompt_hub.transfer.warm_starts import compare_starts

TASK = get_task("mini/film")


@pytest.fixture(scope="module")
def backbones():
    return load_backbone("mini-roberta"), load_backbone("mini-gpt2")


@pytest.fixture(scope="module")
def source(backbones) -> SoftPrompt:
    """Eight rows that ask the task's question; as if trained on the first training rows."""
    rows = initial_prompt(
        "text", backbones[0], 8, 1, text=instruction_for(TASK, backbones[0].family)
    )  # fmt: skip
    known = PromptMetadata(
        backbone=backbones[0].identity.to_dict(), task=TASK.name, layout="prompt-mask-text"
    )
    seen = load_split(TASK, "train", limit=30, seed=1)
    return SoftPrompt(rows, known, torch.from_numpy(row_hashes(seen.examples)))


def projected(backbones, source) -> SoftPrompt:
    return resized(fit_map(*backbones, "ridge").apply(source), 6)


def distilled(backbones, source) -> SoftPrompt:
    texts = load_split(TASK, "train", limit=20, seed=2)
    how = settings(steps=5, learning_rate=None)
    return Distillation.prepare(source, *backbones, TASK, texts, how, prompt_len=6).run()[0]


@pytest.mark.parametrize("made_by", [projected, distilled])
def test_it_is_compared_with_a_cold_start_in_its_own_length(made_by, backbones, source, tmp_path):
    prompt = made_by(backbones, source)
    place = prompt.save_pretrained(tmp_path / "source")
    args = PromptTrainingArguments(
        output_dir=str(tmp_path), max_steps=4, save_steps=2, per_device_train_batch_size=8, use_cpu=True,
        disable_tqdm=True, init="vocab",
    )  # fmt: skip
    train = load_split(TASK, "train", limit=90, seed=1)
    result = compare_starts(
        backbones[1], TASK, train, load_split(TASK, "validation", limit=40, seed=1), args, tmp_path / "out",
        source=Source.read(str(place)), seeds=(1,),
    )  # fmt: skip
    relation = {projected: "projected", distilled: "distilled"}[made_by]
    assert result["source"]["parent"]["relation"] == relation
    seen = set(prompt.train_rows.tolist()) & set(row_hashes(train.examples).tolist())
    assert len(seen) >= 30 and result["removed_overlap"]["train"] == len(seen)
    for start in ("cold", "warm", "untrained"):
        assert SoftPrompt.from_pretrained(tmp_path / "out" / "runs" / start / "seed-1").prompt_len == 6
    warm = SoftPrompt.from_pretrained(tmp_path / "out" / "runs" / "warm" / "seed-1")
    assert torch.equal(warm.initial, prompt.embeddings)
    assert warm.metadata.parent == {"relation": "warm-start", "hash": prompt.hash, "task": TASK.name}
    curves = {run["start"]: run["curves"]["score"]["values"] for run in result["runs"]}
    assert curves["warm"][0] > curves["cold"][0]
    # Where the map's result is at the cold run's best before its first step, its speed-up is a bound.
    speed_up = result["starts"]["warm"]["speed_up"]["score"]["comparable"]
    assert set(speed_up["by_seed"][0]) >= {"ratio", "bound", "steps"}
