"""Prompts of several seeds or tasks, trained together on one backbone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import FLOORS
from prompt_hub.evaluation.over_seeds import check_seeds
from prompt_hub.progress import Bar, progress_bar
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Task
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import OtherSettings, TrainingResult, train_prompt
from prompt_hub.training.shared_pass import SharedPass


@dataclass(frozen=True)
class TrainingRun:
    """One of several trainings: what ``train_prompt`` takes."""

    task: Task
    train: Split
    args: PromptTrainingArguments
    folder: Path
    validation: Split | None = None
    start: dict[str, Any] | None = None
    floors: Sequence[str] = FLOORS


def train_together(
    backbone: Backbone, runs: Sequence[TrainingRun], *, resume: bool = False
) -> list[TrainingResult]:
    """Train a prompt a run; the runs' batches go through the backbone as one.

    Every run has its own rows, order, loss, optimiser, schedule, checkpoints and folder, and its result is
    that of ``train_prompt`` (up to rounding), so that an interrupted one can go on by itself, and the other
    way round. Runs may differ in task, seed, start, rate, batch size and number of steps; those that differ
    in prompt length or layout, or whose label words have several pieces and are not the same, are trained
    side by side but take passes of their own. Evaluations are not shared.

    Pays where one batch does not fill the device, as on a GPU; shorter texts are padded to the longest of all
    runs' batches. Raises ``UserError`` for runs that cannot share, and the first run's error when one fails,
    after the others have ended.
    """
    _check(runs)
    shared = SharedPass(len(runs))
    results: list[TrainingResult | None] = [None] * len(runs)
    errors: list[BaseException | None] = [None] * len(runs)

    def train(number: int, run: TrainingRun, bar: Bar) -> None:
        with shared.turn:
            try:
                results[number] = train_prompt(
                    backbone, run.task, run.train, run.args, run.folder,
                    validation=run.validation, resume=resume, floors=run.floors, start=run.start,
                    step=partial(shared.step, number),
                )  # fmt: skip
            except BaseException as error:
                errors[number] = error
            finally:
                shared.leave()
                bar.advance()

    with progress_bar(f"{len(runs)} trainings together", len(runs)) as bar:
        threads = [Thread(target=train, args=(*each, bar), daemon=True) for each in enumerate(runs)]
        try:
            with shared.turn:
                for thread in threads:
                    thread.start()
                shared.serve()
        except BaseException as error:
            with shared.turn:
                shared.stop(error)
            raise
        finally:
            for thread in threads:
                thread.join()
    for run, failure in zip(runs, errors, strict=True):
        if isinstance(failure, UserError) and not isinstance(failure, OtherSettings):
            raise UserError(f"{run.folder}: {failure} The other trainings are kept.") from None
        if failure is not None:
            raise failure
    return [result for result in results if result is not None]


def train_seeds(
    backbone: Backbone,
    task: Task,
    train: Split,
    args: PromptTrainingArguments,
    folder: Path,
    seeds: Sequence[int],
    *,
    validation: Split | None = None,
    together: bool = True,
    resume: bool = False,
    start: dict[str, Any] | None = None,
) -> list[TrainingResult]:
    """One prompt a seed, in ``folder/seed-N``, trained together or one after the other."""
    check_seeds(seeds)
    runs = []
    for seed in seeds:
        own = copy.copy(args)
        own.seed = seed
        runs.append(TrainingRun(task, train, own, folder / f"seed-{seed}", validation, start))
    if together:
        return train_together(backbone, runs, resume=resume)
    return [
        train_prompt(
            backbone, task, train, run.args, run.folder, validation=validation, resume=resume, start=start
        )
        for run in runs
    ]


def _check(runs: Sequence[TrainingRun]) -> None:
    if not runs:
        raise UserError("There is nothing to train together: name at least one run.")
    folders = [run.folder.resolve() for run in runs]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise UserError(f"Two runs would be stored in {twice}. Give each a folder of its own.")
    for run in runs:
        if run.args.world_size > 1:
            raise UserError(
                "Prompts are trained together in one process. Start it without torchrun or accelerate."
            )
        if run.args.fp16 or run.args.bf16:
            raise UserError(
                "fp16 and bf16 have no effect on prompts that are trained together. Leave them out; "
                "backbone_dtype sets the precision of the frozen model."
            )
