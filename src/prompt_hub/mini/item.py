"""One generated row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A text or a pair of texts, with the label word that is true of it.

    kind: which of several kinds of text of its task it is; every kind has as many rows of each label.
    """

    text_a: str
    text_b: str | None
    label: str
    kind: str = ""

    @property
    def text(self) -> str:
        """Both texts in a row."""
        return self.text_a if self.text_b is None else f"{self.text_a} {self.text_b}"
