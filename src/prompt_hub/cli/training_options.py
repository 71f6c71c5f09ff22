"""How a prompt is trained: the options that every training command shares, and the arguments they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.training.arguments import PromptTrainingArguments

PROMPT_LEN = 20
"""Of the commands; Python's is the paper's (``training.run.PROMPT_LEN``)."""
MAX_STEPS = 300
"""Where neither steps nor epochs are asked for."""

TrainFileOption = Annotated[
    Path | None, typer.Option("--train", help="Your training rows.", rich_help_panel=o.DATA)
]
EvalFileOption = Annotated[
    Path | None, typer.Option("--eval", help="Your validation rows.", rich_help_panel=o.DATA)
]
PromptLenOption = Annotated[int, typer.Option(callback=o.at_least(1), help="Rows of the soft prompt.")]
InitOption = Annotated[
    str | None,
    typer.Option(
        help="text[:WORDS], vocab, label-words, random[:STD], prompt:PATH, random-like:PATH; default: by "
        "family."
    ),
]
MaxStepsOption = Annotated[
    int | None, typer.Option(callback=o.at_least(1), help=f"Training steps; default {MAX_STEPS}.")
]
EpochsOption = Annotated[float | None, typer.Option(callback=o.above_zero(), help="Instead of --max-steps.")]
BatchOption = Annotated[int, typer.Option(callback=o.at_least(1), help="Training rows a step and device.")]
RateOption = Annotated[
    float | None, typer.Option(callback=o.above_zero(), help="AdamW rate; default: the family's preset.")
]
ScheduleOption = Annotated[
    str | None, typer.Option(help="linear, constant, cosine, ...; default: linear (layout paper: constant).")
]
OptimizerOption = Annotated[
    str | None,
    typer.Option(help="adamw_torch, adamw_hf, ...; default: torch's AdamW (layout paper: adamw_hf)."),
]
WarmupOption = Annotated[int, typer.Option(callback=o.at_least(0), help="Steps of rising rate.")]
HoldOutOption = Annotated[
    int,
    typer.Option(callback=o.at_least(0), help="Training rows (at most a tenth) that choose the checkpoint."),
]
EvalEveryOption = Annotated[
    int | None,
    typer.Option(callback=o.at_least(1), help="Steps between checkpoints; default: a fifth of the run."),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(callback=o.at_least(1), help="Stop after so many checkpoints without a better one."),
]
LimitTrainOption = Annotated[
    int | None, typer.Option(callback=o.at_least(1), help="At most so many training rows.")
]
LimitEvalOption = Annotated[
    int | None, typer.Option(callback=o.at_least(1), help="At most so many validation rows.")
]
TogetherOption = Annotated[
    bool,
    typer.Option(
        "--together",
        help="All of them in one pass over the backbone (pays on a GPU).",
        rich_help_panel=o.COMPUTE,
    ),
]
CheckpointingOption = Annotated[
    bool,
    typer.Option(
        "--gradient-checkpointing",
        help="Run layers again in the backward pass: less memory, more time.",
        rich_help_panel=o.COMPUTE,
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--torch-compile",
        help="Compile the backbone's layers first (for long runs on a GPU; slower on a CPU).",
        rich_help_panel=o.COMPUTE,
    ),
]
ReportOption = Annotated[
    str, typer.Option(help="none, tensorboard, wandb, trackio or another tracker that is installed.")
]


def seeds_from(given: str) -> list[int]:
    """``--seeds 1,2,3`` as numbers, each named once."""
    from prompt_hub.evaluation.over_seeds import check_seeds

    try:
        seeds = [int(part) for part in given.split(",") if part.strip()]
    except ValueError:
        raise UserError(
            f"--seeds {given!r} must be whole numbers with commas between, such as 1,2,3."
        ) from None
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise UserError(f"Every one of --seeds must be between 0 and 4294967295, not {seed}.")
    return check_seeds(seeds)


def check_training_options(
    *,
    max_steps: int | None,
    epochs: float | None,
    hold_out: int,
    patience: int | None,
) -> None:
    """Before anything is loaded: ``UserError`` for values that cannot be together."""
    if max_steps is not None and epochs is not None:
        raise UserError("--max-steps and --epochs both say how long to train. Give one.")
    if patience is not None and hold_out < 1:
        raise UserError("--patience needs held-out rows to watch: leave out --hold-out 0.")


def training_values(
    *,
    max_steps: int | None,
    epochs: float | None,
    eval_every: int | None,
    lr: float | None,
    schedule: str | None,
    warmup_steps: int,
    batch_size: int,
    patience: int | None,
    device: str,
    layout: str | None,
    optimizer: str | None = None,
    **values: Any,
) -> dict[str, Any]:
    """The options as keywords of ``PromptTrainingArguments``. values: those that have the same name there.

    schedule, optimizer: None takes those of the layout (``presets.PAPER_RECIPE``), else what is usual here.
    The layout itself is not among the keywords: the caller knows what becomes of it.
    """
    recipe: dict[str, Any] = {"lr_scheduler_type": "linear"}
    if layout == "paper":
        from prompt_hub.training.presets import PAPER_RECIPE

        recipe = PAPER_RECIPE
    given = {"lr_scheduler_type": schedule, "optim": optimizer}
    values |= recipe | {name: value for name, value in given.items() if value is not None}
    if epochs is not None:
        values["num_train_epochs"] = epochs
    else:
        values["max_steps"] = max_steps or MAX_STEPS
    if eval_every is not None:
        values["save_steps"] = eval_every
    return dict(
        learning_rate=lr,
        warmup_steps=warmup_steps,
        per_device_train_batch_size=batch_size,
        early_stopping_patience=patience,
        use_cpu=device == "cpu",
        **values,
    )


def training_arguments(
    folder: Path, *, eval_batch_size: int, quiet: bool, layout: str | None, **options: Any
) -> PromptTrainingArguments:
    """The options as training arguments; options: of ``training_values``.

    What transformers objects to becomes a ``UserError``.
    """
    from prompt_hub.training.arguments import PromptTrainingArguments

    try:
        return PromptTrainingArguments(
            output_dir=str(folder),
            per_device_eval_batch_size=eval_batch_size,
            disable_tqdm=quiet,
            layout=layout,
            **training_values(layout=layout, **options),
        )
    except UserError:
        raise
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"These training options do not work: {error}") from None
