"""transformers' Trainer for what stands in front of a frozen backbone, and for one prompt on one task."""

from __future__ import annotations

import copy
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainerCallback, TrainerState
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.batches import LengthBucketSampler
from prompt_hub.encoding.encoder import EncodedSplit, Encoder
from prompt_hub.errors import UserError, first_line
from prompt_hub.evaluation.fitting import is_out_of_memory
from prompt_hub.evaluation.predict import from_scores
from prompt_hub.progress import progress_bar
from prompt_hub.tasks.metrics import compute_metrics
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.module import PromptModule
from prompt_hub.training.optimizers import ADAMW_HF, AdamWHF

Step = Callable[[PromptModule, Mapping[str, Tensor], float], Tensor]
"""Module, batch and scale to ``scale * loss``, whose gradient is added to that of the module's prompt."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class FrozenBackboneTrainer(Trainer):
    """Trains a module that reaches its frozen backbone by itself, as ``PromptModule`` does.

    name: on the progress bar. held_out: rows that choose the checkpoint; empty or None: the last step is
    kept.
    """

    def __init__(
        self,
        module: nn.Module,
        args: PromptTrainingArguments,
        name: str,
        train: Any,
        held_out: Any = None,
        *,
        collate: Callable[[Any], dict[str, Tensor]],
        metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        args = settled(args, len(train), bool(held_out))
        # One process drives one device; several devices are several processes (torchrun, accelerate).
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(
            model=module,
            args=args,
            train_dataset=train,
            eval_dataset=held_out or None,
            data_collator=collate,  # type: ignore[arg-type]
            compute_metrics=metrics,
            callbacks=list(callbacks),
            optimizer_cls_and_kwargs=_own_optimizer(args),
        )
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        self._progress = _StderrProgress(name)
        self.add_callback(self._progress)
        if args.early_stopping_patience is not None and held_out:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))

    def train(self, resume_from_checkpoint: Any = None, *arguments: Any, **options: Any) -> Any:
        if resume_from_checkpoint and has_ended(Path(resume_from_checkpoint)):
            return self._take(Path(resume_from_checkpoint))
        try:
            return super().train(resume_from_checkpoint, *arguments, **options)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"Memory ran out: {first_line(error)} Take a smaller --batch-size, --gradient-checkpointing, "
                "a shorter prompt or --dtype bfloat16. Checkpoints are kept: with the same settings, and "
                "more memory, the run goes on."
            ) from None
        finally:
            self._progress.close()

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        try:
            super()._save_checkpoint(*arguments, **options)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own
            raise UserError(
                f"Cannot write a checkpoint to {self.args.output_dir}: {first_line(error)} Is the disk "
                "full? With room again the run goes on from the last complete one (train --resume, others as "
                "before)."
            ) from error

    def _take(self, checkpoint: Path) -> None:
        """State and weights of a run that was over when ``checkpoint`` was written.

        The Trainer's own loop would train one step more: it looks for the end only after a step.
        """
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        chosen = checkpoint
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            chosen = checkpoint.parent / Path(self.state.best_model_checkpoint).name
        tensors = load_file(chosen / "model.safetensors")
        self.accelerator.unwrap_model(self.model).load_state_dict(tensors)
        # The entry that the Trainer ends a curve with, but for times and mean loss, which nobody knows now.
        state = self.state
        state.log_history.append(
            {"total_flos": state.total_flos, "epoch": state.epoch, "step": state.global_step}
        )

    @property
    def global_batch(self) -> int:
        """Rows that all processes take in a step. They take neighbouring batches: where so many like rows
        stand together, n processes with batch b see what one process with batch n * b sees.
        """
        return self.args.train_batch_size * max(1, self.args.world_size)


class PromptTrainer(FrozenBackboneTrainer):
    """Trains ``PromptModule``; batches hold texts of like length, metrics are the task's own.

    held_out: rows that choose the checkpoint; empty or None: the last step is kept. step: where the loss and
    its gradient come from instead of a pass of its own (``shared_pass.py``).
    """

    def __init__(
        self,
        encoder: Encoder,
        initial: Tensor,
        args: PromptTrainingArguments,
        train: EncodedSplit,
        held_out: EncodedSplit | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        step: Step | None = None,
    ) -> None:
        self.encoder = encoder
        self._step = step
        super().__init__(
            PromptModule(encoder, initial),
            args,
            encoder.task.name,
            train,
            by_length(held_out) if held_out else None,
            collate=encoder.collate,
            metrics=None if encoder.task.kind == "generation" else self._metrics,
            callbacks=callbacks,
        )

    @property
    def prompt(self) -> Tensor:
        """``[P, H]`` float32 on the CPU."""
        module = self.accelerator.unwrap_model(self.model)
        return module.prompt.detach().float().cpu().clone()

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        if self._step is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        # Other trainings run before this one gets its answer, and accelerate keeps this for all of them.
        steps_after_this = self.accelerator.sync_gradients
        module = self.accelerator.unwrap_model(model)
        loss = self._step(module, self._prepare_inputs(inputs), 1 / self.current_gradient_accumulation_steps)
        self.accelerator.sync_gradients = steps_after_this
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        size = self.global_batch
        # An incomplete last batch would be filled up differently by one process and by two.
        return LengthBucketSampler(dataset.lengths, size, self.args.seed, drop_last=len(dataset) >= size)

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        prompt = self.accelerator.unwrap_model(self.model).prompt
        with self.encoder.backbone.unchanged(prompt):
            return super().evaluation_loop(*arguments, **options)

    def _metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        logits: Any = prediction.predictions
        labels: Any = prediction.label_ids
        logits = logits[0] if isinstance(logits, tuple) else logits
        task = self.encoder.task
        references = labels.tolist()
        if task.kind == "regression":
            assert task.label_range is not None
            low, high = task.label_range
            references = [low + (high - low) * value for value in references]
        return compute_metrics(task, from_scores(self.encoder, logits).values, references)


def _own_optimizer(args: PromptTrainingArguments) -> tuple[type[Optimizer], dict[str, Any]] | None:
    """Class and settings of an optimiser that transformers does not have; None: it has the one named."""
    if args.optim != ADAMW_HF:
        return None
    betas = (args.adam_beta1, args.adam_beta2)
    return AdamWHF, {"lr": args.learning_rate, "betas": betas, "eps": args.adam_epsilon}


def settled(args: PromptTrainingArguments, rows: int, has_held_out: bool) -> PromptTrainingArguments:
    """A copy of the arguments with when to evaluate and save decided.

    Where the caller asked for nothing: ``args.evaluations`` over the run when there are held-out rows, and a
    checkpoint at each, so that an interrupted run loses little.
    """
    args = copy.copy(args)
    if args.ddp_find_unused_parameters is None:
        # The one parameter is always used.
        args.ddp_find_unused_parameters = False
    global_batch = args.train_batch_size * max(1, args.world_size)
    args.dataloader_pin_memory = args.dataloader_pin_memory and args.device.type == "cuda"
    # Nothing in a step may wait for the device: batches are copied while it computes, and the loss is not
    # looked at (one that is not finite shows in the log, and in the prompt at the end).
    acceleration: Any = copy.copy(args.accelerator_config)
    acceleration.non_blocking = args.dataloader_pin_memory
    args.accelerator_config = acceleration
    args.logging_nan_inf_filter = False
    # The backbone's matter (``with_layers_as_asked``); what the Trainer sees has no layers.
    args.gradient_checkpointing = args.activation_checkpointing = args.torch_compile = False
    by_steps = IntervalStrategy(args.eval_strategy) == "no" and SaveStrategy(args.save_strategy) == "steps"
    if by_steps and not args.asked_no_evaluation:
        in_epoch = max(1, rows // (global_batch * args.gradient_accumulation_steps))
        total = args.max_steps if args.max_steps > 0 else int(args.num_train_epochs * in_epoch)
        every = max(1, round(total / args.evaluations))
        if args.save_steps != type(args).save_steps:
            every = int(args.save_steps)
        args.save_steps = args.eval_steps = every
        args.logging_steps = min(args.logging_steps, every)
        if has_held_out:
            args.eval_strategy = IntervalStrategy.STEPS
            args.load_best_model_at_end = True
            args.metric_for_best_model = args.metric_for_best_model or "loss"
            args.greater_is_better = not args.metric_for_best_model.endswith("loss")
    if not has_held_out:
        args.eval_strategy = IntervalStrategy.NO
        args.load_best_model_at_end = False
    return args


@contextmanager
def with_layers_as_asked(backbone: Backbone, args: PromptTrainingArguments) -> Iterator[None]:
    """Inside the block the backbone's layers run compiled, or again in the backward pass, as asked for."""
    with ExitStack() as stack:
        if args.torch_compile:
            stack.enter_context(backbone.compiled())
        if args.gradient_checkpointing:
            stack.enter_context(backbone.recomputed())
        yield


def by_length(encoded: EncodedSplit) -> EncodedSplit:
    """The rows sorted by length, longest first."""
    return EncodedSplit(sorted(encoded.rows, key=len, reverse=True))


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None.

    ``trainer_state.json`` is what the Trainer writes last; a folder where it is missing or cut off is from
    a run that was killed while saving.
    """
    found = []
    for path in folder.glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        try:
            state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        needed = [path / name for name in ("model.safetensors", "optimizer.pt", "scheduler.pt")]
        complete = all(is_whole(file) for file in [*needed, *path.glob("rng_state*.pth")])
        if match and complete and state.get("global_step") == int(match.group(1)):
            found.append((int(match.group(1)), path))
    return max(found)[1] if found else None


def is_whole(file: Path) -> bool:
    """Whether a safetensors or torch file is there to its end, by what stands at its beginning or end."""
    if file.suffix != ".safetensors":
        return zipfile.is_zipfile(file)
    try:
        with safe_open(file, "pt"):
            return True
    except (OSError, SafetensorError):
        return False


def has_ended(checkpoint: Path) -> bool:
    """Whether nothing was left to train when the checkpoint was written: last step, or early stopping."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return state["global_step"] >= state["max_steps"] or bool(control.get("should_training_stop"))


class _StderrProgress(TrainerCallback):
    """A bar over the steps with loss and held-out score, on stderr."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.note = ""
        self._context: Any = None
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._context = progress_bar(f"train {self.name}", state.max_steps)
            self._bar = self._context.__enter__()
            if state.global_step:
                self._bar.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.advance(1, self.note)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {"loss": "loss", "eval_loss": "held-out loss", "eval_combined_score": "held-out score"}
        parts = [f"{shown[key]} {float(value):.3f}" for key, value in (logs or {}).items() if key in shown]
        if parts and state.is_world_process_zero:
            self.note = ", ".join(parts)
            if not sys.stderr.isatty() and not args.disable_tqdm:
                print(f"step {state.global_step}/{state.max_steps}: {self.note}", file=sys.stderr)

    def close(self) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = self._bar = None

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()
