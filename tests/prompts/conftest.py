from __future__ import annotations

from typing import Any

import pytest
import torch

from prompt_hub.backbones.base import BackboneIdentity
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt

IDENTITY = BackboneIdentity("tiny/gpt2", None, "causal_lm", "gpt2", 32, "e" * 16, "f" * 16)


@pytest.fixture
def identity() -> BackboneIdentity:
    return IDENTITY


@pytest.fixture
def make_prompt() -> Any:
    def make(prompt_len: int = 5, hidden: int = 32, seed: int = 0, **facts: Any) -> SoftPrompt:
        values = torch.randn(prompt_len, hidden, generator=torch.Generator().manual_seed(seed))
        rows, initial = facts.pop("train_rows", None), facts.pop("initial", None)
        facts = {"backbone": IDENTITY.to_dict(), "task": "sst2", "layout": "prompt-text", **facts}
        return SoftPrompt(values, PromptMetadata(**facts), rows, initial)

    return make
