"""Prompts and tables of scores made for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt


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
