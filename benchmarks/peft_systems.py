"""PEFT prompt tuning as systems beside Prompt Hub: as its examples use it, and as well as it can be set.

Shape letters as in ``compared_systems.py``.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Any, ClassVar

import peft
import torch
import transformers
from compared_systems import (
    LEARNING_RATE,
    ByLength,
    Inputs,
    PromptHub,
    PromptHubReference,
    System,
    chunks,
    like,
)
from shapes import CPU, LABEL_IDS, SPECIAL, Place, Rows, Shape, frozen_model, initial_prompt
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


class PeftSystem(System):
    """PEFT as its examples use it: train() mode, random batches padded to their longest, the whole head."""

    family: ClassVar[str]
    task_type: ClassVar[str]
    model_class: ClassVar[type[nn.Module]]
    trains_with_dropout: ClassVar[bool] = True

    def __init__(self, shape: Shape, prompt_len: int, small: bool, place: Place = CPU) -> None:
        base = frozen_model(self.model_class, shape.config(small), place)
        prompt = initial_prompt(base, prompt_len)
        config = peft.PromptTuningConfig(task_type=self.task_type, num_virtual_tokens=prompt_len)
        self.place = place
        self.model: Any = peft.get_peft_model(base, config).to(place.device)
        # PEFT keeps a second prompt for T5's decoder, which never enters the model; the first rows count.
        with torch.no_grad():
            self.model.prompt_encoder["default"].embedding.weight[:prompt_len] = prompt
        self.prompt_len = prompt_len
        self.label_columns = torch.tensor(LABEL_IDS, device=place.device)[:, 0]
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE)

    def train_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        return chunks(random.Random(0).sample(rows, len(rows)), batch_size)

    def eval_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        return chunks(rows, batch_size)

    def inputs(self, rows: Rows, training: bool) -> Inputs:
        return self.train_inputs(rows) if training else self.eval_inputs(rows)

    def optimise(self, inputs: Inputs) -> Tensor:
        self.model.train(self.trains_with_dropout)
        loss = self.model(**inputs).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    @torch.no_grad()
    def label_logits(self, inputs: Inputs) -> Tensor:
        self.model.eval()
        given = dict(inputs)
        read = given.pop("read", None)
        logits = self.model(**given).logits
        if read is None:
            return logits
        return logits[torch.arange(len(read), device=read.device), read][:, self.label_columns]

    @abstractmethod
    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        """Arguments of the forward that computes the loss."""

    @abstractmethod
    def eval_inputs(self, rows: Rows) -> dict[str, Tensor]:
        """Arguments of the forward, and ``read`` ``[B]``: where label words are read, None for classes."""


class PeftSequenceClassification(PeftSystem):
    """A freshly trained classifier on the first token; its text holds no mask."""

    name = "PEFT, RobertaForSequenceClassification"
    scores_label_words = False
    family = "masked_lm"
    task_type = "SEQ_CLS"
    model_class = transformers.RobertaForSequenceClassification

    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        return self.eval_inputs(rows) | {"labels": _classes(rows)}

    def eval_inputs(self, rows: Rows) -> dict[str, Tensor]:
        return _padded_text([row.ids[: row.read] + row.ids[row.read + 1 :] for row in rows])


class PeftMaskedLM(PeftSystem):
    """PEFT has no masked-LM task; its feature extraction passes the labels through."""

    name = "PEFT, RobertaForMaskedLM"
    family = "masked_lm"
    task_type = "FEATURE_EXTRACTION"
    model_class = transformers.RobertaForMaskedLM

    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        inputs = self.eval_inputs(rows)
        labels = torch.full((len(rows), self.prompt_len + inputs["input_ids"].shape[1]), -100)
        labels[torch.arange(len(rows)), inputs.pop("read")] = _words(rows)
        return inputs | {"labels": labels}

    def eval_inputs(self, rows: Rows) -> dict[str, Tensor]:
        return _padded_text([row.ids for row in rows]) | {"read": _read(rows, self.prompt_len)}


class PeftCausalLM(PeftSystem):
    """The label word stands behind the text and is the only token with a loss."""

    name = "PEFT, GPT2LMHeadModel"
    family = "causal_lm"
    task_type = "CAUSAL_LM"
    model_class = transformers.GPT2LMHeadModel

    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        words = _words(rows).tolist()
        inputs = _padded_text([[*row.ids, word] for row, word in zip(rows, words, strict=True)])
        labels = torch.full_like(inputs["input_ids"], -100)
        labels[torch.arange(len(rows)), torch.tensor([len(row.ids) for row in rows])] = torch.tensor(words)
        return inputs | {"labels": labels}

    def eval_inputs(self, rows: Rows) -> dict[str, Tensor]:
        return _padded_text([row.ids for row in rows]) | {"read": _read(rows, self.prompt_len)}


class PeftLlama(PeftCausalLM):
    name = "PEFT, LlamaForCausalLM"
    model_class = transformers.LlamaForCausalLM


class PeftSeq2SeqLM(PeftSystem):
    """The label word is the whole target, without an end token: one decoder step, as in Prompt Hub."""

    name = "PEFT, T5ForConditionalGeneration"
    family = "seq2seq_lm"
    task_type = "SEQ_2_SEQ_LM"
    model_class = transformers.T5ForConditionalGeneration

    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        return _padded_text([row.ids for row in rows]) | {"labels": _words(rows)[:, None]}

    def eval_inputs(self, rows: Rows) -> dict[str, Tensor]:
        start = torch.full((len(rows), 1), self.model.config.decoder_start_token_id)
        nothing = torch.zeros(len(rows), dtype=torch.long)
        return _padded_text([row.ids for row in rows]) | {"decoder_input_ids": start, "read": nothing}


class _WellSet(ByLength):
    """What a PEFT user can set without new code in the model: batches by length, no dropout in training."""

    trains_with_dropout = False


class _WellSetCausal(_WellSet):
    """In evaluation also the head only at positions that some row of the batch is read at."""

    def eval_inputs(self: Any, rows: Rows) -> dict[str, Tensor]:
        inputs = PeftCausalLM.eval_inputs(self, rows)
        kept, place = inputs["read"].unique(return_inverse=True)
        return inputs | {"logits_to_keep": kept, "read": place}


def well_set(system: PeftSystem) -> PeftSystem:
    """The same model, prompt and optimiser, used as well as PEFT lets a user."""
    first = _WellSetCausal if isinstance(system, PeftCausalLM) else _WellSet
    stock = type(system)
    cls = type(f"WellSet{stock.__name__}", (first, stock), {"name": well_set_name(stock)})
    return like(cls, system)


def well_set_name(cls: type[PeftSystem]) -> str:
    return f"{cls.name}, well set"


PEFT_SYSTEMS: tuple[type[PeftSystem], ...] = (
    PeftSequenceClassification,
    PeftMaskedLM,
    PeftCausalLM,
    PeftLlama,
    PeftSeq2SeqLM,
)


def peft_systems_of(shape: Shape) -> list[type[PeftSystem]]:
    """The PEFT set-ups of the shape's family (of a causal LM: of its architecture)."""
    return [
        system
        for system in PEFT_SYSTEMS
        if system.family == shape.family
        and (system.model_class is shape.model or shape.family != "causal_lm")
    ]


def systems_of(shape: Shape) -> list[type[System]]:
    """Prompt Hub and the PEFT set-ups of the shape."""
    return [PromptHub, *peft_systems_of(shape)]


def every_system(shape: Shape, prompt_len: int, small: bool, place: Place = CPU) -> list[System]:
    """Prompt Hub, its reference path, and each PEFT set-up as its examples use it and well set.

    Two of one kind share their model.
    """
    hub = PromptHub(shape, prompt_len, small, place)
    made: list[System] = [hub, PromptHubReference.of(hub)]
    for cls in peft_systems_of(shape):
        stock = cls(shape, prompt_len, small, place)
        made += [stock, well_set(stock)]
    return made


def every_name(shape: Shape) -> list[str]:
    """Names of ``every_system``, in its order."""
    names = [name for cls in peft_systems_of(shape) for name in (cls.name, well_set_name(cls))]
    return [PromptHub.name, PromptHubReference.name, *names]


def system_named(name: str, shape: Shape, prompt_len: int, small: bool) -> System:
    """One of ``every_system``, alone in memory."""
    if name == PromptHub.name:
        return PromptHub(shape, prompt_len, small)
    if name == PromptHubReference.name:
        return PromptHubReference.of(PromptHub(shape, prompt_len, small))
    for cls in peft_systems_of(shape):
        if name in (cls.name, well_set_name(cls)):
            stock = cls(shape, prompt_len, small)
            return stock if name == cls.name else well_set(stock)
    raise KeyError(name)


def _padded_text(ids: list[list[int]]) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask``, both ``[B, S]``."""
    texts = [torch.tensor(row) for row in ids]
    masks = [torch.ones(len(row), dtype=torch.long) for row in ids]
    return {
        "input_ids": pad_sequence(texts, batch_first=True, padding_value=SPECIAL["pad"]),
        "attention_mask": pad_sequence(masks, batch_first=True),
    }


def _read(rows: Rows, prompt_len: int) -> Tensor:
    """``[B]``: where each row is read, behind the prompt."""
    return torch.tensor([prompt_len + row.read for row in rows])


def _classes(rows: Rows) -> Tensor:
    return torch.tensor([row.label for row in rows])


def _words(rows: Rows) -> Tensor:
    return torch.tensor(LABEL_IDS)[_classes(rows), 0]
