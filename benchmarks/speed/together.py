"""Prompts of eight seeds trained at once, against one after the other."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from epochs import TRAIN_BATCH, note
from operations import useful_operations
from shapes import Shape

from prompt_hub.tasks import get_task
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.together import train_seeds
from speed.roof import guessed_seconds
from speed.setting import Setting
from speed.steps import architecture
from speed.texts import backbone_of, split

SEEDS = 8
WAYS = ("together", "one after the other")
_MOST_ROUNDS = 3
_MOST_STEPS, _LEAST_STEPS = 50, 3


def compare(shape: Shape, prompt_len: int, setting: Setting) -> dict[str, Any]:
    """Seconds of both, everything from rows to stored prompts included, and of one more step.

    A step of all seeds is the difference to a training of one step, divided among the others.
    """
    arch = architecture(shape, setting.small)
    operations = useful_operations(arch, prompt_len, [24] * TRAIN_BATCH, training=True)
    step = guessed_seconds(arch, operations, setting)
    # Both ways, in every round.
    one = 2 * SEEDS * step
    setting.check(one * (_LEAST_STEPS + 1))
    affordable = int(0.3 * setting.left() / one)
    steps = _LEAST_STEPS if setting.small else max(_LEAST_STEPS, min(_MOST_STEPS, affordable))
    rounds = 1 if setting.small else max(1, min(_MOST_ROUNDS, affordable // steps))
    note(f"{shape.name}: {SEEDS} seeds, {steps} steps each, together and one after the other")
    backbone, task = backbone_of(shape, setting), get_task("sst2")
    rows = split("sst2", 50 * TRAIN_BATCH, setting)

    def train(way: str, count: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            args = _arguments(folder, prompt_len, count, setting)
            train_seeds(backbone, task, rows, args, Path(folder), range(SEEDS), together=way == WAYS[0])

    train(WAYS[0], 1)
    start = {way: setting.timed(train, way, 1) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            seconds[way].append(setting.timed(train, way, steps))
    step_seconds = {
        way: [(whole - start[way]) / (steps - 1) for whole in found] for way, found in seconds.items()
    }
    return {
        "seeds": SEEDS, "steps": steps, "rows": TRAIN_BATCH, "seconds": seconds, "step_seconds": step_seconds
    }  # fmt: skip


def _arguments(folder: str, prompt_len: int, steps: int, setting: Setting) -> PromptTrainingArguments:
    """Training alone: no rows held out, no checkpoints on the way."""
    return PromptTrainingArguments(
        output_dir=folder,
        prompt_len=prompt_len,
        max_steps=steps,
        per_device_train_batch_size=TRAIN_BATCH,
        hold_out=0,
        save_strategy="no",
        use_cpu=not setting.on_gpu,
        disable_tqdm=True,
        report_to=[],
    )
