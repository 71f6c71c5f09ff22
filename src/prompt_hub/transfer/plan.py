"""What a transfer matrix consists of: sources, targets, and the pieces of work that fill its cells.

A plan is plain data. It is stored as ``matrix.json`` beside the grid that holds the results, and it travels
to the workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError, first_line
from prompt_hub.reading import parse_json, read_regular
from prompt_hub.runs.grid import Item
from prompt_hub.runs.records import write_json
from prompt_hub.tasks import METRIC_VERSION, Task, task_from_dict

FILE = "matrix.json"
SCHEMA_VERSION = 1

TRAIN, CELL, FLOOR, SAMPLE = "train", "cell", "floor", "sample"
NO_PROMPT, RANDOM = "no_prompt", "random_prompt"


@dataclass(frozen=True)
class Source:
    """A prompt that is used on every target.

    name: as tables show it. task, type: what it was trained on (None and "custom" if that is not known).
    prompt_len: P. folder: where it lies or will lie; relative to the matrix' own folder if inside. identity:
    the prompt's hash, or everything that its training depends on. is_trained_here: whether a piece of work of
    this matrix makes it, from ``train_rows`` rows.
    """

    name: str
    task: str | None
    type: str
    seed: int | None
    prompt_len: int
    folder: str
    identity: dict[str, Any]
    is_trained_here: bool = False
    train_rows: int = 0

    @property
    def training_key(self) -> str:
        return key_of(TRAIN, self.identity)

    @cached_property
    def written_identity(self) -> str:
        return _canonical(self.identity)


@dataclass(frozen=True)
class Target:
    """A task whose rows prompts are scored on.

    definition: ``Task.to_dict()``. data: fingerprint, source, n and primary metric of its rows. references:
    the rows' classes or scores, None for texts. template, label_words: the task's own, under this backbone.
    prompt_len: P of its own prompt, 0 without one. room: tokens of text beside that. problem: why no prompt
    of this backbone can be scored on it, if so.
    """

    name: str
    type: str
    definition: dict[str, Any]
    fingerprint: str
    data: dict[str, Any]
    references: list[float] | None = None
    template: str | dict[str, Any] | None = None
    label_words: list[str] = field(default_factory=list)
    prompt_len: int = 0
    room: int = 0
    problem: str | None = None

    @cached_property
    def task(self) -> Task:
        return task_from_dict(self.definition, f"Task {self.name!r} of the matrix")


@dataclass(frozen=True)
class Plan:
    """backbone: ``BackboneIdentity.to_dict()``. limit: at most so many rows of a target. training: arguments
    of ``PromptTrainingArguments``. limit_train: at most so many rows to train on. left_out: prompts that do
    not belong here, with the reason.
    """

    backbone: dict[str, Any]
    dtype: str
    layout: str
    split: str
    limit: int | None
    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    training: dict[str, Any] = field(default_factory=dict)
    limit_train: int | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    metric_version: int = METRIC_VERSION

    # -- what belongs together -------------------------------------------------------------------

    def source(self, name: str, seed: int | None) -> Source:
        return next(each for each in self.sources if (each.name, each.seed) == (name, seed))

    def target(self, name: str) -> Target:
        return next(each for each in self.targets if each.name == name)

    def own_sources(self, target: Target) -> list[Source]:
        """The target's own prompts: none, one a seed, or more where a folder holds more."""
        return [each for each in self.sources if each.task == target.name]

    @property
    def seeds(self) -> list[int | None]:
        return list(dict.fromkeys(source.seed for source in self.sources))

    # -- pieces of work --------------------------------------------------------------------------

    def cell_key(self, source: Source, target: Target) -> str:
        """``key_of(CELL, ...)``; what all cells of a target share is written out once, for there are many."""
        before, after = self._around_prompts[target.name, source.task == target.name]
        return _hashed(before + source.written_identity + after)

    def no_prompt_key(self, target: Target) -> str:
        return key_of(FLOOR, self._no_prompt_identity(target))

    def random_key(self, own: Source, target: Target) -> str:
        """The floor of a random prompt whose rows have the norms of ``own``, a prompt of the target."""
        return key_of(FLOOR, self._random_identity(own, target))

    def items(self) -> list[Item]:
        """Everything to be done, in the order in which it is best begun: a source's cells after its training.

        Sources that are one and the same prompt share their cells.
        """
        return list(self._by_key.values())

    @cached_property
    def _by_key(self) -> dict[str, Item]:
        return {item.key: item for item in self._items()}

    def sample_item(self, source: Source, target: Target, rows: Sequence[int]) -> Item:
        """Some rows of a cell (indices into the target's, rising); none of ``items()``, races add them."""
        of = self.cell_key(source, target)
        names = {"source": source.name, "seed": source.seed, "target": target.name}
        chosen = list(map(int, rows))
        return Item(key_of(SAMPLE, {"cell": of, "rows": chosen}), SAMPLE, {**names, "of": of, "rows": chosen})

    def foreign_sources(self, target: Target) -> dict[str, list[Source]]:
        """Prompts of other tasks than the target, by name: those of all seeds together."""
        found: dict[str, list[Source]] = {}
        for source in self.sources:
            if source.task != target.name:
                found.setdefault(source.name, []).append(source)
        return found

    def _items(self) -> Iterator[Item]:
        for target in self.targets:
            identity = self._no_prompt_identity(target)
            yield _item(FLOOR, identity, {"floor": NO_PROMPT, "target": target.name})
        for source in self.sources:
            needs: tuple[str, ...] = ()
            named = {"source": source.name, "seed": source.seed}
            if source.is_trained_here:
                needs = (source.training_key,)
                yield _item(TRAIN, source.identity, named)
            for target in self.targets:
                names = {**named, "target": target.name}
                if source.task == target.name:
                    identity = self._random_identity(source, target)
                    yield _item(FLOOR, identity, {"floor": RANDOM, **names}, needs)
                work = {**names, "identity": self._cell_identity(source, target)}
                yield Item(self.cell_key(source, target), CELL, work, needs)

    def _cell_identity(self, source: Source, target: Target) -> dict[str, Any]:
        # On its own task a prompt is scored on all rows, elsewhere without those that it was trained on.
        own = source.task == target.name
        return {"prompt": source.identity, "own_task": own, **self._scored_on(target)}

    @cached_property
    def _around_prompts(self) -> dict[tuple[str, bool], tuple[str, str]]:
        """By target and whether it is the prompt's own: a cell's identity before and behind the prompt's."""
        found = {}
        for target in self.targets:
            for own in (False, True):
                parts = {"own_task": own, **self._scored_on(target)}
                before = _canonical([CELL, {name: parts[name] for name in parts if name < "prompt"}])
                after = _canonical({name: parts[name] for name in parts if name > "prompt"})
                found[target.name, own] = f'{before[:-2]},"prompt":', f",{after[1:]}]"
        return found

    def _no_prompt_identity(self, target: Target) -> dict[str, Any]:
        return {"floor": NO_PROMPT, "room": target.room, **self._scored_on(target)}

    def _random_identity(self, own: Source, target: Target) -> dict[str, Any]:
        return {"floor": RANDOM, "norms_of": own.identity, "seed": own.seed, **self._scored_on(target)}

    def _scored_on(self, target: Target) -> dict[str, Any]:
        """What a score depends on besides the prompt."""
        return {
            "backbone": model_identity(self.backbone),
            "dtype": self.dtype,
            "layout": self.layout,
            "task": target.fingerprint,
            "rows": target.data["fingerprint"],
            "template": target.template,
            "label_words": list(target.label_words),
            "metric_version": self.metric_version,
        }

    # -- disk ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Plan:
        return cls(
            **{
                **stored,
                "sources": tuple(Source(**each) for each in stored["sources"]),
                "targets": tuple(Target(**each) for each in stored["targets"]),
                "left_out": tuple((path, reason) for path, reason in stored["left_out"]),
            }
        )

    def save(self, folder: Path, made_by: dict[str, Any], verdicts: Sequence[dict[str, Any]] = ()) -> None:
        """made_by: what a reader needs to repeat the work: command, environment, places. verdicts: of races,
        as ``verdicts.py`` reads them.
        """
        stored = {"schema_version": SCHEMA_VERSION, "made_by": made_by, "plan": self.to_dict()}
        if verdicts:
            stored["verdicts"] = list(verdicts)
        write_json(folder / FILE, stored)

    def is_stored_in(self, folder: Path) -> bool:
        """Whether this is the plan that was asked for last in ``folder``."""
        return _canonical(read_plan(folder)["plan"]) == _canonical(self.to_dict())

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Raises ``UserError`` where there is no matrix, or one that this version does not read."""
        with whole(folder):
            plan = cls.from_dict(read_plan(folder)["plan"])
            for target in plan.targets:  # what is missing there would stop whoever asks for keys
                plan.no_prompt_key(target)
        return plan


def key_of(kind: str, identity: dict[str, Any]) -> str:
    """Twenty-four hex digits of SHA-256 over everything that a result depends on."""
    return _hashed(_canonical([kind, identity]))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hashed(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]


def model_identity(backbone: dict[str, Any]) -> dict[str, Any]:
    """A backbone's identity without what it is called."""
    return {name: value for name, value in backbone.items() if name not in ("name", "revision")}


def _item(kind: str, identity: dict[str, Any], names: dict[str, Any], needs: tuple[str, ...] = ()) -> Item:
    return Item(key_of(kind, identity), kind, {**names, "identity": identity}, needs)


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Inside the block, what is missing or does not fit in the files of a matrix is a ``UserError``."""
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(
            f"The matrix in {folder} is damaged or was changed ({what}). "
            "Restore it from a copy, or run the matrix command again with another --output."
        ) from error


def made_by(folder: Path) -> dict[str, Any]:
    """What was stored beside the plan: command, environment, places."""
    with whole(folder):
        return dict(read_plan(folder)["made_by"])


def read_plan(folder: Path) -> dict[str, Any]:
    """What is stored in ``folder``, as it is; ``UserError`` where that is no matrix of this version."""
    path = folder / FILE
    try:
        stored = parse_json(read_regular(path).decode("utf-8"))
        version = stored["schema_version"]
    except FileNotFoundError:
        raise UserError(f"{folder} holds no transfer matrix: {FILE} is not there.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}). Run the matrix command again.") from None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by another version of Prompt Hub: schema {version}, this one reads "
            f"schema {SCHEMA_VERSION}. Run the matrix command again; finished cells are kept."
        )
    return dict(stored)
