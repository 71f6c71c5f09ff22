"""What a layout has to say about text: how a row, a label word and a target become token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from prompt_hub.tasks.task import Example


class WrittenRow(NamedTuple):
    """ids: the text without the prompt. read: where the label is read. cut: whether it lost tokens."""

    ids: list[int]
    read: int
    cut: bool


class RowText(Protocol):
    """template: as stored with a prompt. warnings: where the layout could not be followed to the letter."""

    warnings: list[str]

    @property
    def template(self) -> str | dict[str, Any]: ...

    def label_words(self) -> tuple[str, ...]: ...

    def label_ids(self, words: Sequence[str]) -> list[list[int]]:
        """Token ids of each label word; an empty list for a word that has none."""
        ...

    def budget(self, prompt_len: int, answer: int) -> int:
        """How many tokens of a row's text are kept beside the prompt and ``answer`` further tokens.

        Raises ``UserError`` when there is room for none.
        """
        ...

    def rows(self, examples: Sequence[Example], budget: int) -> list[WrittenRow]: ...

    def spaced(self, word: str) -> str:
        """The word as it stands where it is read."""
        ...

    def target_ids(self, text: str, longest: int) -> list[int]:
        """Token ids of a text to generate."""
        ...
