"""The races of a matrix: which prompt of another task is best on each target, on growing samples of its rows.

``race.py`` is the statistics. Here a race's rows are drawn, the answers it asks for become pieces of work of
the grid, and whatever the grid knows already, from samples or whole cells, is not asked for again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from prompt_hub.errors import UserError
from prompt_hub.evaluation.answers import Answers
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.grid import Grid, Item
from prompt_hub.tasks import Split, is_mean_over_examples, load_split, row_hashes
from prompt_hub.transfer.plan import CELL, SAMPLE, Plan, Source, Target
from prompt_hub.transfer.race import Race
from prompt_hub.transfer.sources import SAMPLE_SEED
from prompt_hub.transfer.verdicts import RaceVerdict
from prompt_hub.transfer.worker import Place

ORDER_SEED = 0
"""Draws the order of a target's rows, before any of them is scored."""


@dataclass(frozen=True)
class Racing:
    """How races are run.

    budget: at most this share of the examples of the full matrix, target by target. confidence: with which no
    best source is lost, over all targets. tolerance: a difference in score that does not matter. Raises
    ``UserError`` for values outside their range.
    """

    budget: float = 1.0
    confidence: float = 0.95
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 1:
            raise UserError(
                f"--budget {self.budget:g} is no share of the full matrix's examples. Allowed are values "
                "above 0 up to 1, such as 0.33."
            )
        if not 0 < self.confidence < 1:
            raise UserError(
                f"--confidence {self.confidence:g} must lie between 0 and 1, both excluded, such as 0.95."
            )
        if not 0 <= self.tolerance < 1:
            raise UserError(
                f"--tolerance {self.tolerance:g} must be at least 0 and below 1, such as 0.01 for one point."
            )


def check_races(plan: Plan, racing: Racing) -> None:
    """Raises ``UserError`` for targets on which no race can be run; before anything is trained."""
    for target in plan.targets:
        sources, rows = plan.foreign_sources(target), target.data["n"]
        if target.task.kind == "regression":
            raise UserError(
                f"{target.name} is scored by {target.data['metric']}, which is no mean over rows: its "
                "sources cannot be raced. Leave it out of --tasks, or leave out --budget."
            )
        if len(sources) < 2:
            raise UserError(
                f"On {target.name} there {'is 1 source' if sources else 'are 0 sources'} besides prompts of "
                "its own, and a race needs two. Name more tasks or prompts, or leave out --budget."
            )
        if racing.budget * rows < 1:
            raise UserError(
                f"--budget {racing.budget:g} of the {rows} rows of {target.name} is less than one row for "
                f"each source. Allowed are {1 / rows:.2g} to 1."
            )


class Races:
    """The races of all targets of a plan, beside each other. Trainings must have ended."""

    def __init__(self, plan: Plan, place: Place, racing: Racing) -> None:
        self._plan, self._place, self._racing = plan, place, racing
        self._folder = Path(place.folder)
        self._known: dict[str, Answers] = {}  # by key of the cell
        self._items: dict[str, Item] = {}  # that were asked for last
        self._races: list[_Race] | None = None

    def next_keys(self) -> set[str]:
        """Adds to the grid what the races ask for next, given what is in it; none when they are over."""
        with Grid.open(self._folder) as grid:
            if self._races is None:
                self._known = known_answers(grid)
                self._races = self._begin({failure.key: failure.error for failure in grid.failures()})
            else:
                self._take(grid)
            asked = [item for race in self._races for item in race.ask(self._known)]
            self._items = {item.key: item for item in asked}
            grid.add(self._items.values())
        return set(self._items)

    def verdicts(self) -> list[RaceVerdict]:
        return [race.verdict() for race in self._races or ()]

    def _begin(self, failed: Mapping[str, str]) -> list[_Race]:
        prompts = _TrainRows(self._folder)
        races = []
        for target in self._plan.targets:
            sources = self._plan.foreign_sources(target)
            race = _Race(self._plan, target, sources, self._racing)
            races.append(race)
            if target.problem is not None:
                race.problem = f"no race: {target.problem}"
                continue
            for name, several in sources.items():
                for source in several:
                    error = failed.get(source.training_key) or prompts.problem(source)
                    if error:
                        race.drop(name, error)
            rows = load_split(
                target.task, self._plan.split, self._place.data_dir, self._plan.limit, SAMPLE_SEED
            )
            if rows.fingerprint != target.data["fingerprint"]:
                race.problem = (
                    "no race: its rows have changed since the matrix was planned; run the command again"
                )
                continue
            race.start(prompts.unseen(rows, [each for several in race.sources.values() for each in several]))
        return races

    def _take(self, grid: Grid) -> None:
        """What came of the items that were asked for."""
        failed = {failure.key: failure.error for failure in grid.failures()}
        for key, item in self._items.items():
            result = grid.result(key)
            if result is not None:
                parts = [self._known.get(item.work["of"]), Answers.from_dict(result["answers"])]
                self._known[item.work["of"]] = Answers.joined([part for part in parts if part is not None])
        for race in self._races or ():
            for key in race.asked & failed.keys():
                race.drop(self._items[key].work["source"], failed[key])


def known_answers(grid: Grid) -> dict[str, Answers]:
    """By the key of a cell: what is known of it, all or some rows."""
    parts: dict[str, list[Answers]] = defaultdict(list)
    for done in [*grid.results(CELL), *grid.results(SAMPLE)]:
        key = done.work["of"] if done.kind == SAMPLE else done.key
        parts[key].append(Answers.from_dict(done.result["answers"]))
    return {key: Answers.joined(several) for key, several in parts.items()}


@dataclass
class _TrainRows:
    """Training rows of prompts, read once."""

    folder: Path
    hashes: dict[str, np.ndarray | None] = field(default_factory=dict)

    def problem(self, source: Source) -> str:
        """Why the prompt cannot be read, or nothing."""
        try:
            self._of(source)
        except UserError as error:
            return str(error)
        return ""

    def unseen(self, split: Split, sources: Sequence[Source]) -> np.ndarray:
        """``[N]`` indices of rows that none of the sources is known to be trained on, in a random order."""
        seen = np.zeros(len(split), bool)
        rows = row_hashes(split.examples)
        for source in sources:
            known = self._of(source)
            if known is not None:
                seen |= np.isin(rows, known)
        order = np.random.default_rng(ORDER_SEED).permutation(len(split))
        return order[~seen[order]]

    def _of(self, source: Source) -> np.ndarray | None:
        if source.folder not in self.hashes:
            rows = SoftPrompt.from_pretrained(self.folder / source.folder).train_rows
            self.hashes[source.folder] = None if rows is None else rows.numpy()
        return self.hashes[source.folder]


class _Race:
    """The race on one target. A source is scored by the mean over its seeds, row by row.

    A source that cannot be scored leaves, and the race is run anew without it: its course depends on the
    answers alone, and those that are known are not asked for again.
    """

    def __init__(self, plan: Plan, target: Target, sources: dict[str, list[Source]], racing: Racing) -> None:
        self.target, self.sources = target, dict(sources)
        self.problem: str | None = None
        self.asked: set[str] = set()
        self._plan, self._racing = plan, racing
        self._failed: dict[str, str] = {}
        self._order: np.ndarray | None = None
        self._race: Race | None = None
        self._examples: Counter[str] = Counter()

    def start(self, order: np.ndarray) -> None:
        """order: ``[N]`` rows of the target in the order in which they are scored."""
        self._order = order
        self._race, self._examples = None, Counter()
        if not len(order):
            self.problem = "no race: every row is a training row of one of the sources"
        elif len(self.sources) < 2:
            self.problem = f"no race: only {len(self.sources)} of the sources could be scored"
        else:
            most = int(self._racing.budget * len(self.sources) * len(order))
            self._race = Race(
                list(self.sources),
                len(order),
                self._racing.confidence,
                races=len(self._plan.targets),
                epsilon=self._racing.tolerance,
                budget=max(most, len(self.sources)),
            )

    def drop(self, name: str, error: str) -> None:
        if self.sources.pop(name, None) is not None:
            self._failed[name] = error
            if self._order is not None:
                self.start(self._order)

    def ask(self, known: Mapping[str, Answers]) -> list[Item]:
        """Goes on as far as the known answers allow; what is missing then. Empty when the race is over."""
        missing: list[Item] = []
        while self._race is not None and not missing and (asked := self._race.next()):
            assert self._order is not None
            for name, part in asked:
                rows = self._order[part]
                absent = self._absent(name, rows, known)
                if not absent:
                    self._race.tell(name, self._scores(name, rows, known))
                    self._examples[name] += len(rows)
                missing += absent
        self.asked = {item.key for item in missing}
        return missing

    def verdict(self) -> RaceVerdict:
        """Of a race that is over."""
        target, racing = self.target, self._racing
        primary = target.data["metric"]
        is_mean = is_mean_over_examples(primary)
        found = RaceVerdict(
            target=target.name,
            metric=primary if is_mean else "accuracy",
            instead_of=None if is_mean else primary,
            confidence=racing.confidence,
            tolerance=racing.tolerance,
            failed=self._failed,
            problem=self.problem,
        )
        ended = None if self._race is None else self._race.verdict
        if ended is None or self._order is None:
            return found
        seeds = {name: len(several) for name, several in self.sources.items()}
        return replace(
            found,
            best=ended.best,
            left=ended.left,
            reason=ended.reason,
            score=ended.means[ended.best],
            rows=ended.rows,
            all_rows=len(self._order),
            examples=sum(seeds[name] * count for name, count in self._examples.items()),
            full=len(self._order) * sum(seeds.values()),
        )

    def _absent(self, name: str, rows: np.ndarray, known: Mapping[str, Answers]) -> list[Item]:
        """What is still to be scored of some rows of a source."""
        items = []
        for source in self.sources[name]:
            answers = known.get(self._plan.cell_key(source, self.target))
            absent = rows if answers is None else np.setdiff1d(rows, answers.rows)
            if len(absent):
                items.append(self._plan.sample_item(source, self.target, np.sort(absent).tolist()))
        return items

    def _scores(self, name: str, rows: np.ndarray, known: Mapping[str, Answers]) -> np.ndarray:
        """``[n]``: of each row, the mean over the seeds."""
        by_seed = []
        for source in self.sources[name]:
            answers = known[self._plan.cell_key(source, self.target)]
            by_seed.append(answers.by_row()[np.searchsorted(answers.rows, rows)])
        return np.mean(by_seed, axis=0)
