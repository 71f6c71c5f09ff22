"""``PromptHub``: one object, the seed's verbs. It forwards; what it forwards to does the work."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Split, Task, get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt
from prompt_hub.transfer.starts import Source
from prompt_hub.transfer.warm_starts import train_from


class PromptHub:
    """Train a prompt, evaluate it, use it on other tasks.

    Every method takes names and falls back to those in ``args``. Prompts are stored in
    ``<output_dir>/<backbone>/<task>`` and found there again, also by a later ``PromptHub``. Results are
    dictionaries: the metrics by name, ``n``, ``ci95``, ``floors`` and the rest of ``Evaluation``.
    """

    def __init__(self, args: PromptTrainingArguments | None = None, **unused: Any) -> None:
        self.args = args if args is not None else PromptTrainingArguments()
        if unused:
            warnings.warn(
                f"{', '.join(sorted(unused))}: not needed any more, metrics come from the task.", stacklevel=2
            )
        self._backbone: Backbone | None = None

    def train_prompt(self, model: str | None = None, task: str | None = None) -> dict[str, Any]:
        """Train a prompt, store it, and score it on the task's validation rows."""
        backbone, target = self.backbone(model), self.task(task)
        result = train_prompt(
            backbone,
            target,
            self._split(target, "train"),
            copy.copy(self.args),
            self.folder(backbone.name, target.name),
            validation=self._split(target, "validation"),
        )
        return _flat(result.to_dict())

    def eval_prompt(self, model: str | None = None, task: str | None = None) -> dict[str, Any]:
        """Score the stored prompt of a task on the task's validation rows."""
        target = self.task(task)
        return self.cross_task_eval(model or self.args.backbone, target.name, target.name)

    def cross_task_eval(self, model: str, source_task: str, target_task: str | None = None) -> dict[str, Any]:
        """Score the stored prompt of ``source_task`` on ``target_task``, without training.

        With two arguments the source is ``args.dataset``.
        """
        if target_task is None:
            source_task, target_task = self.args.dataset, source_task
        source, target = self.task(source_task), self.task(target_task)
        prompt = self.prompt(model, source.name)
        result = evaluate_stored(
            self.backbone(model),
            prompt,
            target,
            self._split(target, "validation"),
            layout=self.args.layout,
            batch_size=self.args.per_device_eval_batch_size,
            seed=self.args.seed,
        )
        return _flat({**result.to_dict(), "source_task": source.name, "prompt_hash": prompt.hash})

    def cross_task_train(
        self, model: str, source_task: str, target_task: str | None = None
    ) -> dict[str, Any]:
        """Train a prompt for ``target_task`` from the stored prompt of ``source_task`` (a warm start).

        It is stored in ``<output_dir>/<backbone>/<target>-from-<source>``, beside the target's own, and has
        the source's length. With two arguments the source is ``args.dataset``. Rows that the source was
        trained on are left out: ``removed_overlap`` validation and ``removed_train_overlap`` training rows.
        """
        if target_task is None:
            source_task, target_task = self.args.dataset, source_task
        source, target = self.task(source_task), self.task(target_task)
        prompt = self.prompt(model, source.name)
        result, removed = train_from(
            Source(str(self.folder(model, source.name)), prompt),
            self.backbone(model),
            target,
            self._split(target, "train"),
            self._split(target, "validation"),
            self.args,
            self.folder(model, f"{target.name}-from-{source.name}"),
        )
        left_out = {"removed_overlap": removed["validation"], "removed_train_overlap": removed["train"]}
        return _flat({**result.to_dict(), "source_task": source.name, **left_out})

    # -- where things are ------------------------------------------------------------------------

    def folder(self, model: str, task: str) -> Path:
        """Where the prompt of a backbone and task is stored."""
        return Path(self.args.output_dir or "outputs") / _as_folder(model) / _as_folder(task)

    def prompt(self, model: str | None = None, task: str | None = None) -> SoftPrompt:
        """The stored prompt. Raises ``UserError`` when it was not trained here yet."""
        name, target = model or self.args.backbone, self.task(task).name
        folder = self.folder(name, target)
        if not folder.is_dir():
            raise UserError(
                f"There is no prompt for {name!r} and task {target!r} in {folder}. "
                f"Train it first: train_prompt({name!r}, {target!r})."
            )
        return SoftPrompt.from_pretrained(folder)

    def backbone(self, model: str | None = None) -> Backbone:
        """The frozen backbone; the last one used is kept in memory."""
        name = model or self.args.backbone
        if self._backbone is None or self._backbone.name != name:
            revision = self.args.backbone_revision if name == self.args.backbone else None
            self._backbone = None
            self._backbone = load_backbone(
                name, revision=revision, device=self.args.device, dtype=self.args.backbone_dtype
            )
        return self._backbone

    def task(self, task: str | None = None) -> Task:
        found = get_task(task or self.args.dataset)
        if self.args.max_source_length is None:
            return found
        return replace(found, max_length=self.args.max_source_length)

    def _split(self, task: Task, name: str) -> Split:
        limit = self.args.limit_train if name == "train" else self.args.limit_eval
        return load_split(task, name, data_dir=self.args.data_dir, limit=limit)


def _as_folder(name: str) -> str:
    """A name as one folder: ``FacebookAI/roberta-base`` becomes ``FacebookAI--roberta-base``."""
    return name.strip("/.").replace("/", "--").replace("\\", "--") or "unnamed"


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    """The metrics beside the rest, as the seed returned them (``result["accuracy"]``)."""
    return {**result, **result.get("metrics", {})}
