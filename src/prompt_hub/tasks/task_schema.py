"""Reads a task from plain data, and says everything that is wrong with it at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.mini.generator import MAKERS
from prompt_hub.tasks.metrics import METRICS
from prompt_hub.tasks.paper_form import read_label_ids, read_seq2seq
from prompt_hub.tasks.task import (
    DEFAULT_FAMILY,
    FAMILIES,
    KINDS,
    TYPES,
    HubLocation,
    Task,
    template_problems,
)

_FIELDS = frozenset(Task.__dataclass_fields__)
_HUB_FIELDS = frozenset(HubLocation.__dataclass_fields__)
_SPLITS = ("train", "validation", "test")
# A name is a path below a data folder: no part of it may be empty, hidden or lead upwards.
_NAME_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"(?=.{{1,100}}\Z){_NAME_PART}(/{_NAME_PART})?")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")

_REGRESSION_METRICS = ("pearson", "spearman")
_GENERATION_METRICS = ("exact_match", "token_f1", "rouge1", "rouge2", "rougeL", "bleu_paper")


def metrics_for(kind: str) -> tuple[str, ...]:
    """Names of the metrics that a task of this kind can have."""
    if kind == "generation":
        return _GENERATION_METRICS
    if kind == "regression":
        return _REGRESSION_METRICS
    return tuple(name for name in METRICS if name not in _GENERATION_METRICS + _REGRESSION_METRICS)


def validate_task(data: Any) -> list[str]:
    """All problems of a task given as plain data, each with field, value, what is allowed and the fix."""
    return _Reader(data).problems


def task_from_dict(data: Any, where: str = "task") -> Task:
    """Plain data, as a YAML file holds it, to a ``Task``; ``UserError`` lists all problems."""
    reader = _Reader(data)
    if reader.task is None:
        lines = "\n".join(f"  - {problem}" for problem in reader.problems)
        raise UserError(f"{where} is not a valid task:\n{lines}")
    return reader.task


class _Reader:
    """Collects problems while it turns plain data into the fields of a task."""

    def __init__(self, data: Any) -> None:
        self.problems: list[str] = []
        self.task: Task | None = None
        if not isinstance(data, Mapping):
            self._complain(f"A task is a mapping of fields, got {_show(data)}.")
            return
        self.data: Mapping[Any, Any] = data
        self._check_known(data, _FIELDS, "")
        columns = self._string_map("columns")
        task = Task(
            name=self._name(),
            type=self._choice("type", TYPES, "custom"),
            kind=self._choice("kind", KINDS, "classification"),
            classes=self._words("classes"),
            label_map=self._string_map("label_map"),
            drop_labels=self._words("drop_labels"),
            columns=columns,
            templates=self._string_map("templates"),
            label_words=self._label_words("label_words"),
            metrics=self._words("metrics"),
            max_length=self._positive("max_length", 128),
            max_target_length=self._positive("max_target_length", 8),
            label_range=self._range(),
            paper_segments=self._words("paper_segments"),
            paper_seq2seq=read_seq2seq(data.get("paper_seq2seq"), columns, self._complain),
            paper_label_words=self._label_words("paper_label_words"),
            paper_label_ids=read_label_ids(data.get("paper_label_ids"), self._complain),
            hub=self._hub(),
            generator=self._text("generator"),
            source=self._text("source"),
            aliases=self._words("aliases"),
            description=self._text("description"),
            paper=self._flag("paper"),
        )
        task = self._with_defaults(task)
        self._check_columns(task)
        self._check_labels(task)
        self._check_generator(task)
        self._check_templates(task)
        self._check_metrics(task)
        if not self.problems:
            self.task = task

    def _complain(self, problem: str) -> None:
        self.problems.append(problem)

    # -- single fields ---------------------------------------------------------------------------

    def _check_known(self, data: Mapping[Any, Any], allowed: frozenset[str], prefix: str) -> None:
        for key in data:
            if key not in allowed:
                near = get_close_matches(str(key), allowed, n=1)
                guess = (
                    f" Did you mean {prefix}{near[0]}?" if near else f" Known: {', '.join(sorted(allowed))}."
                )
                self._complain(f"{prefix}{key}: unknown field.{guess}")

    def _name(self) -> str:
        name = self._text("name")
        if not _NAME.fullmatch(name):
            self._complain(
                f"name: {_show(self.data.get('name'))} is not a name. Use letters, digits, _ . and -, "
                "at most 100, starting with a letter or a digit; one / may stand between two such parts."
            )
        return name

    def _text(self, field: str) -> str:
        value = self.data.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            self._complain(f"{field}: {_show(value)} is not text.")
            return ""
        return value

    def _choice(self, field: str, allowed: Sequence[str], default: str) -> str:
        value = self.data.get(field, default)
        if value not in allowed:
            near = get_close_matches(str(value), allowed, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            self._complain(f"{field}: {_show(value)} is not allowed.{guess} Allowed: {', '.join(allowed)}.")
            return default
        return str(value)

    def _flag(self, field: str) -> bool:
        value = self.data.get(field, False)
        word = str(value).lower()
        if word not in _TRUE + _FALSE:
            self._complain(f"{field}: {_show(value)} is not true or false.")
        return word in _TRUE

    def _positive(self, field: str, default: int) -> int:
        value = self.data.get(field, default)
        try:
            number = int(value) if not isinstance(value, (bool, float)) else 0
        except (TypeError, ValueError):
            number = 0
        if not 1 <= number <= 1_000_000:
            self._complain(f"{field}: {_show(value)} is not a whole number from 1 to 1000000.")
            return default
        return number

    def _range(self) -> tuple[float, float] | None:
        value = self.data.get("label_range")
        if value is None:
            return None
        try:
            low, high = (float(item) for item in value)
        except (TypeError, ValueError, OverflowError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self._complain(
                f"label_range: {_show(value)} is not two numbers, low before high, such as [0, 5]."
            )
            return None
        return low, high

    def _words(self, field: str) -> tuple[str, ...]:
        return self._words_of(field, self.data.get(field, ()))

    def _words_of(self, field: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            self._complain(f"{field}: {_show(value)} is not a list, write [first, second].")
            return ()
        for item in value:
            if not isinstance(item, str) or not item.strip():
                self._complain(f"{field}: {_show(item)} is not text. Put it in quotes.")
                return ()
        repeated = sorted({item for item in value if list(value).count(item) > 1})
        if repeated:
            self._complain(f"{field}: {', '.join(map(repr, repeated))} appears more than once.")
        return tuple(value)

    def _string_map(self, field: str) -> dict[str, str]:
        value = self.data.get(field, {})
        if not isinstance(value, Mapping):
            self._complain(f"{field}: {_show(value)} is not a mapping, write it as 'key: value' lines.")
            return {}
        for key, item in value.items():
            if (
                isinstance(key, bool)
                or not isinstance(key, (str, int))
                or not isinstance(item, str)
                or not item
            ):
                self._complain(
                    f"{field}: the entry {_show(key)}: {_show(item)} is not text. Put it in quotes."
                )
                return {}
        return {str(key): item for key, item in value.items()}

    def _label_words(self, field: str) -> dict[str, tuple[str, ...]]:
        value = self.data.get(field, {})
        if not isinstance(value, Mapping):
            self._complain(
                f"{field}: {_show(value)} is not a mapping from family to words, write default: [bad, good]."
            )
            return {}
        return {str(key): self._words_of(f"{field}.{key}", words) for key, words in value.items()}

    def _hub(self) -> HubLocation | None:
        value = self.data.get("hub")
        if value is None:
            return None
        if not isinstance(value, Mapping) or not isinstance(value.get("path"), str) or not value["path"]:
            self._complain(f"hub: {_show(value)} lacks a path such as 'nyu-mll/glue'.")
            return None
        self._check_known(value, _HUB_FIELDS, "hub.")
        for key in ("config", "revision", "data_dir"):
            if not isinstance(value.get(key), (str, type(None))):
                self._complain(f"hub.{key}: {_show(value[key])} is not text. Put it in quotes.")
                return None
        splits = value.get("splits", {"train": "train", "validation": "validation"})
        if not isinstance(splits, Mapping) or not all(
            isinstance(item, str) and item for item in splits.values()
        ):
            self._complain(f"hub.splits: {_show(splits)} is not a mapping such as validation: test.")
            return None
        for key in splits:
            if key not in _SPLITS:
                self._complain(f"hub.splits.{key}: unknown split. Allowed: {', '.join(_SPLITS)}.")
        return HubLocation(
            value["path"], value.get("config"), value.get("revision"), value.get("data_dir"), dict(splits)
        )

    # -- what fields say about each other --------------------------------------------------------

    def _with_defaults(self, task: Task) -> Task:
        given = dict(task.__dict__)
        if not task.columns:
            roles = ("source", "target") if task.kind == "generation" else ("text_a", "label")
            given["columns"] = {role: role for role in roles}
        if not task.metrics and "metrics" not in self.data:
            defaults = {"regression": ("pearson",), "generation": ("rougeL",)}
            given["metrics"] = defaults.get(task.kind, ("accuracy",))
        if not task.paper_segments:
            pair = "text_b" in given["columns"]
            given["paper_segments"] = ("{text_a}", "{text_b}") if pair else ("{text_a}",)
        return Task(**given)

    def _check_columns(self, task: Task) -> None:
        generation = task.kind == "generation"
        allowed = ("source", "target") if generation else ("text_a", "text_b", "label")
        for role in task.columns:
            if role not in allowed:
                self._complain(f"columns.{role}: unknown role. A {task.kind} task has: {', '.join(allowed)}.")
        for role in ("source", "target") if generation else ("text_a", "label"):
            if role not in task.columns:
                self._complain(f"columns.{role}: missing. Name the column that holds it.")
        for segment in task.paper_segments:
            if re.sub(r"\{text_[ab]\}| ", "", segment) or ("{text_b}" in segment and not task.has_text_b):
                self._complain(
                    f"paper_segments: {segment!r} may hold {{text_a}}, spaces and, where there is a text_b "
                    "column, {text_b}."
                )

    def _check_labels(self, task: Task) -> None:
        if task.kind != "classification":
            for field in ("classes", "label_map", "drop_labels"):
                if getattr(task, field):
                    self._complain(f"{field}: only a classification task has it, this one is {task.kind}.")
        elif len(task.classes) < 2:
            self._complain(f"classes: {list(task.classes)} has fewer than two classes.")
        for raw, name in task.label_map.items():
            if name not in task.classes:
                self._complain(
                    f"label_map.{raw}: {name!r} is not a class. Classes: {', '.join(task.classes) or 'none'}."
                )
            elif raw in task.classes and raw != name:
                self._complain(f"label_map.{raw}: the raw label {raw!r} is also the name of another class.")
            if raw in task.drop_labels:
                self._complain(f"label_map.{raw}: the label is in drop_labels too. Remove one of the two.")
        if (task.kind == "regression") != (task.label_range is not None):
            if task.kind == "regression" and "label_range" not in self.data:
                self._complain("label_range: a regression needs it, such as [0, 5].")
            elif task.kind != "regression":
                self._complain(f"label_range: only a regression has it, this task is {task.kind}.")
        if task.kind == "generation":
            if task.label_words:
                self._complain("label_words: a generation task has none. Remove them.")
            return
        needed = 2 if task.kind == "regression" else len(task.classes)
        self._check_families("label_words", task.label_words)
        order = ", ".join(task.classes) or "low, high"
        for field in ("label_words", "paper_label_words", "paper_label_ids"):
            for family, entries in getattr(task, field).items():
                if len(entries) != needed:
                    self._complain(
                        f"{field}.{family}: {len(entries)} words for {needed} classes. Give one a class, "
                        f"in the order {order}."
                    )
        for family, words in task.label_words.items():
            for word in words:
                if word != word.strip():
                    self._complain(f"label_words.{family}: {word!r} has spaces around it. Remove them.")

    def _check_generator(self, task: Task) -> None:
        name = task.generator
        if not name:
            return
        if name not in MAKERS:
            near = get_close_matches(name, MAKERS, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            self._complain(f"generator: {_show(name)} is unknown.{guess} Known: {', '.join(MAKERS)}.")
            return
        if task.hub is not None:
            self._complain("generator: a task with a place on the hub has none. Remove one of the two.")
        _, _, labels = MAKERS[name]
        kept = [label for label in labels if label not in task.drop_labels]
        lost = [label for label in kept if task.label_map.get(label, label) not in task.classes]
        if lost:
            self._complain(
                f"generator: {name!r} makes rows with the labels {', '.join(labels)}; the task has no class "
                f"for {', '.join(lost)}. Name these classes so, or map the labels to classes in label_map."
            )

    def _check_templates(self, task: Task) -> None:
        self._check_families("templates", task.templates)
        for family, template in task.templates.items():
            for problem in template_problems(template, family, task.has_text_b):
                self._complain(f"templates.{family}: {problem}")
            if task.kind == "generation" and family == "masked_lm":
                self._complain("templates.masked_lm: a masked LM cannot generate text. Remove it.")

    def _check_families(self, field: str, entries: Mapping[str, Any]) -> None:
        allowed = (*FAMILIES, DEFAULT_FAMILY)
        if not entries:
            self._complain(f"{field}: missing. Give it for one of: {', '.join(allowed)}.")
        for family in entries:
            if family not in allowed:
                near = get_close_matches(family, allowed, n=1)
                guess = f" Did you mean {near[0]!r}?" if near else ""
                self._complain(f"{field}.{family}: unknown family.{guess} Allowed: {', '.join(allowed)}.")

    def _check_metrics(self, task: Task) -> None:
        allowed = metrics_for(task.kind)
        if not task.metrics:
            self._complain(f"metrics: empty. A {task.kind} task can have: {', '.join(allowed)}.")
        for name in task.metrics:
            if name not in allowed:
                near = get_close_matches(name, allowed, n=1)
                guess = f" Did you mean {near[0]!r}?" if near else ""
                self._complain(
                    f"metrics: {name!r} does not fit a {task.kind} task.{guess} "
                    f"Allowed: {', '.join(allowed)}."
                )


def _show(value: Any) -> str:
    """A value for a message, cut so that hostile input cannot flood the screen."""
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
