"""The stored transfer matrix as a tidy table: one row a cell, floors as sources of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_hub.evaluation.answers import Answers, interval, intervals, resampled_scores
from prompt_hub.evaluation.pairs import FLOORS, alike
from prompt_hub.runs.grid import Done, Grid
from prompt_hub.tasks import Task, majority_answer
from prompt_hub.transfer.plan import CELL, FLOOR, NO_PROMPT, RANDOM, SAMPLE, Plan, Source, Target, whole

if TYPE_CHECKING:
    import pandas as pd

MAJORITY = "majority"


def load_table(folder: str | Path, over_seeds: bool = False) -> pd.DataFrame:
    """The matrix in ``folder`` as far as it is computed.

    One row a source, target and seed; with ``over_seeds`` one a source and target, whose score is the mean
    over the seeds and whose interval comes from drawing seeds and rows anew.

    kind: ``prompt`` or ``floor``. source: the prompt's name, or majority, no_prompt, random_prompt; with
    source_task and source_type. target, target_type, same_type. seed (``seeds``: how many). metric, n, score;
    low, high: its 95% interval. overlap_removed: rows left out because the source was trained on them.
    own, own_low, own_high: what the target's own prompt of the same seed (else of all seeds) has on the same
    rows; relative, relative_low, relative_high: score / own, row by row. majority, no_prompt, random_prompt:
    the floors on the same rows. gain, gain_low, gain_high: score - no_prompt, row by row; negative: the whole
    interval is below 0. status: done, partial (a race left it at n rows: score alone, without interval or
    comparison), failed (then error) or open. seconds, prompt_hash.
    """
    return load_tables(folder)[over_seeds]


def load_tables(folder: str | Path, plan: Plan | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``load_table`` without and with ``over_seeds``. plan: of the folder, where it is read already."""
    plan = plan or Plan.load(Path(folder))
    single, means = _Frame(), _Frame()
    with whole(Path(folder)):
        stored = _Stored.of(Path(folder))
        for target in plan.targets:
            cells = _scored(plan, target, stored)
            of_one: dict[str, list[_Cell]] = defaultdict(list)
            for cell in cells:
                of_one[cell.source.name].append(cell)
            floors, mean_floors = _floor_rows(plan, target, stored)
            columns = _columns([_row(target, [cell]) for cell in cells])
            single.add(columns)
            if len(of_one) < len(cells):
                columns = _columns([_row(target, several) for several in of_one.values()])
            means.add(columns)
            single.add(_columns(floors))
            means.add(_columns(mean_floors))
        return single.table(), means.table()


class _Frame:
    """Rows of the table, kept by column: a hundred thousand dictionaries would take a gigabyte."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}

    def add(self, columns: dict[str, list[Any]]) -> None:
        for name, values in columns.items():
            self._columns[name] += values

    def table(self) -> pd.DataFrame:
        import pandas as pd

        table = pd.DataFrame(self._columns)
        types = {"Int64": ("seed", "seeds", "n", "overlap_removed"), "boolean": ("same_type", "negative")}
        return table.astype({name: kind for kind, names in types.items() for name in names})


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name, np.nan) for row in rows] for name in _COLUMNS}


_COLUMNS = (
    "kind", "source", "source_task", "source_type", "target", "target_type", "same_type", "seed", "seeds",
    "metric", "n", "score", "low", "high", "overlap_removed", "own", "own_low", "own_high", "relative",
    "relative_low", "relative_high", *FLOORS, "gain", "gain_low", "gain_high", "negative", "status", "error",
    "seconds", "prompt_hash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Result:
    """What the table takes of a finished evaluation; all of a hundred thousand would take a gigabyte.

    removed_overlap and prompt_hash are those of cells, floors have none.
    """

    answers: dict[str, Any]
    n: int
    removed_overlap: int
    prompt_hash: str | None
    seconds: float

    @classmethod
    def of(cls, done: Done) -> _Result:
        found = done.result
        of_cells = found.get("removed_overlap", 0), found.get("prompt_hash")
        return cls(found["answers"], found["n"], *of_cells, done.seconds)


@dataclass
class _Stored:
    """Results and errors by key; partial: what races know of cells that are not done."""

    done: dict[str, _Result]
    failed: dict[str, str]
    partial: dict[str, Answers]

    @classmethod
    def of(cls, folder: Path) -> _Stored:
        done, samples = {}, defaultdict(list)
        with Grid.open(folder, create=False) as grid:
            for each in grid.each_result(CELL, FLOOR, SAMPLE):
                if each.kind == SAMPLE:
                    samples[each.work["of"]].append(Answers.from_dict(each.result["answers"]))
                else:
                    done[each.key] = _Result.of(each)
            failed = {each.work.get("of", each.key): each.error for each in grid.failures()}
        partial = {key: Answers.joined(parts) for key, parts in samples.items() if key not in done}
        return cls(done, {key: error for key, error in failed.items() if key not in done}, partial)

    def answers(self, key: str) -> Answers | None:
        return Answers.from_dict(self.done[key].answers) if key in self.done else None


@dataclass
class _Cell:
    """A source on a target. values, samples: score, own score and floors on the cell's rows, and the same in
    every bootstrap sample, ``[R]``. ends: 95% intervals of the score, the own score, the share that it is of
    the own, and the gain over no prompt, as far as they are known."""

    source: Source
    done: _Result | None = None
    error: str | None = None
    partial: Answers | None = None
    values: dict[str, float] = field(default_factory=dict)
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)


def _scored(plan: Plan, target: Target, stored: _Stored) -> list[_Cell]:
    cells, by_rows = [], defaultdict(list)
    for source in plan.sources:
        key = plan.cell_key(source, target)
        cell = _Cell(source, stored.done.get(key), stored.failed.get(key), stored.partial.get(key))
        cells.append(cell)
        answers = stored.answers(key)
        if answers is not None:
            by_rows[answers.rows.tobytes()].append((cell, answers))
    beside = _beside(plan, target, stored)
    for group in by_rows.values():
        _compare(target, group, beside)
    return cells


def _beside(plan: Plan, target: Target, stored: _Stored) -> dict[tuple[str, int | None], list[Answers]]:
    """What cells are compared with, by seed: own and random prompts, and the one floor without a prompt.

    Several own prompts of one seed count together, by their mean; of a seed that has none, all of them.
    """
    found: dict[tuple[str, int | None], list[Answers]] = defaultdict(list)
    nothing = stored.answers(plan.no_prompt_key(target))
    owns = plan.own_sources(target)
    for seed in plan.seeds:
        if nothing is not None:
            found[NO_PROMPT, seed].append(nothing)
        for own in [each for each in owns if each.seed == seed] or owns:
            for name, key in (("own", plan.cell_key(own, target)), (RANDOM, plan.random_key(own, target))):
                answers = stored.answers(key)
                if answers is not None:
                    found[name, seed].append(answers)
    return found


def _compare(
    target: Target,
    group: Sequence[tuple[_Cell, Answers]],
    beside: dict[tuple[str, int | None], list[Answers]],
) -> None:
    """Fills in values, samples and intervals of cells that are on the same rows."""
    task, rows = target.task, group[0][1].rows
    answers = [each for _, each in group]
    places: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    for which, others in beside.items():
        for other in others:
            places[which].append(len(answers))
            answers.append(other.on(rows))
    majority = _majority(task, target, answers[0])
    if majority is not None:
        answers.append(majority)
    samples = resampled_scores(task, answers)
    values = np.array([each.score(task) for each in answers])
    by_seed: dict[int | None, list[int]] = defaultdict(list)
    for place, (cell, _) in enumerate(group):
        by_seed[cell.source.seed].append(place)
    for seed, members in by_seed.items():
        found = {name: there for name in ("own", NO_PROMPT, RANDOM) if (there := places.get((name, seed)))}
        other_values = {name: float(values[there].mean()) for name, there in found.items()}
        other_samples = {name: samples[there].mean(0) for name, there in found.items()}
        if majority is not None:
            other_values[MAJORITY], other_samples[MAJORITY] = float(values[-1]), samples[-1]
        ends = _ends(samples[members], other_values, other_samples)
        for number, place in enumerate(members):
            cell = group[place][0]
            cell.values = {"score": float(values[place]), **other_values}
            cell.samples = {"score": samples[place], **other_samples}
            cell.ends = {name: of_all[number] for name, of_all in ends.items()}


def _ends(
    scores: np.ndarray, values: dict[str, float], samples: dict[str, np.ndarray]
) -> dict[str, list[tuple[float, float]]]:
    """Intervals as in ``_Cell`` of cells with scores ``[A, R]`` beside the same others."""
    ends = {"score": intervals(scores)}
    if "own" in values:
        ends["own"] = [interval(samples["own"])] * len(scores)
        if values["own"] > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                ends["relative"] = intervals(scores / samples["own"])
    if NO_PROMPT in values:
        ends["gain"] = intervals(scores - samples[NO_PROMPT])
    return ends


def _majority(task: Task, target: Target, like: Answers) -> Answers | None:
    """The best constant answer on the rows of ``like``."""
    if target.references is None:
        return None
    references = [target.references[row] for row in like.rows]
    if task.kind == "classification":
        references = [int(label) for label in references]
    constant = majority_answer(task, references)
    return Answers.of(task, like.total, like.rows, [constant] * len(references), references)


def _row(target: Target, cells: Sequence[_Cell]) -> dict[str, Any]:
    """A row of the table: one cell, or the mean of the cells of several seeds."""
    source, done = cells[0].source, [cell for cell in cells if cell.done is not None]
    errors = [cell.error for cell in cells if cell.error]
    parts = [cell.partial for cell in cells if cell.partial is not None]
    status = "done" if len(done) == len(cells) else "partial" if parts else "open"
    status = "failed" if errors else status
    results = [cell.done for cell in done if cell.done is not None]
    row: dict[str, Any] = {
        "kind": "prompt",
        "source": source.name,
        "source_task": source.task,
        "source_type": source.type,
        "target": target.name,
        "target_type": target.type,
        "same_type": alike(source.type, target.type),
        "seed": source.seed if len(cells) == 1 else None,
        "seeds": len(done),
        "metric": target.data["metric"],
        "status": status,
        "error": errors[0] if errors else None,
    }
    if status == "partial":
        whole = [cell.values["score"] for cell in done]
        row["score"] = float(np.mean([*whole, *(part.score(target.task) for part in parts)]))
        row["n"] = min(map(len, parts))
    if status != "done":
        return row
    if len(cells) == 1:
        values, ends = cells[0].values, cells[0].ends
    else:
        known = [name for name in ("score", "own", *FLOORS) if all(name in cell.values for cell in cells)]
        values = {name: float(np.mean([cell.values[name] for cell in cells])) for name in known}
        samples = {name: _over_seeds([cell.samples[name] for cell in cells]) for name in known}
        ends = {name: found[0] for name, found in _ends(samples["score"][None], values, samples).items()}
    row |= values
    row["n"] = min(result.n for result in results)
    row["overlap_removed"] = max(result.removed_overlap for result in results)
    row["seconds"] = sum(result.seconds for result in results)
    row["prompt_hash"] = results[0].prompt_hash if len(results) == 1 else None
    row["low"], row["high"] = ends["score"]
    if "own" in values:
        row["own_low"], row["own_high"] = ends["own"]
        if values["own"] > 0:
            row["relative"] = values["score"] / values["own"]
            row["relative_low"], row["relative_high"] = ends["relative"]
    if NO_PROMPT in values:
        row["gain"] = values["score"] - values[NO_PROMPT]
        row["gain_low"], row["gain_high"] = ends["gain"]
        row["negative"] = row["gain_high"] < 0
    return row


def _over_seeds(samples: Sequence[np.ndarray]) -> np.ndarray:
    """``[R]``: means over seeds that are drawn anew in every sample, the same ones in every cell."""
    if len(samples) == 1:
        return samples[0]
    stacked = np.stack(samples)
    drawn = np.random.default_rng(0).integers(0, len(samples), stacked.shape)
    return np.take_along_axis(stacked, drawn, axis=0).mean(0)


@dataclass(frozen=True)
class _Floor:
    """seed: of a random prompt. answers: on all rows of the target; None where they are not there."""

    name: str
    seed: int | None
    answers: Answers | None
    error: str | None = None


def _floor_rows(
    plan: Plan, target: Target, stored: _Stored
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The floors on all rows of the target: random prompts one a seed, and as their mean over the seeds."""
    majority = None
    if target.references is not None:
        if len(target.references) != target.data["n"]:
            raise ValueError(f"{len(target.references)} references of {target.data['n']} rows")
        majority = _majority(target.task, target, Answers(target.data["n"], np.arange(target.data["n"])))
    floors = [] if majority is None else [_Floor(MAJORITY, None, majority)]
    key = plan.no_prompt_key(target)
    floors.append(_Floor(NO_PROMPT, None, stored.answers(key), stored.failed.get(key)))
    own = []
    for source in plan.own_sources(target):
        key = plan.random_key(source, target)
        floors.append(_Floor(RANDOM, source.seed, stored.answers(key), stored.failed.get(key)))
        answers = stored.answers(plan.cell_key(source, target))
        own += [] if answers is None else [answers.score(target.task)]
    there = {id(floor): floor.answers for floor in floors if floor.answers is not None}
    drawn = resampled_scores(target.task, list(there.values())) if there else np.zeros((0, 0))
    samples = dict(zip(there, drawn, strict=True))

    def rows(key: Callable[[_Floor], Any]) -> list[dict[str, Any]]:
        groups: dict[Any, list[_Floor]] = defaultdict(list)
        for floor in floors:
            groups[key(floor)].append(floor)
        return [_floor_row(target, group, samples, own) for group in groups.values()]

    return rows(lambda floor: (floor.name, floor.seed)), rows(lambda floor: floor.name)


def _floor_row(
    target: Target, floors: Sequence[_Floor], samples: dict[int, np.ndarray], own: Sequence[float]
) -> dict[str, Any]:
    answers = [floor.answers for floor in floors if floor.answers is not None]
    seeds = {floor.seed for floor in floors}
    error = next((floor.error for floor in floors if floor.error), None)
    row: dict[str, Any] = {
        "kind": "floor",
        "source": floors[0].name,
        "target": target.name,
        "target_type": target.type,
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "seeds": len(answers),
        "metric": target.data["metric"],
        "error": error,
        "status": "failed" if error else "done" if len(answers) == len(floors) else "open",
    }
    if row["status"] == "done":
        row["n"] = target.data["n"]
        row["score"] = float(np.mean([each.score(target.task) for each in answers]))
        row["low"], row["high"] = interval(_over_seeds([samples[id(floor)] for floor in floors]))
        if own and np.mean(own) > 0:
            row["own"] = float(np.mean(own))
            row["relative"] = row["score"] / row["own"]
    return row
