"""Arrays that the paper's own code computed on tiny models, and backbones on the models it used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import RobertaForMaskedLM, T5ForConditionalGeneration

from prompt_hub.backbones import Batch, Placement
from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.backbones.seq2seq_lm import Seq2SeqLM

TOLERANCE = 2e-4
"""Absolute, for scores, losses and gradients in float32."""

PROMPT_LEN = 100
PLACEMENT = Placement(mask_in_prompt_row=True, prompt_positions="none")

TASKS = {
    "SST2": "sst2",
    "tweetevalsentiment": "tweeteval_sentiment",
    "laptop": "semeval14_laptop",
    "MNLI": "mnli",
    "QNLI": "qnli",
    "QQP": "qqp",
    "ethicsdeontology": "ethics_deontology",
}
"""The original's names of the tasks in the arrays, and the registry's."""


class LookUp:
    """A tokenizer that knows the ids of the given texts and nothing else."""

    def __init__(self, known: dict[str, list[int]], **special: int) -> None:
        self.known = known
        for name, token_id in {"pad_token_id": 0, "unk_token_id": None, **special}.items():
            setattr(self, name, token_id)

    def __call__(self, text: str | list[str], add_special_tokens: bool = True) -> dict[str, Any]:
        assert not add_special_tokens
        if isinstance(text, str):
            return {"input_ids": list(self.known[text])}
        return {"input_ids": [list(self.known[each]) for each in text]}


def roberta_tokenizer(known: dict[str, list[int]] | None = None) -> LookUp:
    special = dict(pad_token_id=1, cls_token_id=0, sep_token_id=2, eos_token_id=2, mask_token_id=50264)
    return LookUp(known or {}, **special)


class Oracle:
    """arrays: by name. meta: label ids, texts. backbone: on the model that the arrays were computed with."""

    def __init__(self, shared: Path, kind: str, known: dict[str, list[int]] | None = None) -> None:
        folder = shared / "paper" / "oracle" / kind
        self.arrays = {name: torch.as_tensor(value) for name, value in np.load(folder / "oracle.npz").items()}
        self.meta = json.loads((folder / "meta.json").read_text())
        self.backbone: MaskedLM | Seq2SeqLM
        # The original's own attention: five steps of AdamW blow up the rounding of another one where the
        # gradient is small (by 3e-4 in one of 3,200 coordinates).
        eager: Any = {"attn_implementation": "eager"}
        if kind == "roberta":
            model = RobertaForMaskedLM.from_pretrained(folder / "model", **eager)
            self.backbone = MaskedLM(kind, model, roberta_tokenizer(known))
        else:
            model = T5ForConditionalGeneration.from_pretrained(folder / "model", **eager)
            self.backbone = Seq2SeqLM(kind, model, LookUp(known or {}, eos_token_id=1))

    def label_ids(self, task: str) -> list[list[int]]:
        return [[token] for token in self.meta["tasks"][task]["label_token_ids"]]

    def inputs(self, task: str = "") -> tuple[Tensor, Tensor]:
        """``[6, S]`` text ids without the prompt, and the mask of real tokens."""
        name = f"inputx_{task}" if f"inputx_{task}" in self.arrays else "inputx"
        ids = self.arrays[name][:, PROMPT_LEN:].long()
        pad = 1 if name == "inputx" else 0
        return ids, (ids != pad).long()

    def batch(self, task: str = "", labels: Tensor | None = None) -> Batch:
        ids, mask = self.inputs(task)
        return Batch(ids, mask, torch.zeros(len(ids), 1, dtype=torch.long), labels, PLACEMENT)


def close(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> bool:
    return torch.allclose(found, expected.to(found.dtype), atol=tolerance, rtol=0)
