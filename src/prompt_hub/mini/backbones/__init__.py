"""Small pretrained backbones, one ordinary Hugging Face folder each beside this file."""

from __future__ import annotations

from pathlib import Path

MINI_BACKBONES = {
    "mini-roberta": "masked LM, hidden 128",
    "mini-bert": "masked LM, hidden 96",
    "mini-gpt2": "causal LM, hidden 112",
    "mini-t5": "sequence-to-sequence LM (gated, v1.1), hidden 80",
}
"""Name to description; how they were pretrained stands in ``pretraining/README.md``."""


def mini_backbone(name: str) -> Path:
    """The folder of one of ``MINI_BACKBONES``."""
    return Path(__file__).parent / name
