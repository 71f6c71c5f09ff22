"""What the tour needs, checked before anything is trained, and how it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompt_hub.atomic import check_own_folder
from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import FLOORS, Evaluation
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.quickstart import settings
from prompt_hub.tasks import Split, Task, get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import OtherSettings, TrainingResult, train_prompt

RESULTS_NAME = "quickstart.json"
"""By this file in it a folder is known to be a tour's own."""


@dataclass
class Stop:
    """A task with its rows; prompt and evaluation are there once it is trained."""

    task: Task
    train: Split
    validation: Split
    prompt: SoftPrompt | None = None
    evaluation: Evaluation | None = None

    @property
    def trained(self) -> tuple[SoftPrompt, Evaluation]:
        assert self.prompt is not None and self.evaluation is not None
        return self.prompt, self.evaluation


@dataclass
class Tour:
    """What every step is given. say: takes a line for people. results: of the steps so far, by name."""

    backbone: Backbone
    stops: list[Stop]
    folder: Path
    steps: int
    seed: int
    say: Callable[[str], None]
    results: dict[str, Any] = field(default_factory=dict)

    def prompt_folder(self, task: Task) -> Path:
        return self.folder / "prompts" / task.name

    def train(
        self,
        stop: Stop,
        folder: Path,
        steps: int,
        *,
        init: str | None = None,
        hold_out: int = settings.HOLD_OUT,
        floors: Sequence[str] = FLOORS,
    ) -> TrainingResult:
        """A prompt for ``stop`` in ``folder``; a finished one of the same settings is taken as it is."""
        args = PromptTrainingArguments(
            output_dir=str(folder),
            prompt_len=settings.PROMPT_LEN,
            init=init,
            max_steps=steps,
            per_device_train_batch_size=settings.TRAIN_BATCH,
            per_device_eval_batch_size=settings.EVAL_BATCH,
            hold_out=hold_out,
            seed=self.seed,
            use_cpu=self.backbone.device.type == "cpu",
            disable_tqdm=True,
        )

        def run(resume: bool) -> TrainingResult:
            return train_prompt(
                self.backbone,
                stop.task,
                stop.train,
                args,
                folder,
                validation=stop.validation,
                resume=resume,
                floors=floors,
            )

        try:
            return run(resume=True)
        except OtherSettings:
            return run(resume=False)


Step = Callable[[Tour], dict[str, Any] | None]
"""Returns plain data for the results; None where the tasks give it nothing to do."""


def prepare(
    backbone_name: str,
    task_names: Sequence[str],
    folder: Path,
    *,
    steps: int = settings.STEPS,
    seed: int = settings.SEED,
    device: str = "auto",
    data_dir: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Tour:
    """Backbone, tasks and rows, checked for everything that would stop the tour later.

    Raises ``UserError`` for an unknown task or backbone, rows that cannot be had, a task that the backbone
    cannot do, and a folder that holds other files than an earlier tour.
    """
    if not task_names:
        raise UserError("No tasks are named. Give some, such as --tasks mini/film,mini/kitchen.")
    check_own_folder(folder, {RESULTS_NAME}, "a quickstart")
    tasks = {task.name: task for task in map(get_task, task_names)}
    backbone = load_backbone(backbone_name, device=device)
    for task in tasks.values():
        Encoder(backbone, task, settings.PROMPT_LEN)
    stops = [
        Stop(
            task,
            load_split(task, "train", data_dir, settings.TRAIN_ROWS, seed),
            load_split(task, "validation", data_dir, settings.EVAL_ROWS, seed),
        )
        for task in tasks.values()
    ]
    return Tour(backbone, stops, folder, steps, seed, say)
