"""Prompt Hub and PEFT prompt tuning on the same frozen random-weight models and the same made-up texts.

Shape letters: ``P`` prompt length, ``H`` hidden width, ``B`` batch, ``S`` sequence, ``C`` classes,
``V`` vocabulary.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import peft
import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from prompt_hub.backbones.base import Backbone
from prompt_hub.backbones.causal_lm import CausalLM
from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.backbones.seq2seq_lm import Seq2SeqLM
from prompt_hub.encoding.batches import LengthBucketSampler, batches_by_length
from prompt_hub.encoding.encoder import EncodedRow, EncodedSplit, Encoder
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.tasks.registry import get_task
from prompt_hub.training.module import PromptModule

# How many of 6,911 SST-2 training sentences have 0, 1, 2, ... tokens: the data set's train file without
# sentences of the validation set, under SmolLM2's byte-level BPE tokenizer, without special tokens.
# Mean 23.4, longest 81.
SST2_LENGTH_COUNTS = (
    0, 0, 4, 34, 64, 84, 121, 130, 127, 175, 164, 196, 202, 187, 222, 208, 231, 212, 232, 237, 228, 228, 230,
    238, 220, 209, 211, 185, 191, 181, 169, 173, 140, 140, 141, 123, 128, 98, 84, 106, 81, 89, 61, 52, 63, 46,
    30, 39, 27, 16, 27, 18, 14, 22, 10, 10, 8, 10, 9, 8, 4, 2, 2, 1, 4, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0,
    0, 0, 0, 1,
)  # fmt: skip

# The tokens of "\nSentiment:", which end the causal template of SST-2.
_CAUSAL_TAIL = 4
_SPECIAL = {"bos": 0, "pad": 1, "eos": 2, "mask": 3}
LABEL_IDS = [[20], [30]]
# Text ids start above special tokens and label words.
_FIRST_TEXT_ID = 40
_LEARNING_RATE = 1e-3

Rows = list[EncodedRow]


def _roberta(small: bool) -> Any:
    size: dict[str, Any] = {"vocab_size": 50265}
    if small:
        size = {
            "vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 64, "initializer_range": 0.15,
        }  # fmt: skip
    return transformers.RobertaConfig(
        **size, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )


def _gpt2(small: bool) -> Any:
    tiny = {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.15}
    size = tiny if small else {}
    # Trainer turns the cache off for training; here PEFT is spared it in evaluation too.
    return transformers.GPT2Config(**size, bos_token_id=2, eos_token_id=2, use_cache=False)


def _smollm2(small: bool) -> Any:
    size: dict[str, Any] = {
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3,
    }  # fmt: skip
    if small:
        size = {
            "vocab_size": 400, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 2, "initializer_range": 0.15,
        }  # fmt: skip
    return transformers.LlamaConfig(
        **size, bos_token_id=2, eos_token_id=2, tie_word_embeddings=True, use_cache=False
    )


def _t5(small: bool) -> Any:
    tiny = {"vocab_size": 400, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    size = tiny if small else {}
    return transformers.T5Config(**size, decoder_start_token_id=0, use_cache=False)


@dataclass(frozen=True)
class Shape:
    """A model by its configuration; weights are random, so nothing is downloaded."""

    name: str
    backbone: type[Backbone]
    model: type[nn.Module]
    config: Callable[[bool], Any]

    @property
    def family(self) -> str:
        return self.backbone.family


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("roberta-base", MaskedLM, transformers.RobertaForMaskedLM, _roberta),
        Shape("gpt2", CausalLM, transformers.GPT2LMHeadModel, _gpt2),
        Shape("smollm2-135m", CausalLM, transformers.LlamaForCausalLM, _smollm2),
        Shape("t5-small", Seq2SeqLM, transformers.T5ForConditionalGeneration, _t5),
    )
}


def random_rows(shape: Shape, counts: Sequence[int], rows: int, small: bool, seed: int) -> Rows:
    """Texts of random ids inside SST-2's template; ``counts[n]`` is the weight of a text of ``n`` tokens."""
    chooser = random.Random(seed)
    vocabulary = shape.config(small).vocab_size
    made = []
    for length in chooser.choices(range(len(counts)), weights=counts, k=rows):
        text = [chooser.randrange(_FIRST_TEXT_ID, vocabulary) for _ in range(length)]
        read = None
        if shape.family == "masked_lm":
            text = [_SPECIAL["bos"], _SPECIAL["mask"], *text, _SPECIAL["eos"]]
            read = 1
        elif shape.family == "causal_lm":
            text += range(_FIRST_TEXT_ID, _FIRST_TEXT_ID + _CAUSAL_TAIL)
        else:
            text.append(_SPECIAL["eos"])
        label = chooser.randrange(len(LABEL_IDS))
        made.append(EncodedRow(text, len(text) - 1 if read is None else read, label))
    return made


def frozen_model(cls: type[nn.Module], config: Any) -> Any:
    """The same weights for every system that asks for the same class."""
    torch.manual_seed(0)
    return cls(config)


def initial_prompt(model: Any, prompt_len: int) -> Tensor:
    """``[P, H]``, rows of random vocabulary items."""
    weight = model.get_input_embeddings().weight.detach()
    generator = torch.Generator().manual_seed(1)
    return weight[torch.randint(len(weight), (prompt_len,), generator=generator)].clone().float()


class System(ABC):
    """One way to train and to evaluate a soft prompt."""

    name: ClassVar[str]
    scores_label_words: ClassVar[bool] = True

    @abstractmethod
    def train_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        """An epoch of full batches, drawn as this system's users draw them."""

    @abstractmethod
    def eval_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        """All rows once, in full batches."""

    @abstractmethod
    def train_step(self, rows: Rows) -> float:
        """Forward, backward and AdamW step on one batch, from token ids; the loss."""

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Inside the block batches of one evaluation are scored, under one prompt."""
        yield

    def text_tokens(self, batches: Sequence[Rows]) -> float:
        """Text tokens a row that the model computes, behind the prompt: padding included where it does."""
        return padded_tokens(batches)

    @abstractmethod
    def scores(self, rows: Rows) -> np.ndarray:
        """``[B, C]`` label logits of one batch, from token ids, in evaluation mode."""


class PromptHub(System):
    name = "Prompt Hub"

    def __init__(self, shape: Shape, prompt_len: int, small: bool) -> None:
        model = frozen_model(shape.model, shape.config(small))
        self.encoder = _IdsEncoder(shape.backbone(shape.name, model, None))
        self.module = PromptModule(self.encoder, initial_prompt(model, prompt_len))
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=_LEARNING_RATE)

    def train_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        order = list(LengthBucketSampler([len(row) for row in rows], batch_size, seed=0))
        return _chunks([rows[index] for index in order], batch_size)

    def eval_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        batches = batches_by_length([len(row) for row in rows], batch_size)
        return [[rows[index] for index in batch] for batch in batches]

    def train_step(self, rows: Rows) -> float:
        loss = self.module(**self.encoder.collate(rows))["loss"]
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        with self.encoder.backbone.unchanged(self.module.prompt):
            yield

    def text_tokens(self, batches: Sequence[Rows]) -> float:
        backbone = self.encoder.backbone
        if isinstance(backbone, CausalLM) and backbone.path == "packed":
            return sum(len(row) for rows in batches for row in rows) / sum(map(len, batches))
        return padded_tokens(batches)

    def scores(self, rows: Rows) -> np.ndarray:
        return label_scores(self.encoder, self.module.prompt, EncodedSplit(rows), len(rows))


class _IdsEncoder(Encoder):
    """The package's encoder for rows that are ids already: its batches, without a tokenizer's facts."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.task = get_task("sst2")
        self.text = None
        self.layout = layout_for(backbone.family)
        self.label_ids = LABEL_IDS
        self.pad_id = _SPECIAL["pad"]


class PeftSystem(System):
    """PEFT as its examples use it: train() mode, random batches padded to their longest, the whole head."""

    family: ClassVar[str]
    task_type: ClassVar[str]
    model_class: ClassVar[type[nn.Module]]

    def __init__(self, shape: Shape, prompt_len: int, small: bool) -> None:
        base = frozen_model(self.model_class, shape.config(small))
        prompt = initial_prompt(base, prompt_len)
        config = peft.PromptTuningConfig(task_type=self.task_type, num_virtual_tokens=prompt_len)
        self.model: Any = peft.get_peft_model(base, config)
        # PEFT keeps a second prompt for T5's decoder, which never enters the model; the first rows count.
        with torch.no_grad():
            self.model.prompt_encoder["default"].embedding.weight[:prompt_len] = prompt
        self.prompt_len = prompt_len
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=_LEARNING_RATE)

    def train_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        return _chunks(random.Random(0).sample(rows, len(rows)), batch_size)

    def eval_batches(self, rows: Rows, batch_size: int) -> list[Rows]:
        return _chunks(rows, batch_size)

    def train_step(self, rows: Rows) -> float:
        self.model.train()
        loss = self.model(**self.train_inputs(rows)).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    @torch.no_grad()
    def scores(self, rows: Rows) -> np.ndarray:
        self.model.eval()
        return self.label_logits(rows).numpy()

    @abstractmethod
    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        """Arguments of the forward that computes the loss."""

    @abstractmethod
    def label_logits(self, rows: Rows) -> Tensor:
        """``[B, C]``, read from the forward's logits."""


class PeftSequenceClassification(PeftSystem):
    """A freshly trained classifier on the first token; its text holds no mask."""

    name = "PEFT, RobertaForSequenceClassification"
    scores_label_words = False
    family = "masked_lm"
    task_type = "SEQ_CLS"
    model_class = transformers.RobertaForSequenceClassification

    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        return self._text(rows) | {"labels": _classes(rows)}

    def label_logits(self, rows: Rows) -> Tensor:
        return self.model(**self._text(rows)).logits

    def _text(self, rows: Rows) -> dict[str, Tensor]:
        return _padded_text([row.ids[: row.read] + row.ids[row.read + 1 :] for row in rows])


class PeftMaskedLM(PeftSystem):
    """PEFT has no masked-LM task; its feature extraction passes the labels through."""

    name = "PEFT, RobertaForMaskedLM"
    family = "masked_lm"
    task_type = "FEATURE_EXTRACTION"
    model_class = transformers.RobertaForMaskedLM

    def train_inputs(self, rows: Rows) -> dict[str, Tensor]:
        inputs = _padded_text([row.ids for row in rows])
        labels = torch.full((len(rows), self.prompt_len + inputs["input_ids"].shape[1]), -100)
        labels[torch.arange(len(rows)), self._read(rows)] = _words(rows)
        return inputs | {"labels": labels}

    def label_logits(self, rows: Rows) -> Tensor:
        logits = self.model(**_padded_text([row.ids for row in rows])).logits
        return logits[torch.arange(len(rows)), self._read(rows)][:, _label_columns()]

    def _read(self, rows: Rows) -> Tensor:
        return torch.tensor([self.prompt_len + row.read for row in rows])


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

    def label_logits(self, rows: Rows) -> Tensor:
        logits = self.model(**_padded_text([row.ids for row in rows])).logits
        read = torch.tensor([self.prompt_len + row.read for row in rows])
        return logits[torch.arange(len(rows)), read][:, _label_columns()]


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

    def label_logits(self, rows: Rows) -> Tensor:
        start = torch.full((len(rows), 1), self.model.config.decoder_start_token_id)
        inputs = _padded_text([row.ids for row in rows]) | {"decoder_input_ids": start}
        return self.model(**inputs).logits[:, 0, _label_columns()]


PEFT_SYSTEMS: tuple[type[PeftSystem], ...] = (
    PeftSequenceClassification,
    PeftMaskedLM,
    PeftCausalLM,
    PeftLlama,
    PeftSeq2SeqLM,
)


def systems_of(shape: Shape) -> list[type[System]]:
    """Prompt Hub and the PEFT set-ups of the shape's family (of a causal LM: of its architecture)."""
    return [
        PromptHub,
        *(
            system
            for system in PEFT_SYSTEMS
            if system.family == shape.family
            and (system.model_class is shape.model or shape.family != "causal_lm")
        ),
    ]


def padded_tokens(batches: Sequence[Rows]) -> float:
    """Text tokens a row, padding included, as the model sees them behind the prompt."""
    return sum(len(rows) * max(map(len, rows)) for rows in batches) / sum(map(len, batches))


def _chunks(rows: Rows, size: int) -> list[Rows]:
    return [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]


def _padded_text(ids: list[list[int]]) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask``, both ``[B, S]``."""
    texts = [torch.tensor(row) for row in ids]
    masks = [torch.ones(len(row), dtype=torch.long) for row in ids]
    return {
        "input_ids": pad_sequence(texts, batch_first=True, padding_value=_SPECIAL["pad"]),
        "attention_mask": pad_sequence(masks, batch_first=True),
    }


def _classes(rows: Rows) -> Tensor:
    return torch.tensor([row.label for row in rows])


def _words(rows: Rows) -> Tensor:
    return torch.tensor(LABEL_IDS)[_classes(rows), 0]


def _label_columns() -> Tensor:
    return torch.tensor(LABEL_IDS)[:, 0]
