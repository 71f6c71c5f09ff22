"""Small tasks in a data folder, and prompts that nobody trained, for tiny backbones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prompt_hub.encoding.layouts import layout_for
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split, row_hashes

WORDS = "the film was good bad great awful plot actor scene story boring lovely people dog cat".split()
TASKS = ("sst2", "rotten_tomatoes", "rte")
VALIDATION_ROWS = 24


def sentence(chooser: random.Random) -> str:
    return " ".join(chooser.choices(WORDS, k=chooser.randint(3, 9)))


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Three tasks of 24 validation rows; four of rotten_tomatoes' are training rows of sst2."""
    chooser = random.Random(5)
    folder = tmp_path_factory.mktemp("data")
    made: dict[tuple[str, str], list[dict]] = {}
    for task in (*TASKS, "mrpc", "cola", "stsb", "squad"):
        for split, count in (("train", 40), ("validation", VALIDATION_ROWS)):
            pair = task in ("rte", "mrpc", "stsb")
            rows = [
                {
                    "text_a": sentence(chooser),
                    **({"text_b": sentence(chooser)} if pair else {}),
                    "label": chooser.random() * 5 if task == "stsb" else index % 2,
                }
                for index in range(count)
            ]
            if task == "squad":
                rows = [{"source": sentence(chooser), "target": "good film"} for _ in range(count)]
            made[task, split] = rows
    for index in range(4):
        made["rotten_tomatoes", "validation"][index]["text_a"] = made["sst2", "train"][index]["text_a"]
    for (task, split), rows in made.items():
        path = folder / task / f"{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="session")
def make_prompt(tiny, data) -> Callable[..., SoftPrompt]:
    """``make_prompt("gpt2", "sst2", seed=1)``: random rows that say they were trained on the task."""

    def make(
        kind: str, task: str | None, seed: int = 1, prompt_len: int = 4, layout: str | None = None
    ) -> SoftPrompt:
        backbone = tiny(kind)
        generator = torch.Generator().manual_seed(seed * 1000 + sum(map(ord, task or "")))
        known = get_task(task) if task else None
        rows = torch.from_numpy(row_hashes(load_split(known, "train", data).examples)) if known else None
        metadata = PromptMetadata(
            backbone=backbone.identity.to_dict(),
            layout=layout_for(backbone.family, layout).name,
            task=task,
            task_type=known.type if known else None,
            task_definition=known.to_dict() if known else None,
            seed=seed,
        )
        return SoftPrompt(torch.randn(prompt_len, backbone.hidden, generator=generator) * 0.3, metadata, rows)

    return make


@pytest.fixture
def prompts(make_prompt, tmp_path) -> Path:
    """A folder with a prompt of tiny GPT-2 for each of the three tasks."""
    for task in TASKS:
        make_prompt("gpt2", task).save_pretrained(tmp_path / "prompts" / task)
    return tmp_path / "prompts"
