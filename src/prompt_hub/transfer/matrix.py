"""The transfer matrix: every prompt on every task, floors beside them, each piece of work done once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.atomic import check_own_folder
from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.prompts.metadata import read_metadata
from prompt_hub.runs.executors import run_here, run_on_ray
from prompt_hub.runs.grid import FILE as GRID_FILE
from prompt_hub.runs.grid import Grid
from prompt_hub.runs.records import environment, now
from prompt_hub.tasks import Task
from prompt_hub.transfer.plan import FILE, TRAIN, Plan, Source
from prompt_hub.transfer.planning import plan_matrix
from prompt_hub.transfer.races import Races, Racing, check_races
from prompt_hub.transfer.sources import Training
from prompt_hub.transfer.table import load_tables
from prompt_hub.transfer.verdicts import RaceVerdict
from prompt_hub.transfer.worker import FACTORY, Place, lend

if TYPE_CHECKING:
    import pandas as pd

EXECUTORS = ("here", "ray")


@dataclass
class Matrix:
    """A planned matrix, checked for everything that would stop it later.

    backbone: loaded, for a first look at cost; ``fill`` lets it go. racing: how cells are raced; None: all of
    them are computed.
    """

    plan: Plan
    place: Place
    folder: Path
    backbone: Backbone | None
    racing: Racing | None = None

    def open_keys(self) -> set[str]:
        """Keys of what is not finished yet; reads the grid, makes nothing."""
        wanted = {item.key for item in self.plan.items()}
        if not (self.folder / GRID_FILE).is_file():
            return wanted
        with Grid.open(self.folder, create=False) as grid:
            return wanted - {done.key for done in grid.results()}


def run_matrix(
    backbone: str,
    tasks: Sequence[str | Task],
    output: str | Path,
    *,
    jobs: int = 1,
    executor: str = "here",
    address: str | None = None,
    retry_failed: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Use every prompt on every task and return the table as ``load_table`` describes it.

    options: those of ``prepare_matrix``. What is finished in ``output`` is not computed again, so that an
    interrupted run goes on and a task can be added; several processes may work on one ``output``. A piece of
    work that fails is stored with its error and stops nothing else; retry_failed: try such again. jobs:
    worker processes on this machine. executor: ``here`` or ``ray`` (address: of its cluster). With
    ``racing=Racing(budget=0.3)`` cells are computed only as far as the best source of each target needs it:
    ``race_table(output)``.
    """
    matrix = prepare_matrix(backbone, tasks, output, **options)
    fill(matrix, jobs=jobs, executor=executor, address=address, retry_failed=retry_failed)
    return load_tables(output, matrix.plan)[0]


def prepare_matrix(
    backbone: str,
    tasks: Sequence[str | Task],
    output: str | Path,
    *,
    train: bool = False,
    prompts: str | Path | None = None,
    seeds: Sequence[int] = (42,),
    training: Mapping[str, Any] | None = None,
    limit_train: int | None = None,
    data_dir: str | Path | None = None,
    split: str = "validation",
    limit: int | None = None,
    layout: str | None = None,
    strict: bool = False,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int = 32,
    racing: Racing | None = None,
) -> Matrix:
    """Plan a matrix; see ``plan_matrix``. Writes nothing.

    Sources are the prompts below ``prompts``, or else one a task and seed, which are trained (``train``) or
    were trained in ``output`` before; training: arguments of ``PromptTrainingArguments``. limit, limit_train:
    at most so many rows of a target and of a training. batch_size: rows of an evaluation batch. racing: only
    find the best source of each target. Raises
    ``UserError`` for whatever would stop the work later.
    """
    folder = Path(output)
    check_own_folder(folder, {FILE, GRID_FILE}, "a matrix")
    if prompts is not None and train:
        raise UserError("--train makes the prompts, --prompts takes those of a folder. Give one of them.")
    model = load_backbone(backbone, revision=revision, device=device, dtype=dtype)
    rows = None if data_dir is None else Path(data_dir)
    plan = plan_matrix(
        model,
        tasks,
        Training(seeds, training or {}, limit_train, rows) if prompts is None else Path(prompts),
        data_dir=rows,
        split=split,
        limit=limit,
        layout=layout,
        strict=strict,
    )
    place = Place(
        backbone=backbone,
        folder=str(folder.resolve()),
        data_dir=None if rows is None else str(rows.resolve()),
        device=device,
        batch_size=batch_size,
    )
    if racing is not None:
        check_races(plan, racing)
    matrix = Matrix(plan, place, folder, model, racing)
    _check_trained(matrix, train)
    return matrix


def fill(
    matrix: Matrix,
    *,
    jobs: int = 1,
    executor: str = "here",
    address: str | None = None,
    retry_failed: bool = False,
) -> list[RaceVerdict]:
    """Does what is not done yet, together with whoever else works on the folder; gives the races' verdicts.

    The folder keeps the plan that was asked for last, which may be another's by the end.
    """
    if executor not in EXECUTORS:
        raise unknown_name("executor", executor, EXECUTORS)
    plan, races = matrix.plan, None
    items = plan.items()
    if matrix.racing is not None:
        races = Races(plan, matrix.place, matrix.racing)
        items = [item for item in items if item.kind == TRAIN]
    made_by = {
        "place": asdict(matrix.place),
        "command": list(sys.argv),
        "environment": environment(),
        "planned": now(),
    }
    if matrix.racing is not None:
        made_by["racing"] = asdict(matrix.racing)
    with Grid.open(matrix.folder) as grid:
        plan.save(matrix.folder, made_by)
        grid.add(items)
        if retry_failed:
            grid.retry_failed()
    backbone, matrix.backbone = matrix.backbone, None
    if executor == "here" and jobs == 1 and backbone is not None:
        lend(matrix.place, backbone)
    del backbone  # other processes load it themselves
    context = {"plan": plan.to_dict(), "place": asdict(matrix.place)}
    wanted: dict[str, Any] = {
        "only": {item.key for item in items},
        "then": None if races is None else races.next_keys,
        "description": "matrix",
    }
    if executor == "ray":
        run_on_ray(matrix.folder, FACTORY, context, jobs, address=address, **wanted)
    else:
        run_here(matrix.folder, FACTORY, context, jobs, **wanted)
    verdicts = [] if races is None else races.verdicts()
    if verdicts:
        plan.save(matrix.folder, made_by, list(map(asdict, verdicts)))
    return verdicts


def _check_trained(matrix: Matrix, train: bool) -> None:
    """Prompts that are not to be trained must be there, and be the ones that were trained here."""
    sources = [source for source in matrix.plan.sources if source.is_trained_here]
    open_keys = matrix.open_keys()
    missing = [source for source in sources if source.training_key in open_keys]
    if missing and not train:
        names = ", ".join(f"{source.name} (seed {source.seed})" for source in missing[:4])
        raise UserError(
            f"{matrix.folder} holds no prompt with these settings for {names}"
            + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
            + ". Add --train to train what is missing, or name a folder of prompts with --prompts."
        )
    trained = [source for source in sources if source.training_key not in open_keys]
    if trained:
        with Grid.open(matrix.folder, create=False) as grid:
            for source in trained:
                _check_unchanged(matrix.folder, source, grid.result(source.training_key) or {})


def _check_unchanged(folder: Path, source: Source, trained: dict[str, Any]) -> None:
    place = folder / source.folder
    try:
        there = read_metadata(place).prompt_hash
    except UserError as error:
        raise UserError(f"The prompt of {source.name} was trained before and is gone: {error}") from None
    if there != trained["prompt_hash"]:
        raise UserError(
            f"The prompt in {place} is not the one that was trained for this matrix ({there}, not "
            f"{trained['prompt_hash']}). Put it back, or choose another --output."
        )
