"""From task examples to token ids, once per task and backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone, Batch
from prompt_hub.encoding.layouts import Layout, layout_for, template_parts
from prompt_hub.errors import UserError
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example, Task

_CACHED_SPLITS = 32
_SENTINEL = "a"


@dataclass(frozen=True)
class EncodedRow:
    """ids: the text without the prompt. read: where the label is read. target: ids of a generation target.

    cut: whether the text lost tokens.
    """

    ids: list[int]
    read: int
    label: int | float | None = None
    target: list[int] | None = None
    cut: bool = False

    def __len__(self) -> int:
        return len(self.ids) + len(self.target or [])


@dataclass
class EncodedSplit:
    """Encoded rows in the order of the examples."""

    rows: list[EncodedRow]
    lengths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lengths = [len(row) for row in self.rows]

    @property
    def truncated(self) -> int:
        """How many texts lost tokens."""
        return sum(row.cut for row in self.rows)

    def only(self, indices: Iterable[int]) -> EncodedSplit:
        """The rows at ``indices``, in that order."""
        return EncodedSplit([self.rows[index] for index in indices])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> EncodedRow:
        return self.rows[index]


class Encoder:
    """Encodes one task for one backbone under one layout.

    prompt_len counts against the positions the backbone has. Raises ``UserError`` when the prompt leaves no
    room for text, when the template does not fit the family, or when a label word is empty.
    """

    def __init__(
        self, backbone: Backbone, task: Task, prompt_len: int, layout: str | Layout | None = None
    ) -> None:
        self.backbone = backbone
        self.task = task
        if task.kind == "generation" and not backbone.can_generate:
            raise UserError(
                f"Task {task.name!r} asks for generated text, which the masked LM {backbone.name} cannot "
                "give. Use a causal or a sequence-to-sequence backbone."
            )
        self.layout = layout if isinstance(layout, Layout) else layout_for(backbone.family, layout)
        self.template = task.template_for(backbone.family)
        self.parts = template_parts(self.template, backbone.family, task.has_text_b)
        self.tokenizer = backbone.tokenizer
        self.prefix, self.suffix = special_affixes(self.tokenizer)
        if backbone.family == "causal_lm":
            self.suffix = []
        self.pad_id = self._pad_id()
        self.literals = [
            self._ids_of([part.text], behind=place > 0)[0] if part.kind == "literal" else []
            for place, part in enumerate(self.parts)
        ]
        self.label_words: tuple[str, ...] = ()
        self.label_ids: list[list[int]] = []
        if task.kind != "generation":
            self.label_words = task.label_words_for(backbone.family)
            self.label_ids = [self._word_ids(word) for word in self.label_words]
            self._check_distinct()
        self.budget = self._budget(prompt_len)

    # -- sizes -----------------------------------------------------------------------------------

    def _budget(self, prompt_len: int) -> int:
        """How many tokens of field text fit beside the prompt, the template and the answer."""
        limit = self.task.max_length
        positions = self.backbone.max_positions
        if positions is None:
            return limit
        fixed = len(self.prefix) + len(self.suffix) + self._literal_length()
        answer = max((len(word) - 1 for word in self.label_ids), default=0)
        if self.task.kind == "generation" and self.backbone.family == "causal_lm":
            answer = self.task.max_target_length
        room = positions - prompt_len - fixed - answer
        if room < 1:
            longest = positions - fixed - answer - 1
            fix = f"Use --prompt-len {longest} or less" if longest > 0 else "Use a shorter template"
            raise UserError(
                f"Prompt length {prompt_len} leaves no room for text: backbone {self.backbone.name} holds "
                f"{positions} positions, template and answer take {fixed + answer}. {fix}."
            )
        return min(limit, room)

    def _literal_length(self) -> int:
        return sum(map(len, self.literals)) + sum(part.kind == "mask" for part in self.parts)

    # -- words -----------------------------------------------------------------------------------

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _ids_of(self, texts: Sequence[str], behind: bool) -> list[list[int]]:
        """Token ids of texts; behind: as they are where other text stands before them.

        SentencePiece writes a space in front of whatever it is given. Behind other text that space would be
        one too many (``"good" + "."`` is not ``"good ."``), so such texts are tokenised behind a letter,
        which is then cut off.
        """
        if not behind or not self._writes_spaces:
            return [self._ids(text) for text in texts] if len(texts) < 2 else self._batch_ids(texts)
        sentinel = self._ids(_SENTINEL)
        found = []
        for text, ids in zip(texts, self._batch_ids([_SENTINEL + text for text in texts]), strict=True):
            joined = ids[: len(sentinel)] == sentinel
            found.append(ids[len(sentinel) :] if joined else self._ids(text))
        return found

    def _batch_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    @cached_property
    def _writes_spaces(self) -> bool:
        """Whether the tokenizer puts a space (``▁``) in front of a text by itself."""
        first = self.tokenizer.convert_ids_to_tokens(self._ids(_SENTINEL)[:1])
        return bool(first) and first[0].startswith("▁")

    def _pad_id(self) -> int:
        for token_id in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token_id is not None:
                return int(token_id)
        return 0

    def spaced(self, text: str) -> str:
        """The text as it stands behind other text: with a space in front, where the tokenizer needs one."""
        if self.template[-1:].isspace() and self.backbone.family == "causal_lm":
            return text
        return text if self._writes_spaces else f" {text}"

    def _word_ids(self, word: str) -> list[int]:
        ids = self._ids(self.spaced(word.strip())) if word.strip() else []
        if not ids:
            raise UserError(
                f"Label word {word!r} of task {self.task.name!r} is empty for backbone {self.backbone.name}."
            )
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown != self.tokenizer.eos_token_id and unknown in ids:
            raise UserError(
                f"Label word {word!r} of task {self.task.name!r} is not in the vocabulary of backbone "
                f"{self.backbone.name}. Choose other words with --label-words or in the task file."
            )
        return ids

    def _check_distinct(self) -> None:
        seen: dict[tuple[int, ...], str] = {}
        for word, ids in zip(self.label_words, self.label_ids, strict=True):
            twin = seen.setdefault(tuple(ids), word)
            if twin != word:
                raise UserError(
                    f"Label words {twin!r} and {word!r} of task {self.task.name!r} are the same tokens for "
                    f"backbone {self.backbone.name}, so their classes could not be told apart."
                )

    # -- examples --------------------------------------------------------------------------------

    def encode(self, examples: Sequence[Example]) -> EncodedSplit:
        """Token ids of every example; fields are cut from their ends, the longest first, to the budget."""
        columns: dict[str, list[list[int]]] = {}
        for place, part in enumerate(self.parts):
            if part.kind in ("text_a", "text_b"):
                texts = [part.text + (getattr(example, part.kind) or "").strip() for example in examples]
                columns[part.kind] = self._ids_of(texts, behind=place > 0)
        targets = self._target_ids(examples)
        rows = []
        for index, example in enumerate(examples):
            fields = {name: ids[index] for name, ids in columns.items()}
            cut = cut_longest_first(fields, self.budget)
            ids = list(self.prefix)
            read = -1
            for part, literal in zip(self.parts, self.literals, strict=True):
                if part.kind == "mask":
                    read = len(ids)
                    ids.append(self.tokenizer.mask_token_id)
                elif part.kind == "literal":
                    ids += literal
                else:
                    ids += fields[part.kind]
            ids += self.suffix
            if not ids:
                # A text with no token of its own; one padding token keeps the row readable.
                ids = [self.pad_id]
            label = None if targets is not None or example.label is None else self._label(example.label)
            rows.append(
                EncodedRow(
                    ids,
                    len(ids) - 1 if read < 0 else read,
                    label,
                    None if targets is None else targets[index],
                    cut,
                )
            )
        return EncodedSplit(rows)

    def _label(self, label: Any) -> int | float:
        if self.task.kind == "regression":
            assert self.task.label_range is not None
            low, high = self.task.label_range
            return (float(label) - low) / (high - low)
        return int(label)

    def _target_ids(self, examples: Sequence[Example]) -> list[list[int]] | None:
        if self.task.kind != "generation" or any(example.label is None for example in examples):
            return None
        causal = self.backbone.family == "causal_lm"
        room = self.task.max_target_length - 1
        end = [self.tokenizer.eos_token_id]
        targets = []
        for example in examples:
            text = str(example.label).strip()
            targets.append(self._ids(self.spaced(text) if causal else text)[:room] + end)
        return targets

    # -- batches ---------------------------------------------------------------------------------

    def collate(self, rows: Sequence[EncodedRow], with_targets: bool = True) -> dict[str, Tensor]:
        """Tensors of a batch: ``input_ids, attention_mask [B, S]``, ``read_positions [B, M]``, ``labels``.

        with_targets=False leaves generation targets out of the input (for ``generate``).
        """
        generation = self.task.kind == "generation"
        sequences, reads, labels = [], [], []
        for row in rows:
            if generation and with_targets and row.target is not None:
                labels.append(row.target)
                if self.backbone.family == "causal_lm":
                    sequences.append(row.ids + row.target[:-1])
                    reads.append([len(row.ids) - 1 + step for step in range(len(row.target))])
                    continue
            sequences.append(row.ids)
            reads.append([row.read])
        tensors = {
            "input_ids": _padded(sequences, self.pad_id),
            "attention_mask": _padded([[1] * len(ids) for ids in sequences], 0),
        }
        tensors["read_positions"] = _padded(reads, 0)
        if generation:
            if labels:
                tensors["labels"] = _padded(labels, -100)
        elif all(row.label is not None for row in rows):
            dtype = torch.float32 if self.task.kind == "regression" else torch.long
            tensors["labels"] = torch.tensor([row.label for row in rows], dtype=dtype)
        return tensors

    def batch(self, rows: Sequence[EncodedRow], with_targets: bool = True) -> Batch:
        """``collate`` as a ``Batch`` on the backbone's device."""
        return self.to_batch(**self.collate(rows, with_targets))

    def to_batch(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        read_positions: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Batch:
        batch = Batch(input_ids, attention_mask, read_positions, labels, self.layout.placement)
        return batch.to(self.backbone.device)


def special_affixes(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens a tokenizer puts before and behind a text, e.g. ``[CLS]`` and ``[SEP]``."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []


def cut_longest_first(fields: dict[str, list[int]], budget: int) -> bool:
    """Cut token lists in place (from the end, always the longest) until they hold ``budget`` in all."""
    excess = sum(map(len, fields.values())) - budget
    if excess <= 0:
        return False
    while excess > 0:
        ranked = sorted(fields, key=lambda name: len(fields[name]), reverse=True)
        longest = ranked[0]
        second = len(fields[ranked[1]]) if len(ranked) > 1 else 0
        # Down to the second longest in one step; when they are level, half of the rest each.
        step = min(excess, max(len(fields[longest]) - second, (excess + len(ranked) - 1) // len(ranked)))
        fields[longest] = fields[longest][: len(fields[longest]) - step]
        excess -= step
    return True


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], dtype=torch.long)


_encoded: WeakKeyDictionary[Backbone, OrderedDict[Any, EncodedSplit]] = WeakKeyDictionary()


def encode_split(encoder: Encoder, split: Split) -> EncodedSplit:
    """``encoder.encode`` of a split, kept in memory: several prompts on one task tokenise it once."""
    shelf = _encoded.setdefault(encoder.backbone, OrderedDict())
    key = (split.fingerprint, encoder.task.fingerprint(), encoder.layout.name, encoder.budget)
    if key not in shelf:
        shelf[key] = encoder.encode(split.examples)
        while len(shelf) > _CACHED_SPLITS:
            shelf.popitem(last=False)
    shelf.move_to_end(key)
    return shelf[key]
