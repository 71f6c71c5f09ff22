"""Turns the raw values of a row into an ``Example``: finds columns, reads texts and labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.tasks.task import Example, Label, Task

Getter = Callable[[Mapping[str, Any]], Any]

_WHOLE = re.compile(r"[+-]?\d+\.0+")
_PATTERN_COLUMN = re.compile(r"\{(\w+)\}")


class RowReader:
    """Reads rows of one table for one task.

    columns: the table's. where: names the table in errors. unlabelled: the label column need not exist
    and is not read. A role is looked for under the task's column first, then under its own name
    (text_a, text_b, label; source, target), so that files made for the package work for every task.
    """

    def __init__(self, task: Task, columns: Sequence[str], where: str, unlabelled: bool = False) -> None:
        self.task = task
        self.unlabelled = unlabelled
        roles = task.text_roles if unlabelled else (*task.text_roles, task.label_role)
        self._getters = {role: self._find(role, columns, where) for role in roles}

    def _find(self, role: str, columns: Sequence[str], where: str) -> Getter:
        wanted = self.task.columns[role]
        for name in (wanted, role):
            getter = _getter(name, columns)
            if getter is not None:
                return getter
        near = get_close_matches(wanted, columns, n=1) or get_close_matches(role, columns, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"{where} has no column {wanted!r} for {role} of task {self.task.name!r}.{guess} "
            f"Its columns: {', '.join(columns)}. For a file of your own name it with "
            f"--{role.replace('_', '-')}."
        )

    def read(self, values: Mapping[str, Any], place: str) -> Example | None:
        """The example, or None if its label is one the task drops. ``UserError`` names ``place``."""
        label: Label = None
        references: tuple[str, ...] = ()
        if not self.unlabelled:
            raw = self._get(self.task.label_role, values, place)
            if self.task.kind == "generation":
                references = _targets(raw, place)
                label = references[0]
            else:
                key = label_key(raw)
                if key in self.task.drop_labels:
                    return None
                label = self._label(raw, key, place)
        texts = [_checked_text(self._get(role, values, place), role, place) for role in self.task.text_roles]
        return Example(texts[0], texts[1] if len(texts) > 1 else None, label, references)

    def has_blank(self, values: Mapping[str, Any]) -> bool:
        """Whether a text of the row, or the text it is to generate, is null or blank."""
        generates = self.task.kind == "generation" and not self.unlabelled
        roles = (*self.task.text_roles, "target") if generates else self.task.text_roles
        texts = [self._get(role, values, "The row") for role in roles]
        return any(
            text is None or text == [] or (isinstance(text, str) and not text.strip()) for text in texts
        )

    def _get(self, role: str, values: Mapping[str, Any], place: str) -> Any:
        try:
            return self._getters[role](values)
        except (KeyError, TypeError, IndexError) as error:
            there = ", ".join(map(str, values)) or "none"
            raise UserError(
                f"{place} has no {role} ({self.task.columns[role]!r}). Its keys: {there}."
            ) from error

    def _label(self, raw: Any, key: str, place: str) -> Label:
        if not key:
            raise UserError(f"{place} has no label. Fill it in, or remove the row.")
        if self.task.kind == "regression":
            return self._score(key, place)
        for spelling in _spellings(raw, key):
            name = self.task.label_map.get(spelling, spelling)
            if name in self.task.classes:
                return self.task.classes.index(name)
        allowed = list(dict.fromkeys((*self.task.label_map, *self.task.classes)))
        near = get_close_matches(key, allowed, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        said = shortened(key)
        if said != key:
            hint = f"Is {self.task.columns['label']!r} the column of the labels? Its texts go into --text-a."
        else:
            hint = (
                "For a file whose labels are others, say what they mean (--text-a, --label and "
                f"--label-words), such as {key}={self.task.classes[0]},OTHER={self.task.classes[-1]}."
            )
        raise UserError(
            f"{place}: label {said!r} is not a label of task {self.task.name!r}.{guess} "
            f"Allowed: {', '.join(allowed)}. {hint}"
        )

    def _score(self, key: str, place: str) -> float:
        low, high = self.task.label_range or (-math.inf, math.inf)
        try:
            score = float(key)
        except ValueError:
            score = math.nan
        if not low <= score <= high:
            raise UserError(f"{place}: score {key!r} is not a number from {low:g} to {high:g}.")
        return score


def label_key(raw: Any) -> str:
    """A raw label as the text that ``label_map`` is keyed by; empty if there is none.

    Whole floats lose their ``.0``: a column of integers with a gap is read as floats by many tools.
    """
    if raw is None or (isinstance(raw, float) and math.isnan(raw)):
        return ""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    key = str(raw).strip()
    try:
        key.encode()
    except UnicodeEncodeError:
        raise UserError(f"Label {key!r} holds half of a surrogate pair. Write the whole character.") from None
    return key


def _spellings(raw: Any, key: str) -> Iterator[str]:
    """A label, and other ways to write the same: JSON's true as True or 1, a table's 1.0 as 1."""
    yield key
    if isinstance(raw, bool):
        yield str(raw)
        yield str(int(raw))
    elif _WHOLE.fullmatch(key):
        yield key.partition(".")[0]


def shortened(text: str, longest: int = 40) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _getter(name: str, columns: Sequence[str]) -> Getter | None:
    """How to read ``name`` from a row: a column, a dotted path into one, or a pattern over several."""
    if name in columns:
        return lambda values: values[name]
    parts = _PATTERN_COLUMN.findall(name)
    if parts:
        if not all(part in columns for part in parts):
            return None
        return lambda values: _PATTERN_COLUMN.sub(lambda match: str(values[match.group(1)]), name)
    head, *path = name.split(".")
    if path and head in columns:
        return lambda values: _descend(values[head], path)
    return None


def _descend(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        value = [item[step] for item in value] if isinstance(value, list) else value[step]
    return value


def _checked_text(value: Any, role: str, place: str) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{place}: {role} is empty. Remove the row or fill it in.")
    if not isinstance(value, str):
        raise UserError(
            f"{place}: {role} is {type(value).__name__} {str(value)[:40]!r}, not text. Put it in quotes."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}: {role} holds half of a surrogate pair, {value[error.start]!r}, at character "
            f"{error.start + 1}. Write the whole character."
        ) from error
    return value


def _targets(raw: Any, place: str) -> tuple[str, ...]:
    """One text or a list of accepted texts, without repeats."""
    items = raw if isinstance(raw, (list, tuple)) else [raw]
    if not items:
        raise UserError(f"{place}: target is an empty list. Give at least one accepted text.")
    return tuple(dict.fromkeys(_checked_text(item, "target", place) for item in items))
