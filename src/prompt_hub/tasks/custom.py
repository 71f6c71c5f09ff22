"""A task made from a user's file and a few options, without a YAML file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.tasks.files import Table, read_table
from prompt_hub.tasks.registry import task_names
from prompt_hub.tasks.rows import RowReader, label_key, shortened
from prompt_hub.tasks.task import KINDS, Task
from prompt_hub.tasks.task_schema import task_from_dict

_MOST_CLASSES = 20
_MOST_SHOWN = 5
_SPLIT_STEMS = ("train", "training", "data", "dataset")
_WORD = re.compile(r"[^\W\d_]")


def custom_task(
    train_path: str | os.PathLike[str],
    *,
    text_a: str,
    text_b: str | None = None,
    label: str | None = None,
    target: str | None = None,
    label_words: Mapping[str, str] | None = None,
    template: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    label_range: tuple[float, float] | None = None,
) -> Task:
    """A task over the columns of ``train_path``.

    label: the column of a class or score; target: the column of a text to generate instead. label_words:
    raw label to word, in class order; without it the labels themselves are the words, sorted. A
    regression takes its ``label_range`` from the file and the words no and yes unless told otherwise.
    template: replaces the default of the families that it fits (with ``{mask}``: masked LMs). name: by
    default the file's, or its folder's for a file called train.
    """
    kind = _kind_of(kind, label, target)
    table = read_table(train_path)
    data: dict[str, Any] = {
        "name": name or name_from_file(table.path),
        "type": "custom",
        "kind": kind,
        "columns": _columns(kind, text_a, text_b, label, target),
        "templates": _templates(kind, text_b is not None),
        "source": str(table.path),
    }
    if kind == "classification":
        words = dict(label_words) if label_words else _words_in(table, str(label))
        if len(words) < 2:
            only = ", ".join(f"{raw}={word}" for raw, word in words.items())
            raise UserError(
                f"Label words for one label alone ({only}). "
                "Name every label of the task, at least two, such as 1=bad,2=good."
            )
        data["classes"] = list(words.values())
        data["label_map"] = words
        data["label_words"] = {"default": list(words.values())}
        data["metrics"] = ["accuracy"]
    elif kind == "regression":
        data["label_range"] = list(label_range or _range_in(table, str(label)))
        data["label_words"] = {"default": list(label_words.values()) if label_words else ["no", "yes"]}
        data["metrics"] = ["pearson", "spearman"]
    else:
        data["metrics"] = ["rougeL"]
        data["max_target_length"] = 64
    task = task_from_dict(data, f"The task from {table.path}")
    RowReader(task, table.columns, str(table.path))
    return task if template is None else task.with_overrides(template=template)


def parse_label_words(text: str) -> dict[str, str]:
    """``"1=bad,2=good"`` to ``{"1": "bad", "2": "good"}``, in the order given.

    A backslash takes the next character as it is: ``a\\,b=x``. Words may hold spaces inside.
    """
    words: dict[str, str] = {}
    example = "Write raw label = word, such as 1=bad,2=good; a backslash before , or = keeps it."
    for part in _split_escaped(text, ","):
        pair = _split_escaped(part, "=")
        if len(pair) != 2:
            raise UserError(f"Label words {text!r}: {part.strip()!r} is not one raw=word pair. {example}")
        raw, word = (_unescape(item).strip() for item in pair)
        if not raw or not word:
            raise UserError(f"Label words {text!r}: {part.strip()!r} has an empty side. {example}")
        if raw in words:
            raise UserError(f"Label words {text!r}: the label {raw!r} appears twice. Keep one.")
        if word in words.values():
            raise UserError(f"Label words {text!r}: two labels have the word {word!r}. Give each its own.")
        words[raw] = word
    return words


def _split_escaped(text: str, separator: str) -> list[str]:
    """Parts between unescaped separators, with their backslashes still in."""
    pattern = rf"(?:\\.|[^\\{separator}]|\\$)*"
    parts, start = [], 0
    while True:
        match = re.compile(pattern, re.DOTALL).match(text, start)
        assert match is not None  # The pattern matches the empty string.
        parts.append(match.group())
        if match.end() == len(text):
            return parts
        start = match.end() + 1


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _kind_of(kind: str | None, label: str | None, target: str | None) -> str:
    if (label is None) == (target is None):
        raise UserError(
            "Name one column to learn: label (a class or a score) or target (a text to generate), "
            f"got {'both' if label is not None else 'neither'}."
        )
    implied = "classification" if target is None else "generation"
    if kind is None:
        return implied
    if kind not in KINDS:
        raise UserError(f"Unknown kind {kind!r}. Allowed: {', '.join(KINDS)}.")
    if (kind == "generation") != (target is not None):
        needed = "a target column" if kind == "generation" else "a label column"
        raise UserError(f"A task of kind {kind} needs {needed}.")
    return kind


def name_from_file(path: Path) -> str:
    """The name of a task made from a file: the file's, or its folder's for a file called train."""
    stem = path.parent.name if path.stem.lower() in _SPLIT_STEMS and path.parent.name else path.stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.-") or "custom"
    # A user's copy is not the task of that name: results of the two must not be mixed.
    return f"{name}-custom" if name in task_names() else name


def _columns(
    kind: str, text_a: str, text_b: str | None, label: str | None, target: str | None
) -> dict[str, str | None]:
    if kind == "generation":
        if text_b is not None:
            raise UserError("A generation task reads one text column; text_b does not apply.")
        return {"source": text_a, "target": target}
    pair = {} if text_b is None else {"text_b": text_b}
    return {"text_a": text_a, **pair, "label": label}


def _templates(kind: str, pair: bool) -> dict[str, str]:
    second = " {text_b}" if pair else ""
    templates = {
        "causal_lm": "{text_a}\n{text_b}\nAnswer:" if pair else "{text_a}\nAnswer:",
        "seq2seq_lm": f"{{text_a}}{second}",
    }
    return templates if kind == "generation" else {"masked_lm": f"{{mask}} {{text_a}}{second}", **templates}


def _labels_in(table: Table, column: str) -> list[str]:
    if column not in table.columns:
        raise UserError(
            f"{table.path} has no column {column!r} for the label. Its columns: {', '.join(table.columns)}."
        )
    return [key for row in table.rows if (key := label_key(row.values.get(column)))]


def _words_in(table: Table, column: str) -> dict[str, str]:
    found = sorted(set(_labels_in(table, column)))
    shown = ", ".join(shortened(label) for label in found[:_MOST_SHOWN])
    shown += ", ..." if len(found) > _MOST_SHOWN else ""
    advice = "Name a word for each with label words, such as 1=bad,2=good."
    question = f"Is {column!r} the column of the labels? Its texts go into text_a (--text-a). {advice}"
    if not 2 <= len(found) <= _MOST_CLASSES:
        raise UserError(
            f"Column {column!r} of {table.path} has {len(found)} different labels ({shown}); 2 to "
            f"{_MOST_CLASSES} can be classes without being listed. {advice if len(found) < 2 else question}"
        )
    if not all(_WORD.search(label) for label in found):
        raise UserError(f"The labels in column {column!r} of {table.path} are no words: {shown}. {advice}")
    return {label: label for label in found}


def _range_in(table: Table, column: str) -> tuple[float, float]:
    try:
        scores = [float(label) for label in _labels_in(table, column)]
    except ValueError as error:
        raise UserError(f"Column {column!r} of {table.path} holds no number: {error}.") from error
    if not scores or min(scores) == max(scores):
        raise UserError(f"Column {column!r} of {table.path} has no two different scores to learn from.")
    return min(scores), max(scores)
