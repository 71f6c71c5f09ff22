"""Ways to train and evaluate a soft prompt on a frozen random-weight model, Prompt Hub among them.

Shape letters: ``P`` prompt length, ``H`` hidden width, ``B`` batch, ``S`` sequence, ``C`` classes,
``V`` vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from shapes import CPU, LABEL_IDS, SPECIAL, Place, Rows, Shape, frozen_model, initial_prompt
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.backbones.causal_lm import CausalLM
from prompt_hub.encoding.batches import LengthBucketSampler, batches_by_length
from prompt_hub.encoding.encoder import EncodedSplit, Encoder
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.tasks.registry import get_task
from prompt_hub.training.module import PromptModule

LEARNING_RATE = 1e-3

Inputs = Mapping[str, Tensor]


class System(ABC):
    """One way to train and to evaluate a soft prompt."""

    name: str
    scores_label_words: ClassVar[bool] = True
    place: Place

    @abstractmethod
    def train_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        """An epoch of full batches, drawn as this system's users draw them."""

    @abstractmethod
    def eval_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        """All rows once, in full batches."""

    @abstractmethod
    def inputs(self, rows: Rows, training: bool) -> Inputs:
        """The batch from token ids, in the host's memory."""

    @abstractmethod
    def optimise(self, inputs: Inputs) -> Tensor:
        """Forward, backward and AdamW step on one batch; the loss, which nobody has waited for."""

    @abstractmethod
    def label_logits(self, inputs: Inputs) -> Tensor:
        """``[B, C]`` of one batch, in evaluation mode, which nobody has waited for."""

    def prepare(self, rows: Rows, training: bool) -> Inputs:
        """``inputs`` on the model's device."""
        made = self.inputs(rows, training)
        if self.place.pins:
            made = {name: tensor.pin_memory() for name, tensor in made.items()}
        return {name: tensor.to(self.place.device, non_blocking=True) for name, tensor in made.items()}

    def train_step(self, rows: Rows) -> float:
        """A whole training step from token ids; the loss."""
        return self.optimise(self.prepare(rows, training=True)).item()

    def scores(self, rows: Rows) -> np.ndarray:
        """``[B, C]`` label logits of one batch, from token ids, in evaluation mode."""
        with torch.no_grad():
            return self.label_logits(self.prepare(rows, training=False)).float().cpu().numpy()

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Inside the block batches of one evaluation are scored, under one prompt."""
        yield

    def text_tokens(self, batches: Sequence[Rows]) -> float:
        """Text tokens a row that the model computes, behind the prompt: padding included where it does."""
        return padded_tokens(batches)


class ByLength(System):
    """Batches of texts of like length."""

    def train_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        order = list(LengthBucketSampler([len(row) for row in rows], batch_size, seed=0))
        return chunks([rows[index] for index in order], batch_size)

    def eval_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        batches = batches_by_length([len(row) for row in rows], batch_size)
        return [[rows[index] for index in batch] for batch in batches]


class PromptHub(ByLength):
    name = "Prompt Hub"

    def __init__(self, shape: Shape, prompt_len: int, small: bool, place: Place = CPU) -> None:
        model = frozen_model(shape.model, shape.config(small), place)
        self.place = place
        self.encoder = _IdsEncoder(shape.backbone(shape.name, model, None))
        self.module = PromptModule(self.encoder, initial_prompt(model, prompt_len))
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=LEARNING_RATE)

    @property
    def path(self) -> str:
        """Which forward answers, in the backbone's own words where it has several."""
        return str(getattr(self.encoder.backbone, "path", "narrowed head"))

    def inputs(self, rows: Rows, training: bool) -> Inputs:
        return self.encoder.collate(rows)

    def optimise(self, inputs: Inputs) -> Tensor:
        loss = self.loss(inputs)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def loss(self, inputs: Inputs) -> Tensor:
        return self.module(**inputs)["loss"]

    def label_logits(self, inputs: Inputs) -> Tensor:
        batch = self.encoder.to_batch(**inputs)
        return self.encoder.backbone.label_logits(self.module.prompt, batch, LABEL_IDS)

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        with self.encoder.backbone.unchanged(self.module.prompt):
            yield

    def text_tokens(self, batches: Sequence[Rows]) -> float:
        backbone = self.encoder.backbone
        # On a GPU padding is packed as well.
        if isinstance(backbone, CausalLM) and backbone.path == "packed" and not self.place.pins:
            return sum(len(row) for rows in batches for row in rows) / sum(map(len, batches))
        return padded_tokens(batches)

    def scores(self, rows: Rows) -> np.ndarray:
        return label_scores(self.encoder, self.module.prompt, EncodedSplit(rows), len(rows))


class PromptHubReference(PromptHub):
    """The same by the plain forward: the prompt in every row, the whole head."""

    name = "Prompt Hub, reference path"
    path = "reference"

    @classmethod
    def of(cls, fast: PromptHub) -> PromptHubReference:
        """Shares model, prompt and optimiser with ``fast``."""
        return like(cls, fast)

    def loss(self, inputs: Inputs) -> Tensor:
        return F.cross_entropy(self.label_logits(inputs), inputs["labels"])

    def label_logits(self, inputs: Inputs) -> Tensor:
        batch = self.encoder.to_batch(**inputs)
        return self.encoder.backbone.reference_label_logits(self.module.prompt, batch, LABEL_IDS)

    def text_tokens(self, batches: Sequence[Rows]) -> float:
        return padded_tokens(batches)


class _IdsEncoder(Encoder):
    """The package's encoder for rows that are ids already: its batches, without a tokenizer's facts."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.task = get_task("sst2")
        self.text = None
        self.layout = layout_for(backbone.family)
        self.label_ids = LABEL_IDS
        self.pad_id = SPECIAL["pad"]


def padded_tokens(batches: Sequence[Rows]) -> float:
    """Text tokens a row, padding included, as the model sees them behind the prompt."""
    return sum(len(rows) * max(map(len, rows)) for rows in batches) / sum(map(len, batches))


def like(cls: Any, other: System) -> Any:
    made = cls.__new__(cls)
    made.__dict__.update(other.__dict__)
    return made


def chunks(rows: Rows, size: int) -> list[Rows]:
    return [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
