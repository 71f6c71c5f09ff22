"""Notices that several kinds of records have."""

from __future__ import annotations

from prompt_hub.overview.words import plural
from prompt_hub.reports.html.blocks import Notice


def negative_transfer(source: str, target: str, score: float, no_prompt: float, n: int, place: str) -> Notice:
    return Notice(
        "negative transfer",
        f"The prompt of {source} on {target}: {score:.3f}, the backbone without a prompt {no_prompt:.3f} "
        f"(n = {n}; {place}).",
    )


def left_out(rows: int, source: str, target: str, place: str) -> Notice:
    """Of rows that a prompt was trained on."""
    return Notice(
        "overlap",
        f"{plural(rows, 'row')} of {target} left out, since the prompt of {source} was trained on their text "
        f"({place}).",
    )
