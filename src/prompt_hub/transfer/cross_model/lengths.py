"""A prompt in another number of rows.

The rows of the result are rows of the prompt, evenly spaced over it: some are left out where it gets shorter,
some stand twice in a row where it gets longer. Nothing is averaged: the mean of two rows is shorter than both
and near neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt


def evenly_spaced(given: int, wanted: int) -> list[int]:
    """``wanted`` indices into ``given`` rows, rising: row i of the result lies in the middle of its share."""
    return [(2 * row + 1) * given // (2 * wanted) for row in range(wanted)]


def check_length(length: int) -> None:
    if length < 1:
        raise UserError(f"A prompt needs at least one row, not {length}. 20 to 100 are usual.")


def resample(rows: Tensor, length: int, dead: Sequence[int] = ()) -> Tensor:
    """``[P, H]`` to ``[length, H]``. dead: rows that never reach the model; they keep their places."""
    check_length(length)
    first = [row for row in dead if row < length]
    live = [row for row in range(len(rows)) if row not in dead]
    if not live:
        return rows[first]
    kept = [live[index] for index in evenly_spaced(len(live), length - len(first))]
    for row in first:
        kept.insert(row, row)
    return rows[kept]


def resized(prompt: SoftPrompt, length: int) -> SoftPrompt:
    """The prompt in ``length`` rows; a prompt of that length as it is.

    What its training began with is resampled likewise. Its parent says how many rows there were
    (``resampled_from``); its scores were those of another prompt and are left out.
    """
    check_length(length)
    if length == prompt.prompt_len:
        return prompt
    dead = prompt.metadata.dead_rows
    parent = {**(prompt.metadata.parent or {}), "resampled_from": prompt.prompt_len}
    return SoftPrompt(
        resample(prompt.embeddings, length, dead),
        replace(prompt.metadata, parent=parent, metrics={}),
        prompt.train_rows,
        None if prompt.initial is None else resample(prompt.initial, length, dead),
    )
