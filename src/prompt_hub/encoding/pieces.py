"""How a tokenizer splits a text, at the start of the input and behind other text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

_SENTINEL = "a"


class Pieces:
    """Token ids of texts, never with special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def of(self, text: str) -> list[int]:
        """As at the start of the input."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def of_each(self, texts: Sequence[str], behind: bool = False) -> list[list[int]]:
        """Token ids of texts; behind: as they are where other text stands before them.

        SentencePiece writes a space in front of whatever it is given. Behind other text that space would be
        one too many (``"good" + "."`` is not ``"good ."``), so such texts are tokenised behind a letter,
        which is then cut off.
        """
        if not behind or not self.writes_spaces:
            return [self.of(text) for text in texts] if len(texts) < 2 else self._batch(texts)
        sentinel = self.of(_SENTINEL)
        found = []
        for text, ids in zip(texts, self._batch([_SENTINEL + text for text in texts]), strict=True):
            joined = ids[: len(sentinel)] == sentinel
            found.append(ids[len(sentinel) :] if joined else self.of(text))
        return found

    def spaced(self, text: str) -> str:
        """The text as it stands behind other text: with a space in front, where the tokenizer needs one."""
        return text if self.writes_spaces else f" {text}"

    @cached_property
    def writes_spaces(self) -> bool:
        """Whether the tokenizer puts a space (``▁``) in front of a text by itself."""
        first = self.tokenizer.convert_ids_to_tokens(self.of(_SENTINEL)[:1])
        return bool(first) and first[0].startswith("▁")

    def _batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
