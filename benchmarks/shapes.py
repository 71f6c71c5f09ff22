"""Frozen models of true shape with random weights, and made-up texts with the lengths of real ones.

Shape letters: ``P`` prompt length, ``H`` hidden width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from prompt_hub.backbones.base import Backbone
from prompt_hub.backbones.causal_lm import CausalLM
from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.backbones.seq2seq_lm import Seq2SeqLM
from prompt_hub.encoding.encoder import EncodedRow

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
SPECIAL = {"bos": 0, "pad": 1, "eos": 2, "mask": 3}
LABEL_IDS = [[20], [30]]
# Text ids start above special tokens and label words.
_FIRST_TEXT_ID = 40

Rows = list[EncodedRow]


def _roberta(small: bool, **larger: Any) -> Any:
    size: dict[str, Any] = {"vocab_size": 50265, **larger}
    if small:
        size = {
            "vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 64, "initializer_range": 0.15,
        }  # fmt: skip
    return transformers.RobertaConfig(
        **size, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )


def _roberta_large(small: bool) -> Any:
    return _roberta(
        small, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    )


def _gpt2(small: bool) -> Any:
    tiny = {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.15}
    size = tiny if small else {}
    # Trainer turns the cache off for training; here PEFT is spared it in evaluation too.
    return transformers.GPT2Config(**size, bos_token_id=2, eos_token_id=2, use_cache=False)


_SMOLLM2 = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3,
}  # fmt: skip
_LLAMA_1B = {
    "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
}  # fmt: skip


def _llama(size: dict[str, Any], small: bool) -> Any:
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
class Place:
    """Where a model stands, and in which type."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def pins(self) -> bool:
        """Whether inputs travel from pinned memory, so that nobody waits for them."""
        return self.device.startswith("cuda")


CPU = Place()


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
        Shape("smollm2-135m", CausalLM, transformers.LlamaForCausalLM, partial(_llama, _SMOLLM2)),
        Shape("t5-small", Seq2SeqLM, transformers.T5ForConditionalGeneration, _t5),
    )
}
LARGE_SHAPES = {
    shape.name: shape
    for shape in (
        Shape("roberta-large", MaskedLM, transformers.RobertaForMaskedLM, _roberta_large),
        Shape("llama-1b", CausalLM, transformers.LlamaForCausalLM, partial(_llama, _LLAMA_1B)),
    )
}
ALL_SHAPES = SHAPES | LARGE_SHAPES


def random_rows(shape: Shape, counts: Sequence[int], rows: int, small: bool, seed: int) -> Rows:
    """Texts of random ids inside SST-2's template; ``counts[n]`` is the weight of a text of ``n`` tokens."""
    chooser = random.Random(seed)
    vocabulary = shape.config(small).vocab_size
    made = []
    for length in chooser.choices(range(len(counts)), weights=counts, k=rows):
        text = [chooser.randrange(_FIRST_TEXT_ID, vocabulary) for _ in range(length)]
        read = None
        if shape.family == "masked_lm":
            text = [SPECIAL["bos"], SPECIAL["mask"], *text, SPECIAL["eos"]]
            read = 1
        elif shape.family == "causal_lm":
            text += range(_FIRST_TEXT_ID, _FIRST_TEXT_ID + _CAUSAL_TAIL)
        else:
            text.append(SPECIAL["eos"])
        label = chooser.randrange(len(LABEL_IDS))
        made.append(EncodedRow(text, len(text) - 1 if read is None else read, label))
    return made


def frozen_model(cls: type[nn.Module], config: Any, place: Place = CPU) -> Any:
    """The same weights for every system that asks for the same class."""
    torch.manual_seed(0)
    with torch.device(place.device):
        return cls(config).to(place.dtype)


def initial_prompt(model: Any, prompt_len: int) -> Tensor:
    """``[P, H]``, rows of random vocabulary items."""
    weight = model.get_input_embeddings().weight.detach()
    rows = torch.randint(len(weight), (prompt_len,), generator=torch.Generator().manual_seed(1))
    return weight[rows.to(weight.device)].clone().float()
