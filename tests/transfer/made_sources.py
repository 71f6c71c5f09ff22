"""Folders of prompts for a tiny backbone, and a task with rows."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, Split, task_from_dict
from prompt_hub.tasks.splits import row_hashes
from tiny_models import WORDS


def make_task(name="tone", kind="classification", **more):
    return task_from_dict(
        {
            "name": name, "kind": kind, "classes": ["zero", "one"], "type": "sentiment",
            "templates": {"masked_lm": "{mask} {text_a}", "causal_lm": "{text_a} sentiment"},
            "label_words": {"default": ["bad", "good"]}, **more,
        }
    )  # fmt: skip


def make_rows(count=40, seed=0) -> list[Example]:
    chooser = random.Random(seed)
    return [Example(" ".join(chooser.choices(WORDS, k=9)), None, index % 2) for index in range(count)]


def make_split(count=40, seed=0) -> Split:
    return Split.of("train", make_rows(count, seed), "made up")


def make_prompt(
    backbone, task="films", seen=(), layout="prompt-mask-text", seed=0, known=True, rows=4, task_type=None
) -> SoftPrompt:
    tensor = 0.7 * torch.randn(rows, backbone.hidden, generator=torch.Generator().manual_seed(seed))
    metadata = PromptMetadata(
        backbone=backbone.identity.to_dict(), layout=layout, task=task, task_type=task_type
    )
    return SoftPrompt(tensor, metadata, torch.from_numpy(row_hashes(list(seen))) if known else None)


def store(folder: Path, **prompts: SoftPrompt) -> Path:
    for name, prompt in prompts.items():
        prompt.save_pretrained(folder / name)
    return folder
