"""What a projector is trained on: rows of several tasks, batches of one task each, or pairs of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from prompt_hub.encoding.batches import LengthBucketSampler
from prompt_hub.encoding.encoder import EncodedRow, EncodedSplit, Encoder
from prompt_hub.training.module import task_loss
from prompt_hub.transfer.cross_model.projector import Projector

TASK_TUNING, DISTANCE, BOTH = OBJECTIVES = ("task-tuning", "distance", "both")


@dataclass(frozen=True)
class TaskRow:
    """task: index of its task. row: None where only prompts are compared."""

    task: int
    row: EncodedRow | None

    def __len__(self) -> int:
        return 0 if self.row is None else len(self.row)


def mixed(parts: Sequence[EncodedSplit], by_length: bool = False) -> list[TaskRow]:
    """The rows of all tasks, in the tasks' order; by_length: within a task the longest first."""
    rows = []
    for task, part in enumerate(parts):
        ordered = sorted(part.rows, key=len, reverse=True) if by_length else part.rows
        rows += [TaskRow(task, row) for row in ordered]
    return rows


def pairs(count: int) -> list[TaskRow]:
    """One row a task, for training that compares prompts only."""
    return [TaskRow(task, None) for task in range(count)]


class TaskBatchSampler(Sampler[int]):
    """A random order in which every ``batch_size`` neighbours are of one task and have like lengths.

    Within a task the order is that of ``LengthBucketSampler``; incomplete batches are left out (a task with
    fewer rows than a batch gives no other: all its rows are in one, filled up with the first of them). The
    order depends on seed and epoch only.
    """

    def __init__(self, rows: Sequence[TaskRow], batch_size: int, seed: int) -> None:
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.places: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            self.places.setdefault(row.task, []).append(place)
        for task, places in self.places.items():
            if len(places) < batch_size:
                self.places[task] = [places[index % len(places)] for index in range(batch_size)]
        self.samplers = {
            task: LengthBucketSampler(
                [len(rows[place]) for place in places], batch_size, seed, drop_last=True
            )
            for task, places in self.places.items()
        }

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(sampler) for sampler in self.samplers.values())

    def __iter__(self) -> Iterator[int]:
        batches = []
        for task, sampler in self.samplers.items():
            sampler.set_epoch(self.epoch)
            order = [self.places[task][index] for index in sampler]
            batches += [
                order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)
            ]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield from batches[index]


class ProjectorModule(nn.Module):
    """Loss of a batch whose prompts come from a trainable projector; source prompts and backbone are frozen.

    sources: ``[K, P_s, H_s]``, a prompt a task. targets: ``[K, P_t, H_t]``, those that ``distance`` aims at.
    gain: factor on the projector's result. objective: ``task-tuning``, the loss of the target backbone on
    the task; ``distance``, ``|f(s) - t|^2 / |t|^2``, so that prompts of any norm count alike; ``both``, the
    sum of the first and ``weight`` times the second.
    """

    sources: Tensor
    targets: Tensor | None

    def __init__(
        self,
        projector: Projector,
        gain: float,
        encoders: Sequence[Encoder],
        sources: Tensor,
        targets: Tensor | None,
        objective: str,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.projector = projector
        self.gain = gain
        self._encoders = tuple(encoders)
        self.register_buffer("sources", sources.float(), persistent=False)
        self.register_buffer("targets", None if targets is None else targets.float(), persistent=False)
        self.objective = objective
        self.weight = weight

    def prompt(self, task: int) -> Tensor:
        """``[P_t, H_t]``: what the projector makes of a task's source prompt."""
        return self.projector(self.sources[task]) * self.gain

    def forward(
        self,
        task_index: Sequence[int],
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        read_positions: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``loss`` of a batch of B rows, the mean over rows. task_index: B tasks."""
        given = {
            "input_ids": input_ids, "attention_mask": attention_mask, "read_positions": read_positions,
            "labels": labels,
        }  # fmt: skip
        rows = {name: values for name, values in given.items() if values is not None}
        tasks = list(dict.fromkeys(task_index))
        if len(tasks) == 1:
            return {"loss": self._loss(tasks[0], rows)}
        total = self.sources.new_zeros(())
        for task in tasks:
            chosen = [row for row, other in enumerate(task_index) if other == task]
            part = {name: values[chosen] for name, values in rows.items()}
            total = total + self._loss(task, part) * (len(chosen) / len(task_index))
        return {"loss": total}

    def _loss(self, task: int, rows: dict[str, Tensor]) -> Tensor:
        prompt = self.prompt(task)
        loss = self.sources.new_zeros(())
        if self.objective != DISTANCE:
            encoder = self._encoders[task]
            if encoder.task.kind == "classification":
                rows = {**rows, "labels": rows["labels"].long()}
            loss = loss + task_loss(encoder, prompt, encoder.to_batch(**rows), self.training)["loss"]
        if self.objective != TASK_TUNING:
            assert self.targets is not None
            weight = self.weight if self.objective == BOTH else 1.0
            loss = loss + weight * relative_distance(prompt, self.targets[task])
        return loss


def relative_distance(prompt: Tensor, wanted: Tensor) -> Tensor:
    """``|p - w|^2 / |w|^2``, a scalar."""
    return (prompt - wanted).square().sum() / wanted.square().sum().clamp(min=1e-12)


class Collate:
    """A batch: ``task_index``, B numbers, and the tensors of ``Encoder.collate``. It may mix tasks."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        # Scores of a regression are kept as they are; classes survive a float.
        scores = [encoder for encoder in encoders if encoder.task.kind == "regression"]
        self.encoder = (scores or list(encoders))[0]

    def __call__(self, rows: Sequence[TaskRow]) -> dict[str, Any]:
        # Numbers, not a tensor: a GPU need not be waited for to know the task.
        index = [row.task for row in rows]
        encoded = [row.row for row in rows if row.row is not None]
        return {"task_index": index, **(self.encoder.collate(encoded) if encoded else {})}
