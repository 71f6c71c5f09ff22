"""``PromptHub``: one object, the seed's verbs. It forwards; what it forwards to does the work."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.neurons import selection
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import Activations, sites_for
from prompt_hub.neurons.overlap import overlap, overlap_by_layer
from prompt_hub.neurons.stored import capture_stored
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.reports.neuron_figures import draw_neurons
from prompt_hub.tasks import Split, Task, get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt
from prompt_hub.transfer.auto_start import with_start
from prompt_hub.transfer.cross_model.base import CrossModelMap
from prompt_hub.transfer.cross_model.controls import evaluate_projected
from prompt_hub.transfer.cross_model.projector_run import TaskData
from prompt_hub.transfer.cross_model.recipe import Recipe
from prompt_hub.transfer.cross_model.train_map import Material, train_map
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
        self._looked_at: dict[tuple[str, str], None] = {}
        self._tasks: dict[str, Task] = {}

    def train_prompt(self, model: str | None = None, task: str | None = None) -> dict[str, Any]:
        """Train a prompt, store it, and score it on the task's validation rows."""
        backbone, target = self.backbone(model), self.task(task)
        rows, folder = self._split(target, "train"), self.folder(backbone.name, target.name)
        args, start = with_start(copy.copy(self.args), backbone, target, rows, folder)
        validation = self._split(target, "validation")
        result = train_prompt(backbone, target, rows, args, folder, validation=validation, start=start)
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

    # -- another backbone ------------------------------------------------------------------------

    def cross_model_train(
        self, source_model: str | None = None, target_model: str | None = None, task: str | None = None
    ) -> dict[str, Any]:
        """Train a projector from prompts of ``source_model`` to prompts of ``target_model`` on a task.

        The source's prompt is the stored one, or is trained first. The loss is the target's; both models and
        the prompt are frozen. ``args.learning_rate`` None takes the projector's own rate; ``flatten_proj``
        False a projector a row, else the paper's. The map is stored in
        ``<output_dir>/<source>-to-<target>/<task>``, what it makes of the prompt in
        ``<output_dir>/<target>/<task>-from-<source>``; a second call trains again. Returned is what
        ``cross_model_eval`` gives.
        """
        source_name, target_name = source_model or self.args.backbone, self._target(target_model)
        chosen = self.task(task)
        if not self.folder(source_name, chosen.name).is_dir():
            self.train_prompt(source_name, chosen.name)
        prompt = self.prompt(source_name, chosen.name)
        source, target = self.backbone(source_name), self.backbone(target_name)
        encoder = Encoder(target, chosen, prompt.prompt_len, self.args.layout)
        material = Material(
            source,
            target,
            {chosen.name: TaskData(encoder, prompt, None, self._split(chosen, "train"))},
            [chosen.name],
            {chosen.name: self._split(chosen, "validation")},
        )
        recipe = Recipe(network="per-token" if self.args.flatten_proj is False else "flat")
        folder = self.map_folder(source_name, target_name, chosen.name)
        result = train_map(material, recipe, copy.copy(self.args), folder, resume=False)
        result.found.save_pretrained(folder)
        made = result.found.apply(prompt)
        made.save_pretrained(self.folder(target_name, f"{chosen.name}-from-{_as_folder(source_name)}"))
        return self.cross_model_eval(source_name, target_name, chosen.name)

    def cross_model_eval(
        self,
        source_model: str | None = None,
        target_model: str | None = None,
        task: str | None = None,
        trained_on: str | None = None,
    ) -> dict[str, Any]:
        """Score what a stored projector makes of the source's prompt for ``task``, beside its controls.

        trained_on: the task of the projector; default ``task`` itself. ``controls`` and ``verdict`` say
        whether the source matters.
        """
        source_name, target_name = source_model or self.args.backbone, self._target(target_model)
        chosen = self.task(task)
        known = self.task(trained_on or chosen.name).name
        folder = self.map_folder(source_name, target_name, known)
        if not folder.is_dir():
            raise UserError(
                f"There is no projector from {source_name!r} to {target_name!r} for task {known!r} in "
                f"{folder}. Train it first: cross_model_train({source_name!r}, {target_name!r}, {known!r})."
            )
        found = CrossModelMap.from_pretrained(folder)
        prompt = self.prompt(source_name, chosen.name)
        own = self.folder(target_name, chosen.name)
        result = evaluate_projected(
            found,
            prompt,
            self.backbone(target_name),
            chosen,
            self._split(chosen, "validation"),
            own=SoftPrompt.from_pretrained(own) if own.is_dir() else None,
            batch_size=self.args.per_device_eval_batch_size,
            seed=self.args.seed,
        )
        about = {"source_backbone": source_name, "map": found.hash, "projector": str(folder)}
        return _flat({**result.to_dict(), **about, "training": found.training, "trained_on": known})

    def _target(self, target_model: str | None) -> str:
        if target_model is None:
            raise UserError("Name the backbone that prompts are brought to: target_model='roberta-large'.")
        return target_model

    # -- neurons ---------------------------------------------------------------------------------

    def activated_neuron(self, model: str | None = None, task: str | None = None) -> tuple[Tensor, Tensor]:
        """``[L, F]`` twice (layers, FFN width): neurons before and after the activation function.

        Of the stored prompt alone, with the paper's dummy input, where the label is read; T5: the decoder's.
        In gated models the second is what enters the map back to the hidden width.
        """
        found = self._neurons(model, task)
        return found["before"], found["after"]

    def neuron_similarity(
        self, model: str | None = None, task1: str | None = None, task2: str | None = None, **names: str
    ) -> float:
        """ON of two tasks' stored prompts: the cosine of their maps of active neurons, 0 to 1.

        The original's keyword ``backbone`` is taken too.
        """
        model = names.pop("backbone", model)
        if names or task1 is None or task2 is None:
            raise UserError(
                "neuron_similarity takes backbone, task1 and task2, such as neuron_similarity("
                "backbone='roberta-base', task1='sst2', task2='rotten_tomatoes')."
            )
        first, second = (self._neurons(model, task)["after"] for task in (task1, task2))
        return overlap(first, second)

    def mask_activated_neuron(
        self, model: str | None = None, task: str | None = None, ratio: float = 0.2
    ) -> tuple[dict[str, Any], Tensor]:
        """The scores of the stored prompt while its top neurons are held at 0, and which they are.

        ratio: share of all neurons, the highest values under the prompt. The mask is ``[L, F]`` bool, True
        where masked. What the score means only controls tell: ``prompt-hub neurons mask``.
        """
        mask = selection.top(self._neurons(model, task)["after"], ratio)
        with held_neurons(sites_for(self.backbone(model)), mask):
            return self.eval_prompt(model, task), mask

    def plot_neuron(
        self, model: str | None = None, tasks: Sequence[str] | None = None, path: str | Path | None = None
    ) -> Any:
        """A figure of stored prompts' neurons, layers by neurons, with ON by layer; saved and returned.

        tasks: default those whose neurons this object has looked at, else ``args.dataset``. path: default
        ``neurons.png`` in the backbone's folder below ``output_dir``.
        """
        name = model or self.args.backbone
        seen = [task for backbone, task in self._looked_at if backbone == name]
        chosen = tasks or seen or [self.args.dataset]
        arrays = {self.task(task).name: self._neurons(model, task)["after"] for task in chosen}
        first, *rest = arrays
        overlaps = {task: overlap_by_layer(arrays[first], arrays[task]) for task in rest}
        place = Path(path) if path is not None else self.folder(name, "neurons.png")
        return draw_neurons(arrays, overlaps, place)

    def _neurons(self, model: str | None, task: str | None) -> Activations:
        prompt, name = self.prompt(model, task), model or self.args.backbone
        found, messages = capture_stored(self.backbone(model), prompt, layout=self.args.layout)
        for message in messages:
            warnings.warn(message, stacklevel=3)
        self._looked_at[(name, self.task(task).name)] = None
        return found

    # -- where things are ------------------------------------------------------------------------

    def folder(self, model: str, task: str) -> Path:
        """Where the prompt of a backbone and task is stored."""
        return Path(self.args.output_dir or "outputs") / _as_folder(model) / _as_folder(task)

    def map_folder(self, source: str, target: str, task: str) -> Path:
        """Where the projector between two backbones that was trained on a task is stored."""
        return self.folder(f"{_as_folder(source)}-to-{_as_folder(target)}", task)

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
        asked = task or self.args.dataset
        found = self._tasks[asked] if asked in self._tasks else get_task(asked)
        self._tasks[found.name] = found  # a task from a file has a name that no registry knows
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
