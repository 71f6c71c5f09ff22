"""From two backbones and some tasks to a trained projector, judged on tasks that it has not seen."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.tasks import Split, Task
from prompt_hub.tasks.splits import row_hashes
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.transfer.cross_model.base import CrossModelMap
from prompt_hub.transfer.cross_model.fit import fit_map
from prompt_hub.transfer.cross_model.map_files import CONSTANT
from prompt_hub.transfer.cross_model.maps import WEIGHT
from prompt_hub.transfer.cross_model.projector_run import TaskData, Trained, train_projector
from prompt_hub.transfer.cross_model.recipe import RANDOM, RATES, Recipe, token_norm
from prompt_hub.transfer.cross_model.task_prompts import check_lengths, prompts_for
from prompt_hub.transfer.cross_model.unseen import (
    JudgedTask,
    group_gains,
    group_of,
    group_verdicts,
    judge,
)

RUNS = "runs"
ALL_TASKS = "all-tasks"


@dataclass
class Material:
    """What is there before a projector is trained.

    data: by task. trained: names of the tasks to train on; the others are only judged. validation: rows by
    task.
    """

    source: Backbone
    target: Backbone
    data: dict[str, TaskData]
    trained: list[str]
    validation: dict[str, Split]

    def only(self, names: Sequence[str]) -> list[TaskData]:
        return [self.data[name] for name in names]

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(length, width) of source and target prompts."""
        one = next(iter(self.data.values()))
        source = one.source.prompt_len, one.source.hidden
        return source, (one.encoder.prompt_len, self.target.hidden)


def gather(
    source: Backbone,
    target: Backbone,
    tasks: Sequence[Task],
    rows: Mapping[str, tuple[Split, Split]],
    args: PromptTrainingArguments,
    folder: Path,
    *,
    unseen: Sequence[Task] = (),
    stored: Path | None = None,
) -> Material:
    """The prompts of both backbones for all tasks, from ``stored`` or trained and kept below ``folder``.

    tasks: to train a projector on. unseen: tasks that it is only judged on. rows: (train, validation) by
    task. args: how prompts are trained that are not there; ``layout`` is the target's. Raises ``UserError``
    for tasks without label words, named twice, or with prompts of several lengths.
    """
    every = [*tasks, *unseen]
    check_tasks(tasks, unseen)
    train = {task.name: rows[task.name][0] for task in every}
    source_args = _copy(args, layout=None)
    sources = prompts_for(source, every, train, source_args, folder / "source", stored)
    own = prompts_for(target, every, train, args, folder / "target", stored)
    check_lengths(sources, "source")
    length = check_lengths(own, "target")
    data = {
        task.name: TaskData(
            Encoder(target, task, length, args.layout), sources[task.name], own[task.name], train[task.name]
        )
        for task in every
    }
    validation = {task.name: rows[task.name][1] for task in every}
    return Material(source, target, data, [task.name for task in tasks], validation)


def check_tasks(tasks: Sequence[Task], unseen: Sequence[Task] = ()) -> None:
    """``UserError`` for no task, one named twice, or one without label words."""
    names = [task.name for task in (*tasks, *unseen)]
    if not tasks:
        raise UserError("Name at least one task to train on, such as --tasks mini/film,mini/hotel.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"Named twice: {', '.join(twice)}. Every task is either trained on or unseen.")
    for task in (*tasks, *unseen):
        if task.kind == "generation":
            raise UserError(
                f"Task {task.name!r} asks for generated text; projectors are trained on tasks with label "
                "words."
            )


@dataclass(frozen=True)
class TrainedMap:
    """found: the map trained on all tasks. judged: every task, in its group. note: called as they come."""

    found: CrossModelMap
    judged: list[JudgedTask]


def train_map(
    material: Material,
    recipe: Recipe,
    args: PromptTrainingArguments,
    folder: Path,
    *,
    leave_one_out: bool = True,
    resume: bool = True,
    note: Callable[[JudgedTask], None] = lambda judged: None,
) -> TrainedMap:
    """Train a projector on the material's tasks and judge it; everything is kept below ``folder``.

    leave_one_out: with several tasks, also train one without each of them and judge it on that task. note:
    is called with each judged task. resume: a call that was interrupted goes on where it was; without it
    everything is trained anew. The map is not saved.
    """
    if args.world_size > 1:
        raise UserError("Projectors are trained in one process. Start without torchrun or accelerate.")
    args = _copy(args, learning_rate=args.learning_rate or RATES[recipe.network])
    if not resume:
        shutil.rmtree(folder / RUNS, ignore_errors=True)
    trainer = _Trainer(material, recipe, args, folder / RUNS)
    judged: list[JudgedTask] = []

    def judge_on(found: CrossModelMap, name: str, trained: Sequence[str]) -> None:
        task = material.data[name].encoder.task
        group = group_of(task, [material.data[one].encoder.task for one in trained])
        judged.append(
            judge(
                found,
                material.data[name],
                material.validation[name],
                group,
                others={one: material.data[one] for one in material.trained},
                batch_size=args.per_device_eval_batch_size,
                seed=args.seed,
            )
        )
        note(judged[-1])

    final = trainer.map_of(material.trained, ALL_TASKS)
    for name in material.data:
        judge_on(final, name, material.trained)
    if leave_one_out and len(material.trained) > 1:
        for name in material.trained:
            others = [one for one in material.trained if one != name]
            judge_on(trainer.map_of(others, f"without-{name.replace('/', '--')}"), name, others)
    gains = [asdict(one) for one in group_gains(judged)]
    final.metrics = {
        "groups": gains,
        "verdicts": group_verdicts(judged),
        "tasks": [{**one.to_dict(), "controls": None} for one in judged],
    }
    final.controls = {f"{one.group}: {one.task}": one.controls for one in judged}
    return TrainedMap(final, judged)


class _Trainer:
    """Maps of one recipe from some or all tasks."""

    def __init__(
        self, material: Material, recipe: Recipe, args: PromptTrainingArguments, folder: Path
    ) -> None:
        self.material, self.recipe, self.args, self.folder = material, recipe, args, folder
        self.norms = token_norm(material.source), token_norm(material.target)
        self.start = None
        if recipe.start != RANDOM:
            self.start = fit_map(material.source, material.target, recipe.start, seed=args.seed).tensors[
                WEIGHT
            ]

    def map_of(self, names: Sequence[str], run: str) -> CrossModelMap:
        """A map trained on the named tasks, with its constant-input control."""
        data = self.material.only(names)
        trained = self._train(data, self.folder / run / "projector", False)
        control = self._train(data, self.folder / run / "constant-input", True)
        identities = self.material.source.identity, self.material.target.identity
        return CrossModelMap(
            *identities,
            method=trained.network.kind,
            tensors={**trained.weights, CONSTANT: control.image},
            source_norm=self.norms[0],
            target_norm=self.norms[1],
            scale="none",
            train_tasks=list(names),
            train_rows=_rows_of(data),
            network=trained.network,
            training=self._training(trained),
            seed=self.args.seed,
            warnings=_warnings(self.material),
        )

    def _train(self, data: Sequence[TaskData], folder: Path, constant: bool) -> Trained:
        source = self.material.source.identity
        norm = self.norms[1]
        return train_projector(
            data, source, self.recipe, norm, self.args, folder, constant=constant, start=self.start
        )

    def _training(self, trained: Trained) -> dict[str, Any]:
        with torch.device("meta"):
            projector = trained.network.build()
        encoder = next(iter(self.material.data.values())).encoder
        return {
            "recipe": asdict(self.recipe),
            "layout": encoder.layout.name,
            "learning_rate": self.args.learning_rate,
            "batch_size": self.args.train_batch_size,
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "parameters": projector.parameter_count,
            "training_bytes": projector.training_bytes,
        }


def _rows_of(data: Sequence[TaskData]) -> torch.Tensor:
    """``[n]`` int64: hashes of all rows that a projector or one of its source prompts was trained on."""
    rows = [row_hashes(one.train.examples) for one in data]
    rows += [one.source.train_rows.numpy() for one in data if one.source.train_rows is not None]
    return torch.from_numpy(np.unique(np.concatenate(rows)))


def _warnings(material: Material) -> list[str]:
    found = []
    if material.source.identity.embedding_hash == material.target.identity.embedding_hash:
        found.append(
            f"Source and target are the same backbone ({material.source.name!r}): its prompts need no "
            "projector."
        )
    return found


def _copy(args: PromptTrainingArguments, **changes: Any) -> PromptTrainingArguments:
    changed = copy.copy(args)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed
