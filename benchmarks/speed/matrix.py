"""A whole transfer matrix against the forward passes that it is made of."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from epochs import EVAL_BATCH, note
from operations import useful_operations
from shapes import Shape, initial_prompt
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task
from prompt_hub.transfer.matrix import Matrix, fill
from prompt_hub.transfer.planning import plan_matrix
from prompt_hub.transfer.table import load_table
from prompt_hub.transfer.worker import Place as MatrixPlace
from speed.roof import guessed_seconds
from speed.setting import Setting
from speed.steps import architecture
from speed.texts import TASKS, backbone_of, examples, write_tasks

SEEDS = 3
VALIDATION_ROWS = 872
"""Of SST-2; fewer where the time does not reach for so many."""
_LEAST_ROWS = 32
# Beside the prompts' own cells, a matrix scores every task without a prompt and each own prompt's noise.
_FLOORS = len(TASKS) + SEEDS * len(TASKS)


class Passes:
    """Every call of a backbone's ``label_logits``: how long the caller was in it, and what it was given."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.given: list[tuple[Any, ...]] = []

    @contextmanager
    def watched(self, backbone: Backbone) -> Iterator[None]:
        run = backbone.label_logits

        def watched(*given: Any) -> Tensor:
            started = time.perf_counter()
            found = run(*given)
            self.seconds += time.perf_counter() - started
            self.given.append(given)
            return found

        backbone.label_logits = watched  # type: ignore[method-assign]
        try:
            yield
        finally:
            del backbone.label_logits

    @torch.no_grad()
    def again(self, backbone: Backbone) -> None:
        """The same calls, one after another, nothing between them."""
        at = 0
        while at < len(self.given):
            prompt = self.given[at][0]
            with backbone.unchanged(prompt):
                while at < len(self.given) and self.given[at][0] is prompt:
                    backbone.label_logits(*self.given[at])
                    at += 1


def compare(shape: Shape, prompt_len: int, setting: Setting) -> dict[str, Any]:
    """Seconds of a matrix of 12 prompts by 4 tasks with its floors, and of its forward passes.

    On a CPU the passes are timed inside the matrix. A GPU is behind its host there, so they run again by
    themselves.
    """
    backbone = backbone_of(shape, setting)
    cells = len(TASKS) * SEEDS * len(TASKS) + _FLOORS
    arch = architecture(shape, setting.small)
    mean = round(sum(n * count for n, count in enumerate(setting.counts)) / sum(setting.counts))
    operations = useful_operations(arch, prompt_len, [mean] * EVAL_BATCH, training=False)
    a_row = cells * guessed_seconds(arch, operations, setting) / EVAL_BATCH
    setting.check(2 * a_row * _LEAST_ROWS)
    affordable = int(0.3 * setting.left() / (2 * a_row))
    rows = max(_LEAST_ROWS, min(_LEAST_ROWS if setting.small else VALIDATION_ROWS, affordable))
    note(f"{shape.name}: a matrix of {cells} evaluations of {rows} rows")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tasks(folder / "data", rows, setting)
        _save_prompts(folder / "prompts", backbone, prompt_len)
        _warm(backbone, prompt_len)
        passes = Passes()
        setting.wait()
        started = time.perf_counter()
        with passes.watched(backbone):
            table = _matrix(backbone, folder, setting)
        seconds = time.perf_counter() - started
    forward = setting.timed(passes.again, backbone) if setting.on_gpu else passes.seconds
    return {
        "prompts": len(TASKS) * SEEDS,
        "tasks": len(TASKS),
        "cells": len(table),
        "evaluations": cells,
        "rows": rows,
        "seconds": seconds,
        "forward_seconds": forward,
        "forward_timed": "again, by themselves" if setting.on_gpu else "inside the matrix",
    }


def _matrix(backbone: Backbone, folder: Path, setting: Setting) -> Any:
    plan = plan_matrix(backbone, TASKS, folder / "prompts", data_dir=folder / "data")
    place = MatrixPlace(backbone.name, str(folder), str(folder / "data"), setting.device, EVAL_BATCH)
    fill(Matrix(plan, place, folder / "matrix", backbone))
    return load_table(folder / "matrix")


def _save_prompts(folder: Path, backbone: Backbone, prompt_len: int) -> None:
    """One a task and seed: noise, as if it had been trained there."""
    generator = torch.Generator().manual_seed(0)
    start = initial_prompt(backbone.model, prompt_len).cpu()
    for name in TASKS:
        task = get_task(name)
        for seed in range(SEEDS):
            metadata = PromptMetadata(
                backbone=backbone.identity.to_dict(),
                layout=layout_for(backbone.family).name,
                task=name,
                task_type=task.type,
                seed=seed,
            )
            noise = 0.01 * torch.randn(start.shape, generator=generator)
            SoftPrompt(start + noise, metadata).save_pretrained(folder / f"{name}-{seed}")


@torch.no_grad()
def _warm(backbone: Backbone, prompt_len: int) -> None:
    encoder = Encoder(backbone, get_task("sst2"), prompt_len)
    rows = encoder.encode(examples("sst2", 4, [0] * 20 + [1], seed=2)).rows
    prompt = initial_prompt(backbone.model, prompt_len)
    backbone.label_logits(prompt, encoder.batch(rows), encoder.label_ids)
