"""From a backbone, a task and its rows to a stored prompt with its scores."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import TrainerCallback, get_scheduler

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError, first_line
from prompt_hub.evaluation.evaluate import FLOORS, Evaluation, evaluate
from prompt_hub.evaluation.stored import fair_rows
from prompt_hub.prompts.initialisers import initial_prompt, parse_init, prompt_in
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import Record
from prompt_hub.tasks.splits import Split, hold_out, row_hashes
from prompt_hub.tasks.task import Task
from prompt_hub.training import diagnosis
from prompt_hub.training.alone import alone
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.diagnosis import FEWEST_ROWS, relative_movement
from prompt_hub.training.presets import init_for, instruction_for, learning_rate_for
from prompt_hub.training.trainer import (
    FrozenBackboneTrainer,
    PromptTrainer,
    Step,
    last_complete_checkpoint,
    with_layers_as_asked,
)

T = TypeVar("T", bound=FrozenBackboneTrainer)

PROMPT_LEN = 100
"""Of the paper, where nothing else is asked for."""
RECORD_NAME = "train.json"
CHECKPOINTS = "checkpoints"


class OtherSettings(UserError):
    """The folder holds a run with other settings than the one that is to be resumed."""


@dataclass
class TrainingResult:
    """prompt: as stored in ``folder``. evaluation: on the validation rows, None without them.

    diagnosis: sentences, empty when nothing looks wrong. history: the Trainer's log. truncated: training
    texts that were cut to fit.
    """

    prompt: SoftPrompt
    folder: Path
    evaluation: Evaluation | None
    steps: int
    seconds: float
    diagnosis: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    truncated: int = 0

    def to_dict(self) -> dict[str, Any]:
        scores = self.evaluation.to_dict() if self.evaluation else {}
        metadata = self.prompt.metadata
        return {
            "task": metadata.task,
            "backbone": metadata.backbone_name,
            "prompt": str(self.folder),
            "prompt_hash": self.prompt.hash,
            "hyperparameters": metadata.hyperparameters,
            **scores,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "truncated_train": self.truncated,
            "diagnosis": self.diagnosis,
        }


@alone("trains a prompt")
def train_prompt(
    backbone: Backbone,
    task: Task,
    train: Split,
    args: PromptTrainingArguments,
    folder: Path,
    *,
    validation: Split | None = None,
    resume: bool = False,
    floors: Sequence[str] = FLOORS,
    callbacks: Sequence[TrainerCallback] = (),
    start: dict[str, Any] | None = None,
    step: Step | None = None,
) -> TrainingResult:
    """Train a prompt, store it in ``folder`` and score it once on ``validation``.

    A tenth of ``train`` (at most ``args.hold_out`` rows) chooses the checkpoint; ``validation`` is only
    reported. The run's checkpoints lie in ``folder/checkpoints``. resume: go on from the last complete
    checkpoint of the same settings (``OtherSettings`` if they are others); a finished run is returned as it
    is stored. Without it the folder's earlier run is replaced. start: how the initial prompt was chosen, if
    it was; goes into the record. step: as in ``PromptTrainer``.
    """
    started = time.perf_counter()
    args = with_presets(args, backbone)
    rate = args.learning_rate
    assert rate is not None and args.prompt_len is not None
    encoder = Encoder(backbone, task, args.prompt_len, args.layout)
    settings = {**run_settings(args, encoder, train), **({"start": start} if start else {})}
    record_path, checkpoints = folder / RECORD_NAME, folder / CHECKPOINTS
    earlier, checkpoint = earlier_run(folder, settings) if resume else (None, None)
    if earlier is not None and earlier.status == "done":
        return _finished(folder, earlier, encoder, args, validation, floors)
    main = args.process_index == 0
    initial = _initial(args, encoder)
    chosen, held_out = split_for_choice(train, args)
    rows = encode_split(encoder, chosen)
    held_out_rows = encode_split(encoder, held_out) if held_out else None
    args.output_dir = str(checkpoints)
    # The curve's first point belongs to the start, not to where an interrupted run goes on.
    args.eval_on_start = args.eval_on_start and checkpoint is None and held_out_rows is not None
    trainer = checked_trainer(
        args, lambda: PromptTrainer(encoder, initial, args, rows, held_out_rows, callbacks, step)
    )
    record = Record("train", settings)
    if main:
        if checkpoint is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
        record.save(record_path)
    with with_layers_as_asked(backbone, args):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trained, steps = trainer.prompt, trainer.state.global_step
    if not torch.isfinite(trained).all():
        raise UserError(
            f"Training diverged: the prompt holds values that are not finite after {steps} steps. Lower the "
            f"learning rate (it was {rate:g}), for example --lr {rate / 10:.2g}."
        )
    evaluation = None
    signs = diagnosis.of_rows(task, train) + diagnosis.of_movement(initial, trained, rate)
    # A sharded backbone answers only where all processes ask it.
    if validation is not None and (main or backbone.is_sharded):
        evaluation = _score(encoder, trained, validation, args, floors)
        signs += diagnosis.of_scores(evaluation, rate, backbone.family)
    else:
        signs += diagnosis.of_held_out(task, held_out, trainer.state.log_history)
    prompt = _prompt(encoder, trained, initial, settings, train, evaluation, steps)
    if validation is not None and evaluation is not None:
        evaluation.warnings += fair_rows(prompt, task, row_hashes(validation.examples)).warnings
    result = TrainingResult(
        prompt,
        folder,
        evaluation,
        steps,
        time.perf_counter() - started,
        signs,
        trainer.state.log_history,
        rows.truncated + (held_out_rows.truncated if held_out_rows else 0),
    )
    if main:
        prompt.save_pretrained(folder)
        record.finish(record_path, {**result.to_dict(), "history": result.history})
    return result


def _score(
    encoder: Encoder, prompt: Tensor, rows: Split, args: PromptTrainingArguments, floors: Sequence[str]
) -> Evaluation:
    found = evaluate(
        encoder, prompt, rows, batch_size=args.per_device_eval_batch_size, floors=floors, seed=args.seed
    )
    found.warnings = encoder.warnings + found.warnings
    return found


def with_presets(args: PromptTrainingArguments, backbone: Backbone) -> PromptTrainingArguments:
    """A copy of the arguments with rate, initialisation and prompt length decided for this backbone."""
    args = copy.copy(args)
    if args.learning_rate is None:
        args.learning_rate = learning_rate_for(backbone, args.layout)
    args.init = args.init or init_for(backbone, args.layout)
    if args.prompt_len is None:
        place = prompt_in(args.init)
        args.prompt_len = SoftPrompt.from_pretrained(place).prompt_len if place else PROMPT_LEN
    return args


def split_for_choice(train: Split, args: PromptTrainingArguments) -> tuple[Split, Split | None]:
    """The rows to train on, and those held out to choose the checkpoint; None where there are none."""
    if args.hold_out < 1 or len(train) < FEWEST_ROWS:
        return train, None
    return hold_out(train, fraction=0.1, maximum=args.hold_out, seed=args.seed)


def _initial(args: PromptTrainingArguments, encoder: Encoder) -> Tensor:
    assert args.init is not None and args.prompt_len is not None
    return initial_prompt(
        args.init,
        encoder.backbone,
        args.prompt_len,
        args.seed,
        text=instruction_for(encoder.task, encoder.backbone.family),
        label_words=[encoder.spaced(word) for word in encoder.label_words] or None,
    )


def run_settings(args: PromptTrainingArguments, encoder: Encoder, train: Split) -> dict[str, Any]:
    """What makes two runs the same run; stored, and compared on resume. args: ``with_presets``."""
    assert args.init is not None
    place = prompt_in(args.init)
    return {
        "backbone": encoder.backbone.identity.to_dict(),
        "task": encoder.task.name,
        "task_fingerprint": encoder.task.fingerprint(),
        "data_fingerprint": train.fingerprint,
        "layout": encoder.layout.name,
        "prompt_len": args.prompt_len,
        "init": args.init,
        "init_prompt": SoftPrompt.from_pretrained(place).hash if place else None,
        **schedule_settings(args),
        "dtype": encoder.backbone.precision,
    }


def schedule_settings(args: PromptTrainingArguments) -> dict[str, Any]:
    """How long and how fast, whatever is trained."""
    return {
        "learning_rate": args.learning_rate,
        "lr_scheduler_type": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "warmup_steps": args.warmup_steps,
        "optimizer": str(getattr(args.optim, "value", args.optim)),
        "weight_decay": args.weight_decay,
        "max_grad_norm": args.max_grad_norm,
        "batch_size": args.train_batch_size * max(1, args.world_size) * args.gradient_accumulation_steps,
        "max_steps": args.max_steps,
        "epochs": args.num_train_epochs if args.max_steps <= 0 else None,
        "seed": args.seed,
        "hold_out": args.hold_out,
        "evaluations": args.evaluations,
        "eval_every": args.save_steps if args.save_steps != type(args).save_steps else None,
        "eval_on_start": args.eval_on_start,
        "patience": args.early_stopping_patience,
    }


def earlier_run(folder: Path, settings: dict[str, Any]) -> tuple[Record | None, Path | None]:
    """The record of the run that ``folder`` holds, and the checkpoint it goes on from; None without.

    A damaged record is set aside, and checkpoints beside it are not used: nobody knows what they belong to.
    Raises ``OtherSettings`` where the run has others than ``settings``.
    """
    was_there = (folder / RECORD_NAME).exists()
    record = Record.load_or_set_aside(folder / RECORD_NAME)
    if record is not None:
        check_same_settings(record.settings, settings, folder)
    elif was_there:
        return None, None
    return record, last_complete_checkpoint(folder / CHECKPOINTS)


def check_same_settings(stored: dict[str, Any], asked: dict[str, Any], folder: Path) -> None:
    """Raises ``OtherSettings``, which names what differs. asked: as it would be stored."""
    asked = json.loads(json.dumps(asked, default=str))
    changed = [name for name in asked if name in stored and stored[name] != asked[name]]
    if "init" in changed and _same_start(stored, asked):
        changed.remove("init")
    if changed:
        name = changed[0]
        raise OtherSettings(
            f"{folder} holds a run with other settings, so it cannot be resumed: {name} was "
            f"{stored[name]!r}, asked is {asked[name]!r}"
            + (f" (and {', '.join(changed[1:])} differ too)." if len(changed) > 1 else ".")
            + " Repeat the old settings, or choose another --output."
        )


def _same_start(stored: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether two initialisations are of one kind and from one prompt, read from two places."""
    kinds = {parse_init(settings["init"])[0] for settings in (stored, asked)}
    prompts = {settings.get("init_prompt") for settings in (stored, asked)}
    return len(kinds) == len(prompts) == 1 and None not in prompts


def _finished(
    folder: Path,
    record: Record,
    encoder: Encoder,
    args: PromptTrainingArguments,
    validation: Split | None,
    floors: Sequence[str],
) -> TrainingResult:
    """A finished run as it is stored; scored anew where other validation rows are asked for."""
    stored = record.result
    known = {name: stored[name] for name in Evaluation.__dataclass_fields__ if name in stored}
    evaluation = Evaluation(**known) if "metrics" in stored else None
    prompt = SoftPrompt.from_pretrained(folder)
    scored = evaluation.data.get("fingerprint") if evaluation else None
    if validation is not None and scored != validation.fingerprint:
        evaluation = _score(encoder, prompt.embeddings, validation, args, floors)
        evaluation.warnings += fair_rows(prompt, encoder.task, row_hashes(validation.examples)).warnings
    return TrainingResult(
        prompt,
        folder,
        evaluation,
        stored.get("steps", 0),
        stored.get("seconds", 0.0),
        stored.get("diagnosis", []),
        stored.get("history", []),
        stored.get("truncated_train", 0),
    )


def checked_trainer(args: PromptTrainingArguments, make: Callable[[], T]) -> T:
    """What ``make`` gives; what a Trainer objects to (a tracker or schedule that does not work) becomes a
    ``UserError``.
    """
    given = args.lr_scheduler_kwargs
    schedule = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    failures = (ImportError, ValueError, RuntimeError, TypeError)
    try:
        get_scheduler(
            schedule,
            torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0),
            num_warmup_steps=0,
            num_training_steps=2,
            scheduler_specific_kwargs=given if isinstance(given, dict) else {},
        )
    except failures as error:
        raise UserError(
            f"Schedule {schedule!r} does not work as it is set: {first_line(error)}. Use linear, cosine or "
            "constant, or give lr_scheduler_kwargs in Python."
        ) from None
    try:
        return make()
    except UserError:
        raise
    except failures as error:
        raise UserError(f"These training options do not work: {first_line(error)}") from None


def _prompt(
    encoder: Encoder,
    trained: Tensor,
    initial: Tensor,
    settings: dict[str, Any],
    train: Split,
    evaluation: Evaluation | None,
    steps: int,
) -> SoftPrompt:
    task = encoder.task
    kept = ("prompt_len", "init", "learning_rate", "lr_scheduler_type", "warmup_steps", "optimizer")
    hyperparameters = {
        **{name: settings[name] for name in (*kept, "weight_decay", "max_grad_norm", "batch_size", "dtype")},
        "steps": steps,
        "relative_movement": round(relative_movement(initial, trained), 4),
    }
    rows = torch.from_numpy(row_hashes(train.examples))
    parent = None
    name, argument = parse_init(settings["init"])
    if name == "prompt" and argument:
        source = SoftPrompt.from_pretrained(argument)
        parent = {"relation": "warm-start", "hash": source.hash, "task": source.metadata.task}
        if "start" in settings:
            parent["chosen_by"] = settings["start"]["by"]
        if source.train_rows is not None:
            # What the source has seen, its successor has seen.
            rows = torch.cat([rows, source.train_rows]).unique()
    metrics: dict[str, Any] = {}
    if evaluation is not None:
        metrics = {
            "validation": {
                **evaluation.metrics,
                "n": evaluation.n,
                "ci95": evaluation.ci95,
                "floors": evaluation.floors,
            }
        }
    metadata = PromptMetadata(
        backbone=encoder.backbone.identity.to_dict(),
        layout=encoder.layout.name,
        template=encoder.template,
        label_words=list(encoder.label_words),
        classes=list(task.classes),
        task=task.name,
        task_type=task.type,
        task_definition=task.to_dict(),
        data={"source": train.source, "fingerprint": train.fingerprint, "n": len(train)},
        seed=settings["seed"],
        hyperparameters=hyperparameters,
        metrics=metrics,
        parent=parent,
    )
    return SoftPrompt(trained, metadata, rows, initial)
