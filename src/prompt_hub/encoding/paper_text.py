"""Rows and label words as the paper's 1.0 code writes them (thunlp/Prompt-Transferability).

The task's segments are tokenised each by itself. Encoders get ``<s> first </s>`` or ``<s> first </s> second
</s>`` (one separator), T5 the segments joined. A row that is too long loses its end, whatever stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.pieces import Pieces
from prompt_hub.encoding.row_text import RowText, WrittenRow
from prompt_hub.errors import UserError
from prompt_hub.tasks.paper_form import filled, paper_label_words, seq2seq_form
from prompt_hub.tasks.task import Example, Task

_SPECIAL_TOKENS = 3
"""Beyond ``max_length`` the encoders' code has room for a start token and two separators."""

_T5_ROOM = 2
"""T5's code pads a row to ``max_length`` and two."""


def paper_text(backbone: Backbone, task: Task, pieces: Pieces) -> RowText:
    if backbone.family == "seq2seq_lm":
        return PaperT5Text(backbone, task, pieces)
    return PaperEncoderText(backbone, task, pieces)


class _PaperText:
    """Label words, the same for both."""

    def __init__(self, backbone: Backbone, task: Task, pieces: Pieces) -> None:
        self.backbone = backbone
        self.task = task
        self.pieces = pieces
        self.warnings: list[str] = []

    def label_words(self) -> tuple[str, ...]:
        return paper_label_words(self.task, self.backbone.family)

    def label_ids(self, words: Sequence[str]) -> list[list[int]]:
        """One token a word: the one that the code reads, or the word's first piece without a space before it.

        Where two words share that piece (not in the vocabularies of the paper), the first piece with a space
        before it. Both cuts are among ``warnings``.
        """
        whole = [self.pieces.of(word) for word in words]
        read = [ids[:1] for ids in whole]
        spelt = [[known] for known in self._spelt_ids()]
        # One word may be read by another token than its own; the others tell the paper's vocabulary.
        if spelt and sum(ids != known for ids, known in zip(read, spelt, strict=True)) <= 1:
            read = spelt
        elif len(set(map(tuple, read))) < len(read):
            whole = [self.pieces.of(self.pieces.spaced(word)) for word in words]
            read = [ids[:1] for ids in whole]
        cut = [repr(word) for word, ids in zip(words, whole, strict=True) if len(ids) > 1]
        if cut:
            self.warnings.append(
                f"Layout 'paper' scores a label word by one token, so {', '.join(cut)} of task "
                f"{self.task.name!r} {'was' if len(cut) == 1 else 'were'} cut."
            )
        return read

    def _spelt_ids(self) -> Sequence[int]:
        """The token ids that the code reads, for the model's type; none where its vocabulary lacks one."""
        spelt = self.task.paper_label_ids.get(str(self.backbone.config.model_type), ())
        return spelt if max(spelt, default=0) < self.backbone.embedding_matrix.shape[0] else ()

    def spaced(self, word: str) -> str:
        return word


class PaperEncoderText(_PaperText):
    """``RowText`` of BERT and RoBERTa. The mask stands in the prompt, so ``read`` is not used."""

    def __init__(self, backbone: Backbone, task: Task, pieces: Pieces) -> None:
        super().__init__(backbone, task, pieces)
        self.template: dict[str, Any] = {"segments": list(task.paper_segments)}
        self.start, self.separator = backbone.tokenizer.cls_token_id, backbone.tokenizer.sep_token_id
        if self.start is None or self.separator is None:
            raise UserError(
                f"Layout 'paper' needs a start and a separator token, which the tokenizer of backbone "
                f"{backbone.name} lacks. Use BERT, RoBERTa or a model with their special tokens."
            )

    def budget(self, prompt_len: int, answer: int) -> int:
        """Tokens of a row with its special tokens. The prompt takes none of the model's positions."""
        # A single text is cut before its special tokens are added, so that one place stays empty.
        room = self.task.max_length + _SPECIAL_TOKENS - (len(self.task.paper_segments) == 1)
        positions = self.backbone.max_positions
        # BERT's position 0 is not used: its code counts from 1, as RoBERTa's does.
        return room if positions is None else min(room, positions - 1)

    def rows(self, examples: Sequence[Example], budget: int) -> list[WrittenRow]:
        columns = [
            self.pieces.of_each([filled(segment, example, self.task) for example in examples])
            for segment in self.task.paper_segments
        ]
        written = []
        for segments in zip(*columns, strict=True):
            ids = [self.start, *chain.from_iterable([*segment, self.separator] for segment in segments)]
            cut = len(ids) > budget
            written.append(WrittenRow([*ids[: budget - 1], self.separator] if cut else ids, 0, cut))
        return written

    def target_ids(self, text: str, longest: int) -> list[int]:
        raise UserError(f"Backbone {self.backbone.name} is a masked LM and cannot generate text.")


class PaperT5Text(_PaperText):
    """``RowText`` of T5."""

    def __init__(self, backbone: Backbone, task: Task, pieces: Pieces) -> None:
        super().__init__(backbone, task, pieces)
        self.form = seq2seq_form(task)
        self.template: dict[str, Any] = {"segments": list(self.form.segments), "end": self.form.end}

    def budget(self, prompt_len: int, answer: int) -> int:
        return self.task.max_length + self.form.beyond

    def train_width(self, prompt_len: int) -> int:
        """Tokens to which a row is padded in training, where the padding is attended to."""
        return self.task.max_length + _T5_ROOM + (prompt_len if self.form.pads_prompt else 0)

    def rows(self, examples: Sequence[Example], budget: int) -> list[WrittenRow]:
        end = [self.backbone.tokenizer.eos_token_id] if self.form.end else []
        columns = [
            self.pieces.of_each([filled(segment, example, self.task) for example in examples])
            for segment in self.form.segments
        ]
        joined = [list(chain.from_iterable(segments)) for segments in zip(*columns, strict=True)]
        return [WrittenRow(ids[:budget] + end, -1, len(ids) > budget) for ids in joined]

    def label_targets(self, words: Sequence[str]) -> list[list[int]]:
        """The sub-tokens of each word that training aims at."""
        return [self.pieces.of(word)[: self.form.target_pieces] for word in words]

    def target_ids(self, text: str, longest: int) -> list[int]:
        """No end token: the code teaches none."""
        return self.pieces.of(text)[:longest]
