"""What the races of a matrix found, as it is stored and read: the best source of every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_hub.transfer.plan import read_plan, whole
from prompt_hub.transfer.race import BUDGET, CLOSE, ROWS, SETTLED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RaceVerdict:
    """The race of one target among the prompts of other tasks; the target's own prompt takes no part.

    best: the source that did best; left: those not settled to be worse, best first. With the stated
    ``confidence``, for all targets together, the truly best on these rows is among them. reason: as in
    ``race.Verdict``. metric: what was compared, a mean over rows; instead_of: the task's own, where that is
    none. score: of the best, on the ``rows`` that it was scored on, of ``all_rows`` that none of the sources
    was trained on. examples: rows scored, over all prompts; full: what all prompts on all these rows would
    have taken. failed: errors of sources that took no part. problem: why there was no race, if so.
    """

    target: str
    metric: str
    instead_of: str | None = None
    best: str | None = None
    left: tuple[str, ...] = ()
    reason: str | None = None
    confidence: float = 0.95
    tolerance: float = 0.0
    score: float | None = None
    rows: int = 0
    all_rows: int = 0
    examples: int = 0
    full: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    problem: str | None = None

    @property
    def in_words(self) -> str:
        """Such as ``sst2``, or ``not settled: sst2 or imdb``."""
        others = ", ".join(self.left[1:])
        if self.best is None:
            return "none"
        if self.reason == SETTLED:
            return self.best
        if self.reason == CLOSE:
            return f"{self.best} ({others} at most {100 * self.tolerance:g} points better)"
        if self.reason == ROWS:
            return f"{self.best} ({others} as good)"
        return f"not settled: {' or '.join(self.left)}"


def load_verdicts(folder: str | Path) -> list[RaceVerdict]:
    """Of the last run in ``folder``; none where it was not a race, or was interrupted.

    Raises ``UserError`` where there is no matrix.
    """
    with whole(Path(folder)):
        stored = read_plan(Path(folder)).get("verdicts", [])
        return [RaceVerdict(**{**each, "left": tuple(each["left"])}) for each in stored]


def race_table(folder: str | Path) -> pd.DataFrame:
    """``load_verdicts`` as a table, one row a target, with the fields of ``RaceVerdict``."""
    import pandas as pd

    names = list(RaceVerdict.__dataclass_fields__)
    return pd.DataFrame([asdict(each) for each in load_verdicts(folder)], columns=names)


def verdict_rows(verdicts: Sequence[RaceVerdict]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table for people."""
    head = ["target", "best source", "confidence", "score", "rows", "examples", "times fewer"]
    rows = [
        [
            each.target,
            each.in_words,
            f"{100 * each.confidence:g}%" if each.reason in (SETTLED, CLOSE, ROWS) else "",
            "" if each.score is None else f"{each.score:.3f}",
            f"{each.rows} of {each.all_rows}",
            f"{each.examples:,} of {each.full:,}",
            f"{each.full / each.examples:.1f}" if each.examples else "",
        ]
        for each in verdicts
    ]
    return head, rows


def verdict_notes(verdicts: Sequence[RaceVerdict]) -> list[str]:
    """What has to be known beside that table."""
    if not verdicts:
        return []
    examples, full = sum(each.examples for each in verdicts), sum(each.full for each in verdicts)
    fewer = f" ({full / examples:.1f} times fewer)" if examples else ""
    lines = [
        f"{examples:,} of the {full:,} examples that all prompts of other tasks on all these rows would have "
        f"taken{fewer}. Own prompts and floors take no part in a race.",
        f"With {100 * verdicts[0].confidence:g}% confidence, for all targets together: on these rows the "
        "best source of a target is among those named.",
    ]
    if any(each.reason == BUDGET for each in verdicts):
        lines.append("Not settled: a larger --budget goes on from here.")
    for each in verdicts:
        if each.instead_of:
            lines.append(
                f"{each.target} was raced on {each.metric}: {each.instead_of}, its own metric, is no mean "
                "over rows. The best by it may be another."
            )
        if each.problem:
            lines.append(f"{each.target}: {each.problem}")
        lines += [f"{name} took no part on {each.target}: {error}" for name, error in each.failed.items()]
    return lines
