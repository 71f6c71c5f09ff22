"""Tasks, texts and a tokenizer made up in memory, for what needs more than token ids."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from shapes import Shape, frozen_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from prompt_hub.backbones.base import Backbone
from prompt_hub.tasks import Split, get_task
from prompt_hub.tasks.task import Example
from speed.setting import Setting

TASKS = ("sst2", "rotten_tomatoes", "imdb", "tweeteval_sentiment")
_WORDS = [f"word{number}" for number in range(300)]
_OTHERS = "negative neutral moderate positive Sentiment : sentiment sentence1 sentence2".split()
_SPECIAL = {
    "masked_lm": ["<s>", "<pad>", "</s>", "<mask>", "<unk>"],
    "causal_lm": ["<unk>", "<pad>", "</s>"],
    "seq2seq_lm": ["<pad>", "<unk>", "</s>"],
}


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """A token a word; special tokens as the family has them."""
    special = _SPECIAL[family]
    vocabulary = {token: number for number, token in enumerate([*special, *_OTHERS, *_WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    single = {"masked_lm": "<s> $A </s>", "seq2seq_lm": "$A </s>"}.get(family)
    if single is not None:
        used = [(token, vocabulary[token]) for token in ("<s>", "</s>") if token in single]
        made.post_processor = processors.TemplateProcessing(single=single, special_tokens=used)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    if family == "masked_lm":
        names |= {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def backbone_of(shape: Shape, setting: Setting) -> Backbone:
    model = frozen_model(shape.model, shape.config(setting.small), setting.place)
    return shape.backbone(shape.name, model, tokenizer_of(shape.family))


def examples(task: str, rows: int, counts: Sequence[int], seed: int) -> list[Example]:
    """``counts[n]`` is the weight of a text of ``n`` words."""
    chooser = random.Random(f"{task} {seed}")
    classes = len(get_task(task).classes)
    lengths = chooser.choices(range(len(counts)), weights=counts, k=rows)
    return [
        Example(" ".join(chooser.choices(_WORDS, k=length)), label=chooser.randrange(classes))
        for length in lengths
    ]


def split(task: str, rows: int, setting: Setting, name: str = "train") -> Split:
    return Split.of(name, examples(task, rows, setting.counts, seed=0), "made up")


def write_tasks(folder: Path, rows: int, setting: Setting) -> None:
    """A data folder with ``rows`` validation rows of each of ``TASKS``."""
    for task in TASKS:
        (folder / task).mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"text_a": each.text_a, "label": each.label})
            for each in examples(task, rows, setting.counts, seed=1)
        ]
        (folder / task / "validation.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
