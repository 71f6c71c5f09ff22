"""Where the runs that are compared start from, and the rows that are fair to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import fitting_encoder
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task


@dataclass(frozen=True)
class Start:
    """name: cold, warm, other or untrained. init: initialiser spec; None: the family's. label: for people."""

    name: str
    init: str | None
    label: str


@dataclass(frozen=True)
class Source:
    """A prompt to start from, and the place it was read from."""

    place: str
    prompt: SoftPrompt

    @classmethod
    def read(cls, place: str) -> Source:
        return cls(place, SoftPrompt.from_pretrained(place))

    @property
    def name(self) -> str:
        return self.prompt.metadata.task or self.place


def starts(source: Source, other: Source | None = None, cold: str | None = None) -> list[Start]:
    """Cold first, then the warm start, then what it has to be compared with.

    A trained prompt of any task has rows of another size than vocabulary, and has moved away from it: part of
    what a warm start gains may come from that. ``other`` (a prompt of another type of task) and ``untrained``
    (random rows with the norms of the source's) show how much.
    """
    found = [
        Start("cold", cold, "cold start"),
        Start("warm", f"prompt:{source.place}", f"from the prompt of {source.name}"),
    ]
    if other is not None:
        found.append(Start("other", f"prompt:{other.place}", f"from the prompt of {other.name}"))
    return [*found, Start("untrained", f"random-like:{source.place}", "untrained, norms of the source")]


def check_sources(
    source: Source, other: Source | None, backbone: Backbone, task: Task, layout: str | None
) -> tuple[str, list[str]]:
    """The layout of the runs (the source's unless another is named), and warnings.

    ``UserError`` for prompts that do not fit the backbone or each other.
    """
    encoder, warnings = fitting_encoder(backbone, source.prompt, task, layout)
    if source.prompt.train_rows is None:
        warnings.append(_unknown_rows(source))
    if other is None:
        return encoder.layout.name, warnings
    warnings += fitting_encoder(backbone, other.prompt, task, encoder.layout.name)[1]
    if other.prompt.hash == source.prompt.hash:
        raise UserError(
            f"Source and other prompt are the same ({source.prompt.hash}). Name a prompt of a task of "
            "another type as the other one, or leave it out."
        )
    if other.prompt.prompt_len != source.prompt.prompt_len:
        raise UserError(
            f"The source {source.place} has {source.prompt.prompt_len} rows and the other prompt "
            f"{other.place} {other.prompt.prompt_len}: the runs would not be alike. Name one of the same "
            "length."
        )
    if other.prompt.train_rows is None:
        warnings.append(_unknown_rows(other))
    if other.prompt.metadata.task_type == task.type != "custom":
        warnings.append(
            f"The other prompt is of the target's own type ({task.type}); it is meant to be of another."
        )
    return encoder.layout.name, warnings


def _unknown_rows(source: Source) -> str:
    return f"The prompt {source.place} does not say which rows it was trained on; overlap was not checked."


def unseen(split: Split, sources: Sequence[Source | None]) -> tuple[Split, int]:
    """The rows that none of the prompts was trained on, and how many were left out.

    They are left out for every start, the cold one too, so that all runs see the same rows.
    """
    hashes = row_hashes(split.examples)
    seen = np.zeros(len(hashes), bool)
    for source in sources:
        if source is not None:
            seen |= source.prompt.has_seen(hashes)
    return split.only(np.flatnonzero(~seen)), int(seen.sum())
