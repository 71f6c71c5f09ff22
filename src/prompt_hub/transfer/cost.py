"""What a matrix will cost, from its plan and a few timed batches."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prompt_hub.backbones import Backbone
from prompt_hub.encoding.encoder import EncodedSplit, Encoder
from prompt_hub.evaluation.predict import predict
from prompt_hub.runs.grid import Item
from prompt_hub.runs.work import cores
from prompt_hub.tasks import load_split
from prompt_hub.training.module import PromptModule
from prompt_hub.transfer.matrix import Matrix
from prompt_hub.transfer.plan import CELL, FLOOR, TRAIN, Plan, Source, Target
from prompt_hub.transfer.sources import SAMPLE_SEED, training_arguments

PROBE_SECONDS = 10.0
_SAMPLE_ROWS = 256
_FEW_ROWS = 4
_QUICK = 0.25
_EVALUATIONS = 5
"""Evaluations on held-out rows during a training, unless more are asked for."""


@dataclass(frozen=True)
class Cost:
    """What is to be done of all there is, and what it will take.

    rows: to be scored, in cells and floors; with races at most so many, and no floors. steps: of training.
    seconds: of one worker; None where nothing is left to do. speed_up: by several workers on this machine's
    cores. probe_seconds: what measuring took.
    """

    trainings: int
    cells: int
    floors: int
    all_trainings: int
    all_cells: int
    all_floors: int
    rows: int
    steps: int
    seconds: float | None
    speed_up: int
    probe_seconds: float

    @property
    def wall_seconds(self) -> float | None:
        return None if self.seconds is None else self.seconds / self.speed_up


def estimate(matrix: Matrix, jobs: int = 1) -> Cost:
    """Counts what is open and times a few batches of targets, for some ten seconds in all."""
    assert matrix.backbone is not None, "the matrix has given its backbone away"
    started = time.perf_counter()
    plan, backbone = matrix.plan, matrix.backbone
    open_keys = matrix.open_keys()
    everything = plan.items() if matrix.racing is None else _raced(plan)
    share = 1.0 if matrix.racing is None else matrix.racing.budget
    items = [item for item in everything if item.key in open_keys]
    all_kinds, kinds = Counter(item.kind for item in everything), Counter(item.kind for item in items)
    evaluations = Counter(item.work["target"] for item in items if item.kind in (CELL, FLOOR))
    scored = {name: share * plan.target(name).data["n"] * count for name, count in evaluations.items()}
    rows = int(sum(scored.values()))
    trainings = [plan.source(item.work["source"], item.work["seed"]) for item in items if item.kind == TRAIN]
    steps = {id(source): _steps(matrix, source) for source in trainings}
    seconds = None
    if items:
        probe = _Probe(matrix, backbone, started + PROBE_SECONDS)
        names = dict.fromkeys([*evaluations, *(source.task or "" for source in trainings)])
        by_row = probe.seconds_by_row([plan.target(name) for name in names])
        seconds = sum(by_row[name] * count for name, count in scored.items())
        if trainings:
            ratios: dict[str, float] = {}
            for source in trainings:
                target = plan.target(source.task or "")
                if target.task.kind not in ratios:
                    ratios[target.task.kind] = probe.training_ratio(target)
                batch, held_out = _sizes(matrix, source)
                trained = ratios[target.task.kind] * steps[id(source)] * batch
                seconds += by_row[target.name] * (trained + _EVALUATIONS * held_out)
    return Cost(
        trainings=kinds[TRAIN],
        cells=kinds[CELL],
        floors=kinds[FLOOR],
        all_trainings=all_kinds[TRAIN],
        all_cells=all_kinds[CELL],
        all_floors=all_kinds[FLOOR],
        rows=rows,
        steps=sum(steps.values()),
        seconds=seconds,
        speed_up=_speed_up(backbone, jobs),
        probe_seconds=time.perf_counter() - started,
    )


@dataclass
class _Probe:
    matrix: Matrix
    backbone: Backbone
    deadline: float

    def seconds_by_row(self, targets: Sequence[Target]) -> dict[str, float]:
        """Seconds to score one row, by target; of those that time did not allow for, by their lengths."""
        measured: dict[str, float] = {}
        lengths: dict[str, float] = {}
        for target in targets:
            if target.problem is not None:
                measured[target.name] = 0.0
                continue
            encoder, rows, prompt = self._sample(target)
            lengths[target.name] = sum(rows.lengths) / len(rows)
            if time.perf_counter() > self.deadline:
                continue
            if not any(measured.values()):
                predict(encoder, prompt, rows.only(_typical(rows, 1)), 1)
            measured[target.name] = self._by_row(encoder, rows, prompt)
        known = [name for name, value in measured.items() if value]
        by_token = sum(measured[name] for name in known) / (sum(lengths[name] for name in known) or 1)
        return {name: measured.get(name, by_token * lengths.get(name, 0)) for name in map(_name, targets)}

    def training_ratio(self, target: Target) -> float:
        """How much longer a row takes in a training step than in an evaluation."""
        encoder, rows, prompt = self._sample(target)
        few = rows.only(_typical(rows, _FEW_ROWS))
        module = PromptModule(encoder, prompt)

        def step(some: EncodedSplit) -> None:
            output = module(**encoder.collate(some.rows))
            output["loss"].backward()

        step(few)
        score = _timed(lambda: predict(encoder, prompt, few, len(few)), self.backbone)
        return _timed(lambda: step(few), self.backbone) / max(score, 1e-9)

    def _by_row(self, encoder: Encoder, rows: EncodedSplit, prompt: Tensor) -> float:
        def timed(count: int) -> float:
            some = rows.only(_typical(rows, count))
            return _timed(lambda: predict(encoder, prompt, some, len(some)), self.backbone) / len(some)

        few = timed(_FEW_ROWS)
        return few if few * _FEW_ROWS > _QUICK else timed(self.matrix.place.batch_size)

    def _sample(self, target: Target) -> tuple[Encoder, EncodedSplit, Tensor]:
        plan, place = self.matrix.plan, self.matrix.place
        length = target.prompt_len or max(source.prompt_len for source in plan.sources)
        split = load_split(target.task, plan.split, place.data_dir, plan.limit, SAMPLE_SEED)
        encoder = Encoder(self.backbone, target.task, length, plan.layout)
        return (
            encoder,
            encoder.encode(split.examples[:_SAMPLE_ROWS]),
            torch.zeros(length, self.backbone.hidden),
        )


def _raced(plan: Plan) -> list[Item]:
    """Trainings, and the cells that races are about."""
    items = {item.key: item for item in plan.items()}
    wanted = {key for key, item in items.items() if item.kind == TRAIN}
    for target in plan.targets:
        for sources in plan.foreign_sources(target).values():
            wanted |= {plan.cell_key(source, target) for source in sources}
    return [item for key, item in items.items() if key in wanted]


def _typical(rows: EncodedSplit, count: int) -> list[int]:
    """Indices of the rows whose lengths are nearest to the mean length."""
    mean = sum(rows.lengths) / len(rows)
    return sorted(range(len(rows)), key=lambda index: abs(rows.lengths[index] - mean))[:count]


def _timed(work: Callable[[], object], backbone: Backbone) -> float:
    started = time.perf_counter()
    work()
    if backbone.device.type == "cuda":
        torch.cuda.synchronize(backbone.device)
    return time.perf_counter() - started


def _sizes(matrix: Matrix, source: Source) -> tuple[int, int]:
    """(training rows a step, held-out rows) of a training."""
    args = training_arguments(matrix.plan.training, "", 0, matrix.plan.layout)
    held_out = min(args.hold_out, source.train_rows // 10)
    return args.per_device_train_batch_size * args.gradient_accumulation_steps, held_out


def _steps(matrix: Matrix, source: Source) -> int:
    args = training_arguments(matrix.plan.training, "", 0, matrix.plan.layout)
    if args.max_steps > 0:
        return args.max_steps
    batch, held_out = _sizes(matrix, source)
    return int(args.num_train_epochs * max(1, (source.train_rows - held_out) // batch))


def _speed_up(backbone: Backbone, jobs: int) -> int:
    """Workers help as far as there are cores that one of them leaves idle."""
    if backbone.device.type != "cpu":
        return 1
    return max(1, min(jobs, cores() // torch.get_num_threads()))


def _name(target: Target) -> str:
    return target.name
