"""How the paper's 1.0 code writes a task's rows and label words, as data.

Encoders (BERT, RoBERTa): the segments of ``Task.paper_segments``, each tokenised by itself and closed by the
separator token. T5: ``PaperSeq2Seq``. Label words: those of the family unless ``paper_label_words`` has
others; ``paper_label_ids`` are the token ids that the code reads, by model type.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_hub.tasks.task import Example, Task

MODEL_TYPES = ("roberta", "bert", "t5")
"""Model types whose label ids the paper's code spells out."""

_PATTERN_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class PaperSeq2Seq:
    """What the paper's T5 code writes for one task.

    segments: tokenised each by itself, then joined; they may hold ``{text_a}``, ``{text_b}`` and, where the
    source column is a pattern, its columns. beyond: text tokens kept beyond the task's ``max_length`` (-1:
    one less). end: whether ``</s>`` follows. target_pieces: how many sub-tokens of a label word are learned
    (the first alone is scored). pads_prompt: a training row is padded as if the prompt were text too.
    """

    segments: tuple[str, ...]
    beyond: int = -1
    end: bool = True
    target_pieces: int = 1
    pads_prompt: bool = False


def seq2seq_form(task: Task) -> PaperSeq2Seq:
    """The task's own form; for a task that the paper's T5 code does not know, its template as one segment."""
    return task.paper_seq2seq or PaperSeq2Seq((task.template_for("seq2seq_lm"),))


def paper_label_words(task: Task, family: str) -> tuple[str, ...]:
    """One word a class, in class order."""
    return tuple(task.paper_label_words.get(family) or task.label_words_for(family))


def filled(segment: str, example: Example, task: Task) -> str:
    """A segment with the texts of a row in it, each without space around it."""
    values = {"text_a": example.text_a.strip(), "text_b": (example.text_b or "").strip()}
    values |= source_fields(task, example.text_a)
    if set(_names(segment)) - set(values):
        # A row that was not written by the pattern cannot be taken apart; its text stands as it is.
        return values["text_a"]
    return segment.format(**values)


def source_fields(task: Task, text: str) -> dict[str, str]:
    """The columns that a source pattern has joined (``question: {question} context: {context}``), apart.

    Empty where the task has no such pattern or the text does not follow it.
    """
    pattern = task.columns.get("source", "")
    names = _PATTERN_FIELD.findall(pattern)
    if not names:
        return {}
    parts = _PATTERN_FIELD.split(pattern)
    expression = "".join(
        f"(?P<{part}>.*?)" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    match = re.fullmatch(expression, text.strip(), re.DOTALL)
    return {name: value.strip() for name, value in match.groupdict().items()} if match else {}


def read_seq2seq(
    value: Any, columns: Mapping[str, str], complain: Callable[[str], None]
) -> PaperSeq2Seq | None:
    """``paper_seq2seq`` of a task file; every problem goes to ``complain``."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        complain(f"paper_seq2seq: {value!r:.60} is not a mapping with segments.")
        return None
    known = {item.name for item in fields(PaperSeq2Seq)}
    for key in value:
        if key not in known:
            complain(f"paper_seq2seq.{key}: unknown field. Known: {', '.join(sorted(known))}.")
    segments = value.get("segments")
    if (
        not isinstance(segments, Sequence)
        or isinstance(segments, str)
        or not segments
        or not all(isinstance(segment, str) and segment.strip() for segment in segments)
    ):
        complain(f"paper_seq2seq.segments: {segments!r:.60} is not a list of texts.")
        return None
    allowed = {"text_a", "text_b", *_PATTERN_FIELD.findall(columns.get("source", ""))}
    for segment in segments:
        try:
            odd = set(_names(segment)) - allowed
        except ValueError:
            odd = {segment}
        if odd:
            complain(
                f"paper_seq2seq.segments: {segment!r} names {', '.join(sorted(odd))}. Placeholders: "
                f"{', '.join(sorted(allowed))}."
            )
            return None
    return PaperSeq2Seq(
        tuple(segments),
        _whole(value, "beyond", -1, complain),
        _flag(value, "end", True, complain),
        _whole(value, "target_pieces", 1, complain),
        _flag(value, "pads_prompt", False, complain),
    )


def read_label_ids(value: Any, complain: Callable[[str], None]) -> dict[str, tuple[int, ...]]:
    """``paper_label_ids`` of a task file: token ids in class order, by model type."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        complain(f"paper_label_ids: {value!r:.60} is not a mapping from model type to token ids.")
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for kind, ids in value.items():
        try:
            found[str(kind)] = tuple(int(item) for item in ids)
        except (TypeError, ValueError):
            complain(f"paper_label_ids.{kind}: {ids!r:.60} is not a list of token ids.")
        if kind not in MODEL_TYPES:
            complain(f"paper_label_ids.{kind}: unknown model type. Known: {', '.join(MODEL_TYPES)}.")
    return found


def _names(segment: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(segment) if name is not None]


def _whole(value: Mapping[str, Any], field: str, default: int, complain: Callable[[str], None]) -> int:
    try:
        return int(value.get(field, default))
    except (TypeError, ValueError):
        complain(f"paper_seq2seq.{field}: {value[field]!r:.60} is not a whole number.")
        return default


def _flag(value: Mapping[str, Any], field: str, default: bool, complain: Callable[[str], None]) -> bool:
    word = str(value.get(field, default)).lower()
    if word not in ("true", "false"):
        complain(f"paper_seq2seq.{field}: {value[field]!r:.60} is not true or false.")
    return word == "true"
