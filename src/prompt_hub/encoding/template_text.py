"""Rows as a task's template has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.layouts import template_parts
from prompt_hub.encoding.pieces import Pieces
from prompt_hub.encoding.row_text import WrittenRow
from prompt_hub.errors import UserError
from prompt_hub.tasks.task import Example, Task


class TemplateText:
    """``RowText`` of every layout that puts the prompt in front of the template.

    parts: of the template; literals: their token ids. prefix, suffix: the tokenizer's own special tokens.
    """

    def __init__(self, backbone: Backbone, task: Task, pieces: Pieces) -> None:
        self.backbone = backbone
        self.task = task
        self.pieces = pieces
        self.warnings: list[str] = []
        self.template: str = task.template_for(backbone.family)
        self.parts = template_parts(self.template, backbone.family, task.has_text_b)
        self.prefix, self.suffix = special_affixes(backbone.tokenizer)
        if backbone.family == "causal_lm":
            self.suffix = []
        self.literals = [
            pieces.of_each([part.text], behind=place > 0)[0] if part.kind == "literal" else []
            for place, part in enumerate(self.parts)
        ]

    def label_words(self) -> tuple[str, ...]:
        return self.task.label_words_for(self.backbone.family)

    def label_ids(self, words: Sequence[str]) -> list[list[int]]:
        return [self.pieces.of(self.spaced(word.strip())) if word.strip() else [] for word in words]

    def budget(self, prompt_len: int, answer: int) -> int:
        limit = self.task.max_length
        positions = self.backbone.max_positions
        if positions is None:
            return limit
        fixed = len(self.prefix) + len(self.suffix) + self._literal_length()
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

    def rows(self, examples: Sequence[Example], budget: int) -> list[WrittenRow]:
        """Fields are cut from their ends, the longest first, to the budget."""
        columns: dict[str, list[list[int]]] = {}
        for place, part in enumerate(self.parts):
            if part.kind in ("text_a", "text_b"):
                texts = [part.text + (getattr(example, part.kind) or "").strip() for example in examples]
                columns[part.kind] = self.pieces.of_each(texts, behind=place > 0)
        written = []
        for index in range(len(examples)):
            fields = {name: ids[index] for name, ids in columns.items()}
            cut = cut_longest_first(fields, budget)
            ids = list(self.prefix)
            read = -1
            for part, literal in zip(self.parts, self.literals, strict=True):
                if part.kind == "mask":
                    read = len(ids)
                    ids.append(self.backbone.tokenizer.mask_token_id)
                elif part.kind == "literal":
                    ids += literal
                else:
                    ids += fields[part.kind]
            written.append(WrittenRow(ids + self.suffix, read, cut))
        return written

    def spaced(self, word: str) -> str:
        if self.template[-1:].isspace() and self.backbone.family == "causal_lm":
            return word
        return self.pieces.spaced(word)

    def target_ids(self, text: str, longest: int) -> list[int]:
        causal = self.backbone.family == "causal_lm"
        ids = self.pieces.of(self.spaced(text) if causal else text)
        return [*ids[: longest - 1], self.backbone.tokenizer.eos_token_id]


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
