"""The same training from several starts and with several seeds, and what the start was worth."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import FLOORS
from prompt_hub.evaluation.over_seeds import check_seeds, over_seeds
from prompt_hub.reports.learning_curves import draw_learning_curves
from prompt_hub.runs.records import Record
from prompt_hub.tasks.metrics import primary_metric
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Task
from prompt_hub.training.alone import alone
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import OtherSettings, TrainingResult, split_for_choice, train_prompt
from prompt_hub.training.together import TrainingRun, train_together
from prompt_hub.transfer.speed_up import Curve, comparable_speed_up, convergence_speed_up, summary
from prompt_hub.transfer.starts import Source, Start, check_sources, starts, unseen

RECORD_NAME = "warm_start.json"
FIGURE_NAME = "learning_curves.png"
EVALUATIONS = 30
"""Points of a learning curve where nothing else is asked for."""


def train_from(
    source: Source,
    backbone: Backbone,
    task: Task,
    train: Split,
    validation: Split,
    args: PromptTrainingArguments,
    folder: Path,
) -> tuple[TrainingResult, dict[str, int]]:
    """One warm start: ``task`` trained from ``source``, in its length and layout; an earlier run is replaced.

    Rows that the source was trained on are left out of both splits; they are counted in the second value
    (``train``, ``validation``). Raises ``UserError`` for a source that does not fit, or too few rows.
    """
    args = copy.copy(args)
    args.layout, messages = check_sources(source, None, backbone, task, args.layout)
    for message in messages:
        warnings.warn(message, stacklevel=2)
    rows, removed_train = unseen(train, [source])
    reported, removed_validation = unseen(validation, [source])
    for split, removed in ((rows, removed_train), (reported, removed_validation)):
        _check_remaining(task, split, removed, 1)
    args.init, args.prompt_len = f"prompt:{source.place}", source.prompt.prompt_len
    trained = train_prompt(backbone, task, rows, args, folder, validation=reported)
    return trained, {"train": removed_train, "validation": removed_validation}


@alone("compares starts")
def compare_starts(
    backbone: Backbone,
    task: Task,
    train: Split,
    validation: Split,
    args: PromptTrainingArguments,
    folder: Path,
    *,
    source: Source,
    other: Source | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    together: bool = False,
    keep_seen: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train ``task`` cold, from ``source``, from ``other`` and from an untrained prompt, once a seed each.

    The runs of a seed differ in their start alone. Their learning curves are scores on rows held out of
    ``train``; ``validation`` is scored once, with the finished prompt. Every run is a run folder below
    ``folder/runs``: finished ones are taken as they are, an interrupted one goes on. ``folder`` then holds
    the record ``warm_start.json`` (its result is returned) and the figure ``learning_curves.png``.

    args: of every run; its ``init`` is that of the cold start, its prompt length is the source's. together:
    all runs at once, through one pass over the backbone (``train_together``; the same results). keep_seen:
    rows that a prompt was trained on stay in ``train``, for a prompt that comes from another backbone and is
    trained on its task again (``kept_overlap`` counts them); ``validation`` loses them all the same. say:
    takes a line for people a run. Raises ``UserError`` for prompts that do not fit, rows that do not suffice,
    and a folder with a comparison of other settings.
    """
    seeds = check_seeds(seeds)
    layout, messages = check_sources(source, other, backbone, task, args.layout)
    prompts = [source, other]
    rows, removed_train = unseen(train, prompts)
    kept_train = removed_train if keep_seen else 0
    if keep_seen:
        rows, removed_train = train, 0
    if kept_train:
        messages.append(
            f"{kept_train} of {len(train)} training rows are rows that a source was trained on: held-out "
            "scores and losses, and so the speed-ups, may favour it. Validation rows are none of them."
        )
    reported, removed_validation = unseen(validation, prompts)
    if args.hold_out < 1:
        raise UserError("The learning curves need held-out training rows: leave out --hold-out 0.")
    # Of fewer than ten rows none are held out.
    _check_remaining(task, rows, removed_train, 10, keepable=removed_train > 0)
    _check_remaining(task, reported, removed_validation, 1)
    args = copy.copy(args)
    args.prompt_len, args.layout, args.eval_on_start = source.prompt.prompt_len, layout, True
    record = _record(folder / RECORD_NAME, source, other, task, rows, reported, seeds)
    metric = primary_metric(task)
    plan = [(seed, start) for seed in seeds for start in starts(source, other, args.init)]
    runs: dict[str, list[dict[str, Any]]] = {}
    planned = [
        _planned(task, rows, reported, args, folder / "runs" / start.name, start, seed)
        for seed, start in plan
    ]
    results = train_together(backbone, planned, resume=True) if together else None
    for number, (seed, start) in enumerate(plan):
        trained = results[number] if results else _run(backbone, planned[number], start)
        run = _described(trained, start, seed, metric)
        runs.setdefault(start.name, []).append(run)
        say(
            f"{number + 1} of {len(plan)}: {start.label}, seed {seed}: {metric} {run['score']:.3f} after "
            f"{run['steps']} steps ({trained.seconds:.0f} s)"
        )
    result: dict[str, Any] = {
        "task": task.name,
        "task_type": task.type,
        "backbone": backbone.name,
        "source": _origin(source),
        "other": _origin(other) if other else None,
        "metric": metric,
        "n": len(reported),
        "n_train": len(rows),
        "n_held_out": len(split_for_choice(rows, args)[1] or ()),
        "seeds": list(seeds),
        "removed_overlap": {"train": removed_train, "validation": removed_validation},
        "kept_overlap": kept_train,
        "starts": {name: _start(found, runs["cold"]) for name, found in runs.items()},
        "floors": _floors(runs["cold"], metric),
        "runs": [run for found in runs.values() for run in found],
        "warnings": messages,
    }
    result["figure"] = str(draw_learning_curves(result, folder / FIGURE_NAME))
    record.finish(folder / RECORD_NAME, result)
    return result


def _check_remaining(task: Task, split: Split, removed: int, least: int, keepable: bool = False) -> None:
    if len(split) < least:
        left_out = f" after {removed} that a prompt was trained on were left out" if removed else ""
        raise UserError(
            f"Task {task.name!r}: {len(split)} {split.name} rows remain{left_out}; at least {least} are "
            "needed. Give more rows, or a prompt that was trained on others"
            + ("; or let these rows stay with keep_seen (--keep-seen)." if keepable else ".")
        )


def _record(
    path: Path,
    source: Source,
    other: Source | None,
    task: Task,
    rows: Split,
    reported: Split,
    seeds: Sequence[int],
) -> Record:
    """The record to be; refuses to take the place of a comparison of other things.

    Seeds may be added to an earlier one, and ``other``; how the runs were trained is compared by each run.
    """
    settings = {
        "task": task.name,
        "task_fingerprint": task.fingerprint(),
        "train_fingerprint": rows.fingerprint,
        "validation_fingerprint": reported.fingerprint,
        "source": source.prompt.hash,
        "other": other.prompt.hash if other else None,
        "seeds": list(seeds),
    }
    earlier = Record.load_or_set_aside(path)
    if earlier is not None:
        if earlier.kind != "warm_start":
            raise UserError(f"{path} is a record of another kind. Choose another --output.")
        for name, value in settings.items():
            stored = earlier.settings.get(name)
            if name != "seeds" and stored is not None and stored != value:
                raise OtherSettings(
                    f"{path.parent} holds a comparison with other settings: {name} was {stored!r}, asked is "
                    f"{value!r}. Repeat the old ones, or choose another --output."
                )
    record = Record("warm_start", settings)
    if earlier is None:
        record.save(path)
    return record


def _planned(
    task: Task,
    rows: Split,
    reported: Split,
    args: PromptTrainingArguments,
    folder: Path,
    start: Start,
    seed: int,
) -> TrainingRun:
    args = copy.copy(args)
    args.init, args.seed = start.init, seed
    # The floors are the same for all runs of a seed but for the random prompt's size.
    floors = FLOORS if start.name == "cold" else ()
    return TrainingRun(task, rows, args, folder / f"seed-{seed}", reported, floors=floors)


def _run(backbone: Backbone, run: TrainingRun, start: Start) -> TrainingResult:
    try:
        return train_prompt(
            backbone, run.task, run.train, run.args, run.folder,
            validation=run.validation, resume=True, floors=run.floors,
        )  # fmt: skip
    except OtherSettings:
        raise
    except UserError as error:
        raise UserError(
            f"{start.label}, seed {run.args.seed}: {error} The runs before it are kept."
        ) from None


def _described(trained: TrainingResult, start: Start, seed: int, metric: str) -> dict[str, Any]:
    assert trained.evaluation is not None
    score_key = f"eval_{metric}"
    keys = {"score": (score_key, True), "loss": ("eval_loss", False)}
    if not any(score_key in entry for entry in trained.history):
        # A task that generates text is watched by its loss alone: scores would cost a generation a row.
        del keys["score"]
    curves = {name: Curve.of_history(trained.history, *key) for name, key in keys.items()}
    return {
        "start": start.name,
        "label": start.label,
        "seed": seed,
        "folder": str(trained.folder),
        "prompt_hash": trained.prompt.hash,
        "score": trained.evaluation.score,
        "ci95": trained.evaluation.ci95[metric],
        "floors": trained.evaluation.floors,
        "steps": trained.steps,
        "diagnosis": trained.diagnosis,
        "curves": {name: {"steps": curve.steps, "values": curve.values} for name, curve in curves.items()},
    }


def _start(found: list[dict[str, Any]], cold: list[dict[str, Any]]) -> dict[str, Any]:
    """One start over all seeds. gain: score above the cold run's of the same seed."""
    result = {
        "label": found[0]["label"],
        "score": over_seeds([run["score"] for run in found]).to_dict(),
    }
    if found is cold:
        return result
    pairs = list(zip(cold, found, strict=True))
    result["gain"] = over_seeds([run["score"] - base["score"] for base, run in pairs]).to_dict()
    result["speed_up"] = {
        curve: {
            "comparable": summary([comparable_speed_up(*_curves(pair, curve)) for pair in pairs]),
            "convergence": summary([convergence_speed_up(*_curves(pair, curve)) for pair in pairs]),
        }
        for curve in found[0]["curves"]
    }
    return result


def _curves(pair: tuple[dict[str, Any], dict[str, Any]], name: str) -> tuple[Curve, Curve]:
    base, run = (Curve(**one["curves"][name]) for one in pair)
    return base, run


def _floors(cold: list[dict[str, Any]], metric: str) -> dict[str, float]:
    """Means over the seeds, in the primary metric."""
    names = [name for name in FLOORS if all(name in run["floors"] for run in cold)]
    return {name: over_seeds([run["floors"][name][metric] for run in cold]).mean for name in names}


def _origin(source: Source) -> dict[str, Any]:
    known = source.prompt.metadata
    return {
        "place": source.place,
        "hash": source.prompt.hash,
        "task": known.task,
        "task_type": known.task_type,
        "parent": known.parent,
    }
