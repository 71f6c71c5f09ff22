"""Prompts and tables of scores made for tests."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import torch

from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, Split
from tiny_models import WORDS


def prompt(rows, layout=None, family=None, task=None, task_type=None) -> SoftPrompt:
    backbone = {"name": "roberta-base", "family": family} if family else {}
    metadata = PromptMetadata(backbone=backbone, layout=layout, task=task, task_type=task_type)
    return SoftPrompt(torch.as_tensor(np.asarray(rows), dtype=torch.float32), metadata)


def random_prompts(names, rows=5, width=4, seed=0) -> dict[str, SoftPrompt]:
    chooser = np.random.default_rng(seed)
    return {name: prompt(chooser.normal(size=(rows, width)), task=name) for name in names}


def table(values, targets, sources=None) -> pd.DataFrame:
    return pd.DataFrame(
        np.asarray(values, float),
        index=pd.Index(list(targets), name="target"),
        columns=pd.Index(list(sources or targets), name="source"),
    )


def fitting_prompts(backbone, names, rows=4) -> dict[str, SoftPrompt]:
    """Random prompts that say they belong to ``backbone``, under the layout of its family."""
    layout = {"masked_lm": "prompt-mask-text"}.get(backbone.family, "prompt-text")
    return {
        name: SoftPrompt(
            0.7 * torch.randn(rows, backbone.hidden, generator=torch.Generator().manual_seed(seed)),
            PromptMetadata(backbone=backbone.identity.to_dict(), layout=layout, task=name),
        )
        for seed, name in enumerate(names)
    }


def made_rows(count, classes=2, seed=0) -> Split:
    chooser = random.Random(seed)
    texts = (" ".join(chooser.choices(WORDS, k=chooser.randint(3, 9))) for _ in range(count))
    return Split.of("train", [Example(text, None, n % classes) for n, text in enumerate(texts)], "made up")
