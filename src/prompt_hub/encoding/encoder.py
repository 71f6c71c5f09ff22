"""From task examples to token ids, once per task and backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from prompt_hub.backbones.base import Backbone, Batch
from prompt_hub.encoding.layouts import Layout, layout_for
from prompt_hub.encoding.paper_text import PaperT5Text, paper_text
from prompt_hub.encoding.pieces import Pieces
from prompt_hub.encoding.row_text import RowText
from prompt_hub.encoding.template_text import TemplateText
from prompt_hub.errors import UserError
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Example, Task

_CACHED_SPLITS = 32


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

    prompt_len counts against the positions the backbone has. text: how the layout writes rows; template: as
    stored with a prompt; warnings: where the layout could not be followed to the letter. Raises
    ``UserError`` when the prompt leaves no room for text, when template or layout do not fit the backbone,
    or when a label word is empty.
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
        self.layout.check_model(backbone)
        self.prompt_len = prompt_len
        self.tokenizer = backbone.tokenizer
        self.pieces = Pieces(self.tokenizer)
        paper = self.layout.name == "paper"
        self.text: RowText = (paper_text if paper else TemplateText)(backbone, task, self.pieces)
        self.template: str | dict[str, Any] = self.text.template
        self.pad_id = self._pad_id()
        self.label_words: tuple[str, ...] = ()
        self.label_ids: list[list[int]] = []
        if task.kind != "generation":
            self.label_words = self.text.label_words()
            self.label_ids = self.text.label_ids(self.label_words)
            self._check_label_ids()
        self._label_targets: Tensor | None = None
        self.budget = self.text.budget(prompt_len, self._answer_length())

    @property
    def warnings(self) -> list[str]:
        return self.text.warnings

    @property
    def trains_on_tokens(self) -> bool:
        """Whether training aims at token ids, over the whole vocabulary, although label words are scored."""
        return isinstance(self.text, PaperT5Text) and self.task.kind != "regression"

    def spaced(self, word: str) -> str:
        """The word as it stands where it is read: with a space in front, where the tokenizer needs one."""
        return self.text.spaced(word)

    def _answer_length(self) -> int:
        """Positions that an answer takes beside the one that is read."""
        if self.task.kind == "generation" and self.backbone.family == "causal_lm":
            return self.task.max_target_length
        return max((len(word) - 1 for word in self.label_ids), default=0)

    def _pad_id(self) -> int:
        for token_id in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token_id is not None:
                return int(token_id)
        return 0

    def _check_label_ids(self) -> None:
        """Every word has tokens, known ones, and others than the rest."""
        unknown = self.tokenizer.unk_token_id
        seen: dict[tuple[int, ...], str] = {}
        for word, ids in zip(self.label_words, self.label_ids, strict=True):
            if not ids:
                raise UserError(
                    f"Label word {word!r} of task {self.task.name!r} is empty for backbone "
                    f"{self.backbone.name}."
                )
            if unknown is not None and unknown != self.tokenizer.eos_token_id and unknown in ids:
                raise UserError(
                    f"Label word {word!r} of task {self.task.name!r} is not in the vocabulary of backbone "
                    f"{self.backbone.name}. Choose other words with --label-words or in the task file."
                )
            twin = seen.setdefault(tuple(ids), word)
            if twin != word:
                raise UserError(
                    f"Label words {twin!r} and {word!r} of task {self.task.name!r} are the same tokens for "
                    f"backbone {self.backbone.name}, so their classes could not be told apart."
                )

    # -- examples --------------------------------------------------------------------------------

    def encode(self, examples: Sequence[Example]) -> EncodedSplit:
        """Token ids of every example, cut to the budget as the layout cuts."""
        targets = self._target_ids(examples)
        written = self.text.rows(examples, self.budget)
        rows = []
        for index, (example, (ids, read, cut)) in enumerate(zip(examples, written, strict=True)):
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
        longest = self.task.max_target_length
        return [self.text.target_ids(str(example.label).strip(), longest) for example in examples]

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

    def training_batch(self, batch: Batch) -> Batch:
        """The batch as T5 is trained under layout ``paper``: padded to full width, the padding attended to.

        labels: ``[B, T]`` token ids, -100 where there is none (a class index becomes its word's sub-tokens).
        """
        assert isinstance(self.text, PaperT5Text) and batch.labels is not None
        missing = self.text.train_width(self.prompt_len) - batch.input_ids.shape[1]
        input_ids = F.pad(batch.input_ids, (0, max(0, missing)), value=self.pad_id)
        labels = batch.labels
        if self.task.kind != "generation":
            if self._label_targets is None or self._label_targets.device != labels.device:
                targets = _padded(self.text.label_targets(self.label_words), -100)
                self._label_targets = targets.to(labels.device)
            labels = self._label_targets[labels]
        return Batch(input_ids, torch.ones_like(input_ids), batch.read_positions, labels, batch.placement)


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
