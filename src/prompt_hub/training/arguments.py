"""``PromptTrainingArguments``: transformers' arguments plus those of a soft prompt."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
from transformers import SchedulerType, TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.training_args import OptimizerNames

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.training.optimizers import ADAMW_HF

_ADAM_EPSILON = 1e-8
_ADAM_EPSILON_HF = 1e-6


def _old(text: str) -> dict[str, Any]:
    return {"help": f"Accepted from older scripts. {text}"}


@dataclass
class PromptTrainingArguments(TrainingArguments):
    """Everything ``TrainingArguments`` has, and the prompt, its backbone and its data.

    ``learning_rate`` None takes the family's preset (``presets.learning_rate_for``). ``optim`` may also be
    ``adamw_hf`` (``optimizers.AdamWHF``), whose ``adam_epsilon`` is 1e-6 unless given. Defaults that differ
    from ``TrainingArguments``: the best checkpoint of a held-out part of the training data is kept, nothing
    is reported to trackers, evaluation batches are larger.
    """

    output_dir: str | None = field(
        default="outputs", metadata={"help": "Folder for prompts and checkpoints, a subfolder a run."}
    )
    learning_rate: float | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "AdamW rate; default: the family's preset, scaled to the embeddings."}
    )
    backbone: str = field(
        default="roberta-base", metadata={"help": "Hub id, local folder, .gguf file or built-in name."}
    )
    backbone_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the backbone on the Hub."}
    )
    backbone_dtype: str = field(
        default="auto",
        metadata={"help": "auto, float32, bfloat16, float16, 8bit or 4bit: the frozen weights."},
    )
    dataset: str = field(default="sst2", metadata={"help": "Task name, alias or YAML file."})
    data_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with <task>/{train,validation}.jsonl; default: Hub or generated."},
    )
    prompt_len: int | None = field(
        default=None,
        metadata={"help": "Rows of the soft prompt; default: those of the prompt it starts from, or 100."},
    )
    init: str | None = field(
        default=None,
        metadata={
            "help": "text[:WORDS], vocab, label-words, random[:STD], prompt:PATH, random-like:PATH, "
            "auto:FOLDER; default: by family."
        },
    )
    layout: str | None = field(default=None, metadata={"help": "Layout name; default: the family's."})
    limit_train: int | None = field(default=None, metadata={"help": "Use at most so many training rows."})
    limit_eval: int | None = field(default=None, metadata={"help": "Use at most so many validation rows."})
    hold_out: int = field(
        default=200,
        metadata={"help": "At most so many training rows (and a tenth) choose the checkpoint; 0: none."},
    )
    evaluations: int = field(
        default=5,
        metadata={"help": "Evaluations on the held-out rows over the run, where eval_steps is not given."},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations without a better one."}
    )
    per_device_train_batch_size: int = field(
        default=16, metadata={"help": "Training rows a device and step."}
    )
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Evaluation rows a device."})
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Keep the checkpoint that is best on the held-out rows."}
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints kept besides the best (a few kilobytes each)."}
    )

    evaluation_strategy: str | None = field(default=None, metadata=_old("Now eval_strategy."))
    overwrite_output_dir: bool | None = field(
        default=None, metadata=_old("A new run overwrites the old one.")
    )
    out_dir_root: str | None = field(default=None, metadata=_old("Now output_dir."))
    source_dataset: str | None = field(default=None, metadata=_old("Name the task in the call."))
    target_dataset: str | None = field(default=None, metadata=_old("Name the task in the call."))
    checkpoint: str | None = field(default=None, metadata=_old("Now init='prompt:PATH'."))
    max_source_length: int | None = field(default=None, metadata=_old("Replaces the task's max_length."))
    pad_to_max_length: bool | None = field(default=None, metadata=_old("Batches hold texts of like length."))
    num_proj_layers: int | None = field(default=None, metadata=_old("A setting of projectors."))
    flatten_proj: bool | None = field(default=None, metadata=_old("A setting of projectors."))
    model_parallel: bool | None = field(default=None, metadata=_old("Launch with accelerate or torchrun."))

    def __post_init__(self) -> None:
        for name in ("backbone", "dataset", "data_dir"):
            value = getattr(self, name)
            if isinstance(value, os.PathLike):
                setattr(self, name, os.fspath(value))
        self.eval_strategy = self._renamed("evaluation_strategy", "eval_strategy", self.eval_strategy)
        self.output_dir = self._renamed("out_dir_root", "output_dir", self.output_dir)
        if self.checkpoint is not None:
            self.init = self._renamed("checkpoint", "init", self.init, f"prompt:{self.checkpoint}")
        for name, why in _WITHOUT_EFFECT.items():
            if getattr(self, name) is not None:
                warnings.warn(f"{name} has no effect here: {why}", stacklevel=3)
        if self.prompt_len is not None and self.prompt_len < 1:
            raise UserError(f"prompt_len must be at least 1, not {self.prompt_len}. 20 to 100 are usual.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate must be a number above 0, not {self.learning_rate}.")
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}.")
        if self.max_steps is not None and self.max_steps != -1 and self.max_steps < 1:
            raise UserError(
                f"max_steps must be at least 1, or -1 for num_train_epochs, not {self.max_steps}."
            )
        if not 0 < self.num_train_epochs < math.inf:
            raise UserError(f"num_train_epochs must be a number above 0, not {self.num_train_epochs}.")
        self._check_schedule_and_optimizer()
        chosen_rate = self.learning_rate
        self.learning_rate = 0.0 if chosen_rate is None else chosen_rate
        if str(getattr(self.eval_strategy, "value", self.eval_strategy)) == "no":
            # Nothing to choose the checkpoint by; PromptTrainer sets steps when nothing was asked for.
            self.asked_no_evaluation = self.evaluation_strategy is not None
            self.load_best_model_at_end = False
        else:
            self.asked_no_evaluation = False
        self.remove_unused_columns = False
        if not torch.accelerator.is_available():
            # Unless it is told so, accelerate lets several processes on CPUs train without each other.
            self.use_cpu = True
        if getattr(self, "activation_checkpointing", False) is None:
            # Its new name, which not every version 5 of transformers has; the old one alone would warn.
            self.activation_checkpointing = self.gradient_checkpointing
        # The backbone's matter (``Backbone.compiled``): the Trainer would compile what stands in front of it.
        asked_to_compile, self.torch_compile = self.torch_compile, False
        self.torch_compile_backend = self.torch_compile_mode = None
        old_adamw = str(getattr(self.optim, "value", self.optim)) == ADAMW_HF
        if old_adamw:
            # transformers does not know the name any more; PromptTrainer brings the optimiser.
            self.optim = "adamw_torch"
            if self.adam_epsilon == _ADAM_EPSILON:
                self.adam_epsilon = _ADAM_EPSILON_HF
        super().__post_init__()
        self.torch_compile = asked_to_compile
        self._check_trackers()
        if old_adamw:
            self.optim = ADAMW_HF
        self.learning_rate = chosen_rate

    def _check_schedule_and_optimizer(self) -> None:
        schedule = str(getattr(self.lr_scheduler_type, "value", self.lr_scheduler_type))
        schedules = [each.value for each in SchedulerType]
        if schedule not in schedules:
            raise unknown_name("schedule (--schedule, lr_scheduler_type)", schedule, schedules)
        optimizer = str(getattr(self.optim, "value", self.optim))
        optimizers = [ADAMW_HF, *(each.value for each in OptimizerNames)]
        if optimizer not in optimizers:
            near = get_close_matches(optimizer, optimizers, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"Unknown optimizer (--optimizer, optim) {optimizer!r}.{guess} Usual: adamw_torch, "
                f"{ADAMW_HF}, adafactor, sgd; every one of transformers' OptimizerNames is allowed."
            )

    def _check_trackers(self) -> None:
        """Before any is made: a tracker that is not installed fails halfway through its own beginning."""
        for name in self.report_to or []:
            if name not in INTEGRATION_TO_CALLBACK:
                raise unknown_name("tracker (--report-to)", name, ["none", *INTEGRATION_TO_CALLBACK])
            if name not in get_available_reporting_integrations():
                raise UserError(
                    f"The tracker {name!r} (--report-to) is not installed: pip install {name}, "
                    "or leave it out."
                )

    def _renamed(self, old: str, new: str, current: Any, value: Any = None) -> Any:
        given = getattr(self, old)
        if given is None:
            return current
        warnings.warn(f"{old} is now {new}; it is used as that.", stacklevel=4)
        return given if value is None else value


_AT_LEAST_ONE = (
    "evaluations", "limit_train", "limit_eval", "max_source_length", "per_device_train_batch_size",
    "per_device_eval_batch_size", "gradient_accumulation_steps",
)  # fmt: skip
_WITHOUT_EFFECT = {
    "overwrite_output_dir": "a new run overwrites the old one.",
    "source_dataset": "name the source task in the call.",
    "target_dataset": "name the target task in the call.",
    "torch_compile_backend": "torch_compile=True compiles the layers with torch's own.",
    "torch_compile_mode": "torch_compile=True compiles the layers in torch's default mode.",
    "pad_to_max_length": "batches hold texts of like length and are padded to the longest.",
    "model_parallel": "launch with accelerate or torchrun instead.",
}
