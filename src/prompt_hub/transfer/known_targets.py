"""What an indicator may know of targets of measured transfer: their training rows, never the scored ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prompt_hub.errors import UserError
from prompt_hub.indicators.base import Target
from prompt_hub.indicators.measured import task_of
from prompt_hub.progress import track
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Task, get_task, load_split, row_hashes
from prompt_hub.transfer.candidates import Candidate, Candidates
from prompt_hub.transfer.plan import Plan, made_by
from prompt_hub.transfer.planning import SAMPLE_SEED
from prompt_hub.transfer.scores import Loader, draw_sample


@dataclass
class KnownTargets:
    """by_task: a target a measured task, with rows or with the reason why there are none."""

    by_task: dict[str, Target] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def prompts_of(folder: Path) -> dict[str, SoftPrompt]:
    """The prompts of a transfer matrix, by name (and seed where there are several)."""
    plan = Plan.load(folder)
    several = len(plan.seeds) > 1
    found = {}
    for source in plan.sources:
        place = folder / source.folder
        name = f"{source.name} (seed {source.seed})" if several else source.name
        try:
            found[name] = SoftPrompt.from_pretrained(place)
        except UserError as error:
            raise UserError(f"The prompt {name} of the matrix in {folder} cannot be read: {error}") from None
    return found


def known_targets(
    place: Path,
    measured: Sequence[str],
    prompts: Mapping[str, SoftPrompt],
    *,
    data_dir: Path | None = None,
    limit: int = 200,
    seed: int = 42,
) -> KnownTargets:
    """At most ``limit`` training rows of each of the ``measured`` tasks.

    Left out are rows that a prompt was trained on and rows that the matrix was scored on; a prompt that was
    trained on most of the rows (mostly the target's own) is named in ``Target.seen_by`` instead. place: of
    the scores; the folder of a matrix says its tasks and where their rows are, for a table the registry
    does. data_dir: instead of what the matrix says.
    """
    if limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}. 100 to 500 rows are usual.")
    tasks: dict[str, Callable[[], Task]] = {name: _registered(name) for name in measured}
    plan = None
    if place.is_dir():
        plan = Plan.load(place)
        stored = made_by(place).get("place", {}).get("data_dir")
        data_dir = data_dir or (Path(stored) if stored else None)
        tasks |= {task_of(target.name): _planned(plan, target.name) for target in plan.targets}
    found = KnownTargets()
    silent: set[str] = set()
    for name in track(measured, "read target rows", len(measured)):
        candidates = Candidates(place, [Candidate(*item) for item in prompts.items()])
        try:
            task = tasks[name]()
            scored = np.zeros(0, np.int64)
            if plan is not None:
                rows = load_split(task, plan.split, data_dir, plan.limit, SAMPLE_SEED)
                scored = row_hashes(rows.examples)
            sample = draw_sample(_loader(task, data_dir, seed), limit, candidates, seed, scored)
        except UserError as error:
            found.by_task[name] = Target(name, missing=str(error))
            continue
        left_out = {each.name for each in candidates.left_out}
        seen_by = frozenset(prompts[each].hash for each in left_out)
        found.by_task[name] = Target(name, None, task, sample.rows, seen_by)
        silent |= {name for name, prompt in prompts.items() if prompt.train_rows is None}
    if silent:
        found.warnings.append(
            f"{len(silent)} prompts do not say which rows they were trained on (first: {min(silent)}); "
            "overlap with the target rows was not checked for them."
        )
    return found


def _registered(name: str) -> Callable[[], Task]:
    return lambda: get_task(name)


def _planned(plan: Plan, name: str) -> Callable[[], Task]:
    return lambda: plan.target(name).task


def _loader(task: Task, data_dir: Path | None, seed: int) -> Loader:
    return lambda most: load_split(task, "train", data_dir, most, seed)
