"""What a task is: columns, classes, a template and label words per model family, and its metrics."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from prompt_hub.errors import UserError
from prompt_hub.tasks.paper_form import PaperSeq2Seq

FAMILIES = ("masked_lm", "causal_lm", "seq2seq_lm")
DEFAULT_FAMILY = "default"
"""Key of ``templates`` and ``label_words`` that stands in for a family without an entry of its own."""

KINDS = ("classification", "regression", "generation")

TYPES = (
    "sentiment",
    "nli",
    "paraphrase",
    "ethics",
    "qa",
    "summarization",
    "acceptability",
    "similarity",
    "topic",
    "coreference",
    "custom",
)

PLACEHOLDERS = ("mask", "text_a", "text_b")
_MARKS = tuple(f"{{{name}}}" for name in PLACEHOLDERS)

Label = int | float | str | None


@dataclass(frozen=True)
class Example:
    """One row of a task.

    label: class index (classification), a score in the task's range (regression), the target text
    (generation) or None (unlabelled). For generation ``text_a`` is the source and ``references`` holds
    every accepted target, the label among them.
    """

    text_a: str
    text_b: str | None = None
    label: Label = None
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class HubLocation:
    """Where ``datasets.load_dataset`` finds a task; ``splits`` maps train/validation/test to its splits.

    data_dir: the folder inside the repository, which takes the place of a config on the branch
    ``refs/convert/parquet``, where the Hub keeps script-free copies.
    """

    path: str
    config: str | None = None
    revision: str | None = None
    data_dir: str | None = None
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "validation": "validation"})


@dataclass(frozen=True)
class Task:
    """A task as data.

    classes: class names; the order is the class index. label_map: raw label, as a string, to class
    name. drop_labels: raw labels whose rows are left out. columns: role (text_a, text_b, label; for
    generation source, target) to a column, a dotted path (``answers.text``) or a pattern over columns
    (``question: {question} context: {context}``). templates, label_words: by family or ``default``;
    words come in class order, without a leading space. label_range: (low, high) of a regression, whose
    score is ``low + (high - low) * p(second word)``. max_length: text tokens, the prompt not counted.
    paper_segments: what the paper's encoder code puts between its separators, first segment first.
    paper_seq2seq, paper_label_words, paper_label_ids: its T5 text and its label words (``paper_form``).
    generator: the name in ``prompt_hub.mini.generator`` under which rows are made where no data folder holds
    the task; empty for data that somebody has to bring.
    """

    name: str
    type: str
    kind: str
    classes: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    drop_labels: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    label_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("accuracy",)
    max_length: int = 128
    max_target_length: int = 8
    label_range: tuple[float, float] | None = None
    paper_segments: tuple[str, ...] = ("{text_a}",)
    paper_seq2seq: PaperSeq2Seq | None = None
    paper_label_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paper_label_ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    hub: HubLocation | None = None
    generator: str = ""
    source: str = ""
    aliases: tuple[str, ...] = ()
    description: str = ""
    paper: bool = False

    @property
    def has_text_b(self) -> bool:
        return "text_b" in self.columns

    @property
    def text_roles(self) -> tuple[str, ...]:
        """The roles that hold input text: ``source``, or ``text_a`` and perhaps ``text_b``."""
        if self.kind == "generation":
            return ("source",)
        return ("text_a", "text_b") if self.has_text_b else ("text_a",)

    @property
    def label_role(self) -> str:
        return "target" if self.kind == "generation" else "label"

    def template_for(self, family: str) -> str:
        return _entry_for(self.templates, family, f"Task {self.name!r} has no template")

    def label_words_for(self, family: str) -> tuple[str, ...]:
        """One word a class, in class order; a regression has two, for the low and the high end."""
        if self.kind == "generation":
            raise UserError(f"Task {self.name!r} generates text and has no label words.")
        return _entry_for(self.label_words, family, f"Task {self.name!r} has no label words")

    def with_overrides(
        self,
        template: str | None = None,
        label_words: Sequence[str] | None = None,
        family: str | None = None,
    ) -> Task:
        """The task with its template or label words replaced.

        family: the only family the template is for. None: a template with a mask is for masked LMs, one
        without is for the other two.
        """
        changed = self
        if template is not None:
            masked = "{mask}" in parse_template(template, f"Task {self.name!r}")
            unmasked_families = tuple(name for name in FAMILIES if name != "masked_lm")
            families = (family,) if family else ("masked_lm",) if masked else unmasked_families
            for each in families:
                problems = template_problems(template, each, self.has_text_b)
                if problems:
                    raise UserError(f"Task {self.name!r}: " + " ".join(problems))
            changed = replace(changed, templates={**self.templates, **dict.fromkeys(families, template)})
        if label_words is not None:
            if self.kind == "generation":
                raise UserError(f"Task {self.name!r} generates text and takes no label words.")
            needed = 2 if self.kind == "regression" else len(self.classes)
            if len(label_words) != needed or len(set(label_words)) != needed or not all(label_words):
                order = ", ".join(self.classes) or "low, high"
                raise UserError(
                    f"Task {self.name!r} needs {needed} different label words in the order {order}, "
                    f"got {list(label_words)}."
                )
            changed = replace(
                changed,
                label_words={DEFAULT_FAMILY: tuple(label_words)},
                paper_label_words={},
                paper_label_ids={},
            )
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``task_from_dict`` reads back."""
        data = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        if self.paper_seq2seq is not None:
            data["paper_seq2seq"] = _plain(asdict(self.paper_seq2seq))
        if self.hub is not None:
            hub = {item.name: _plain(getattr(self.hub, item.name)) for item in fields(self.hub)}
            data["hub"] = {key: value for key, value in hub.items() if value is not None}
        return {key: value for key, value in data.items() if value not in (None, [], {}, "")}

    def fingerprint(self) -> str:
        """Sixteen hex digits of SHA-256 over everything that can change a score.

        Left out: where the data is fetched from (the split has its own fingerprint) and words for people.
        """
        silent = ("hub", "generator", "source", "aliases", "description", "paper")
        content = {key: value for key, value in self.to_dict().items() if key not in silent}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def parse_template(template: str, where: str = "template") -> tuple[str, ...]:
    """Pieces of a template in order; a placeholder comes as ``"{text_a}"``, all else is literal text.

    Literal braces are written ``{{`` and ``}}``. A literal that spells a placeholder is refused, since
    it could not be told from one in the pieces.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UserError(
            f"{where}: the braces in {template!r} do not match ({error}). "
            "Write {{ and }} for literal ones."
        ) from error
    pieces: list[str] = []
    literal = ""
    for text, name, spec, conversion in parsed:
        literal += text
        if name is None:
            continue
        if spec or conversion or name not in PLACEHOLDERS:
            raise UserError(
                f"{where}: unknown placeholder {{{name}}} in {template!r}. Allowed: {', '.join(_MARKS)}. "
                "Write {{ and }} for literal braces."
            )
        pieces += [literal, f"{{{name}}}"] if literal else [f"{{{name}}}"]
        literal = ""
    if literal:
        pieces.append(literal)
    if sum(piece in _MARKS for piece in pieces) != sum(name is not None for _, name, _, _ in parsed):
        raise UserError(f"{where}: {template!r} spells a placeholder as literal text. Word it differently.")
    return tuple(pieces)


def template_problems(template: str, family: str, has_text_b: bool) -> list[str]:
    """Everything that is wrong with a template for one family, as sentences."""
    try:
        pieces = parse_template(template)
    except UserError as error:
        return [str(error)]
    problems = []
    masks = pieces.count("{mask}")
    if family == "masked_lm" and masks != 1:
        problems.append(f"A masked_lm template needs exactly one {{mask}}, {template!r} has {masks}.")
    if family in ("causal_lm", "seq2seq_lm") and masks:
        problems.append(f"A {family} template has no mask, remove {{mask}} from {template!r}.")
    if family == DEFAULT_FAMILY and masks:
        problems.append(f"{{mask}} belongs in a masked_lm template, not in the default {template!r}.")
    for name in ("text_a", "text_b"):
        if pieces.count(f"{{{name}}}") > 1:
            problems.append(f"{template!r} uses {{{name}}} more than once.")
    if "{text_a}" not in pieces:
        problems.append(f"{template!r} lacks {{text_a}}.")
    if "{text_b}" in pieces and not has_text_b:
        problems.append(f"{template!r} uses {{text_b}}, but the task has no text_b column.")
    return problems


def _entry_for(entries: Mapping[str, Any], family: str, complaint: str) -> Any:
    if family in entries:
        return entries[family]
    if family in FAMILIES and DEFAULT_FAMILY in entries:
        return entries[DEFAULT_FAMILY]
    there = ", ".join(sorted(entries)) or "none"
    if family not in FAMILIES:
        raise UserError(f"Unknown model family {family!r}. Known: {', '.join(FAMILIES)}.")
    raise UserError(f"{complaint} for family {family!r}. It has them for: {there}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
