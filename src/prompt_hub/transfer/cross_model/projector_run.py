"""One training of a projector: settings, checkpoints, record, and the weights that come out."""

from __future__ import annotations

import copy
import gc
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor
from torch.utils.data import Sampler

from prompt_hub.atomic import write_file
from prompt_hub.backbones.base import BackboneIdentity
from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import Record
from prompt_hub.tasks import Split
from prompt_hub.training.alone import alone
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import (
    CHECKPOINTS,
    RECORD_NAME,
    checked_trainer,
    earlier_run,
    schedule_settings,
    split_for_choice,
)
from prompt_hub.training.trainer import FrozenBackboneTrainer, with_layers_as_asked
from prompt_hub.transfer.cross_model.mixture import (
    DISTANCE,
    TASK_TUNING,
    Collate,
    ProjectorModule,
    TaskBatchSampler,
    mixed,
    pairs,
)
from prompt_hub.transfer.cross_model.network import Network
from prompt_hub.transfer.cross_model.recipe import Recipe, calibrated_gain, fresh

WEIGHTS_NAME = "projector.safetensors"


@dataclass(frozen=True)
class TaskData:
    """A task that a projector is trained or judged on.

    encoder: of the target backbone. source: the source backbone's prompt. own: the target's, None where there
    is none (``distance`` needs it). train: rows.
    """

    encoder: Encoder
    source: SoftPrompt
    own: SoftPrompt | None
    train: Split

    @property
    def name(self) -> str:
        return self.encoder.task.name


@dataclass(frozen=True)
class Trained:
    """weights: of the network, by name, on the CPU. image: ``[P_t, H_t]``, of the first task's source."""

    network: Network
    weights: dict[str, Tensor]
    image: Tensor
    steps: int
    seconds: float


class ProjectorTrainer(FrozenBackboneTrainer):
    """Trains ``ProjectorModule``; every batch holds texts of one task and of like length."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        if any(row.row is None for row in rows):
            return None
        return TaskBatchSampler(rows, self.global_batch, self.args.seed)


@alone("trains a projector")
def train_projector(
    data: Sequence[TaskData],
    source: BackboneIdentity,
    recipe: Recipe,
    norm: float,
    args: PromptTrainingArguments,
    folder: Path,
    *,
    constant: bool = False,
    start: Tensor | None = None,
) -> Trained:
    """Train a projector on the tasks, keep its weights in ``folder``; a run that is there goes on.

    source: whose prompts ``data`` holds. norm: that rows have at the start. constant: put the first task's
    source prompt in the place of every other one, the control. start: ``[H_s, H_t]``, where a linear
    projector begins (None: at random weights). Raises ``OtherSettings`` (a ``UserError``) where the folder
    holds a run with other settings, and ``UserError`` for a training that diverges.
    """
    started = time.perf_counter()
    args, rate = copy.copy(args), args.learning_rate
    assert rate is not None
    sources = torch.stack([one.source.embeddings for one in data])
    if constant:
        sources = sources[:1].expand_as(sources)
    own = _own_prompts(data) if recipe.objective != TASK_TUNING else None
    network = recipe.network_for(
        (sources.shape[1], sources.shape[2]), (data[0].encoder.prompt_len, data[0].encoder.backbone.hidden)
    )
    projector = fresh(network, args.seed, start)
    network = replace(network, gain=calibrated_gain(projector, sources, norm))
    settings = {
        **_settings(data, source, recipe, constant), "norm": norm, **schedule_settings(args),
    }  # fmt: skip
    earlier, checkpoint = earlier_run(folder, settings)
    if earlier is not None and earlier.status == "done":
        return _finished(folder, earlier, network, sources)
    record = Record("project-train", settings)
    module = ProjectorModule(
        projector, network.gain, [one.encoder for one in data], sources, own, recipe.objective,
        recipe.distance_weight,
    )  # fmt: skip
    trainer = _trainer(module, data, recipe, args, folder)
    record.save(folder / RECORD_NAME)
    backbone = data[0].encoder.backbone
    with with_layers_as_asked(backbone, args):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    steps, history = trainer.state.global_step, trainer.state.log_history
    weights = {name: weight.detach().cpu() for name, weight in module.projector.state_dict().items()}
    # The optimiser's two moments are twice the weights; the Trainer holds them in a circle of references.
    del trainer, module, projector
    gc.collect()
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise UserError(
            f"Training diverged: the projector holds values that are not finite after {steps} steps. Lower "
            f"the learning rate (it was {rate:g}), for example --lr {rate / 10:.2g}."
        )
    write_file(folder / WEIGHTS_NAME, safetensors_torch.save(weights))
    seconds = time.perf_counter() - started
    result = {"steps": steps, "seconds": round(seconds, 1), "history": history}
    record.finish(folder / RECORD_NAME, {**result, "network": network.to_dict()})
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return Trained(network, weights, network.apply(weights, sources[0]), steps, seconds)


def _trainer(
    module: ProjectorModule,
    data: Sequence[TaskData],
    recipe: Recipe,
    args: PromptTrainingArguments,
    folder: Path,
) -> ProjectorTrainer:
    args.output_dir = str(folder / CHECKPOINTS)
    name = f"{recipe.network} projector, {len(data)} task{'s' if len(data) > 1 else ''}"
    collate = Collate([one.encoder for one in data])
    if recipe.objective == DISTANCE:
        args.per_device_train_batch_size = len(data)
        return checked_trainer(
            args, lambda: ProjectorTrainer(module, args, name, pairs(len(data)), collate=collate)
        )
    choice = copy.copy(args)
    choice.hold_out = args.hold_out // len(data)
    chosen = [split_for_choice(one.train, choice) for one in data]
    rows = mixed([encode_split(one.encoder, train) for one, (train, _) in zip(data, chosen, strict=True)])
    held_out = None
    if all(held for _, held in chosen):
        held_out = mixed(
            [encode_split(one.encoder, held) for one, (_, held) in zip(data, chosen, strict=True) if held],
            by_length=True,
        )
    return checked_trainer(
        args, lambda: ProjectorTrainer(module, args, name, rows, held_out, collate=collate)
    )


def _own_prompts(data: Sequence[TaskData]) -> Tensor:
    """``[K, P_t, H_t]``. Raises ``UserError`` where a task has none."""
    missing = [one.name for one in data if one.own is None]
    if missing:
        raise UserError(
            f"There is no prompt of the target backbone for {', '.join(missing)}, and the distance aims at "
            "it. Train it first, or use --method task-tuning."
        )
    return torch.stack([one.own.embeddings for one in data if one.own is not None])


def _settings(
    data: Sequence[TaskData], source: BackboneIdentity, recipe: Recipe, constant: bool
) -> dict[str, Any]:
    encoder = data[0].encoder
    return {
        "source": source.to_dict(),
        "target": encoder.backbone.identity.to_dict(),
        "layout": encoder.layout.name,
        "dtype": encoder.backbone.precision,
        "recipe": asdict(recipe),
        "constant": constant,
        "tasks": [
            {
                "task": one.name,
                "task_fingerprint": one.encoder.task.fingerprint(),
                "data_fingerprint": one.train.fingerprint,
                "source_prompt": one.source.hash,
                "own_prompt": one.own.hash if one.own and recipe.objective != TASK_TUNING else None,
            }
            for one in data
        ],
    }


def _finished(folder: Path, record: Record, network: Network, sources: Tensor) -> Trained:
    try:
        stored_weights = safetensors_torch.load_file(folder / WEIGHTS_NAME)
        # Copied: products of tensors that lie at odd places of a file can differ in the last digit.
        weights = {name: weight.clone() for name, weight in stored_weights.items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"The weights of the projector trained in {folder} cannot be read ({error}). Remove the folder "
            "to train it again."
        ) from None
    stored = Network.from_dict(json.loads(json.dumps(record.result["network"])), str(folder))
    network = replace(network, gain=stored.gain)
    result = record.result
    return Trained(network, weights, network.apply(weights, sources[0]), result["steps"], result["seconds"])
