"""What an indicator is: a number for (source, target) that predicts transfer before anything is trained.

Shape letters: ``P`` prompt length, ``H`` hidden width, ``T`` targets, ``S`` sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from prompt_hub.errors import UserError
from prompt_hub.prompts.fit import misfits

if TYPE_CHECKING:
    from prompt_hub.backbones.base import Backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Split, Task

LEAST_ROWS = 10
"""Fewer labelled rows of a target say nothing about it."""


class Needs(Flag):
    """What an indicator has to be given besides the source prompts."""

    TARGET_PROMPT = auto()
    BACKBONE = auto()
    TARGET_ROWS = auto()


@dataclass(frozen=True)
class Target:
    """What is known of a target; an indicator's ``needs`` say which parts must be there.

    rows: labelled rows of ``task``, of which an indicator may look at texts and labels. seen_by: hashes of
    prompts that were trained on these rows; what runs a prompt on the rows leaves those out (NaN). missing:
    why there are no rows.
    """

    name: str
    prompt: SoftPrompt | None = None
    task: Task | None = None
    rows: Split | None = None
    seen_by: frozenset[str] = frozenset()
    missing: str | None = None


@dataclass(frozen=True)
class Context:
    """What is the same for all pairs.

    all_rows: also the prompt rows that a layout never reads are compared, as the paper's own code does;
    otherwise ``live_rows`` leaves them out. layout: under which the backbone runs; None: each prompt's own.
    """

    backbone: Backbone | None = None
    layout: str | None = None
    all_rows: bool = False
    batch_size: int = 32


class Compute(Protocol):
    def __call__(
        self, sources: Sequence[SoftPrompt], targets: Sequence[Target], context: Context
    ) -> np.ndarray:
        """``[T, S]`` float64, NaN where a pair cannot be compared."""
        ...


@dataclass(frozen=True)
class Indicator:
    """name: in commands. title: in tables. formula: one line for people.

    needs: what ``compute`` is guaranteed to get. higher_is_similar: whether a larger value means that more
    transfer is expected (a distance says False). reads_dead_rows: whether rows that a layout never reads can
    change the value, so that ``Context.all_rows`` matters; what runs the backbone is not affected.
    same_length: whether both prompts must have as many rows. kinds: of tasks that it can be had for.
    """

    name: str
    title: str
    formula: str
    compute: Compute
    needs: Needs = Needs.TARGET_PROMPT
    higher_is_similar: bool = True
    reads_dead_rows: bool = False
    same_length: bool = False
    kinds: tuple[str, ...] = ("classification", "regression", "generation")

    def matrix(
        self,
        sources: Mapping[str, SoftPrompt],
        targets: Sequence[Target],
        context: Context | None = None,
    ) -> pd.DataFrame:
        """Values by target (index) and source (columns). ``UserError`` names what is needed and not there."""
        context = context or Context()
        self._check(sources, targets, context)
        values = self.compute(list(sources.values()), targets, context)
        return pd.DataFrame(
            np.asarray(values, np.float64),
            index=pd.Index([target.name for target in targets], name="target"),
            columns=pd.Index(list(sources), name="source"),
        )

    def predicted(self, values: pd.DataFrame) -> pd.DataFrame:
        """The values turned so that larger means more transfer expected."""
        return values if self.higher_is_similar else -values

    def problem(self, target: Target) -> str | None:
        """Why the indicator cannot be had for ``target``, if so: what is missing, and how to get it."""
        if Needs.TARGET_PROMPT in self.needs and target.prompt is None:
            return (
                f"Indicator {self.name!r} compares prompts and needs one of the target {target.name!r}. "
                "Train one, a few steps are enough to try, or rank by score."
            )
        if Needs.TARGET_ROWS not in self.needs:
            return None
        if target.task is None or target.rows is None:
            why = f": {target.missing}" if target.missing else "."
            return f"Indicator {self.name!r} needs labelled rows of the target {target.name!r}{why}"
        kind = target.task.kind
        if kind not in self.kinds:
            return (
                f"Indicator {self.name!r} is for {' and '.join(self.kinds)} tasks; {target.name!r} is a "
                f"{kind} task. Take an indicator that compares prompts, or score."
            )
        return self._problem_of(target.name, target.rows, kind)

    def _problem_of(self, name: str, rows: Split, kind: str) -> str | None:
        if len(rows) < LEAST_ROWS:
            return (
                f"Indicator {self.name!r} needs at least {LEAST_ROWS} labelled rows of {name!r}; there are "
                f"{len(rows)}. Give more."
            )
        found = Counter(rows.labels()) if kind == "classification" else {}
        if None in found or len(found) == 1:
            what = "rows without a label" if None in found else "one class only"
            return f"The {len(rows)} rows of {name!r} hold {what}. Indicator {self.name!r} needs two classes."
        return None

    def _check(self, sources: Mapping[str, SoftPrompt], targets: Sequence[Target], context: Context) -> None:
        if Needs.BACKBONE in self.needs:
            if context.backbone is None:
                raise UserError(f"Indicator {self.name!r} runs the backbone. Name one.")
            references = {each.name: each.prompt for each in targets if each.prompt is not None}
            for name, prompt in {**references, **sources}.items():
                self._check_backbone(name, prompt, context)
        for target in targets:
            problem = self.problem(target)
            if problem:
                raise UserError(problem)

    def _check_backbone(self, name: str, prompt: SoftPrompt, context: Context) -> None:
        assert context.backbone is not None
        identity = context.backbone.identity
        problems, _ = misfits(prompt.metadata, prompt.hidden, identity, context.layout)
        if problems:
            raise UserError(
                f"Prompt {name!r} cannot run on {identity.name!r}: {'; '.join(problems)}. Indicator "
                f"{self.name!r} compares prompts of one backbone: leave this one out, or name its backbone."
            )


def live_rows(prompt: SoftPrompt, all_rows: bool = False) -> np.ndarray:
    """The prompt's live rows (``SoftPrompt.live_rows``) or all of them, ``[P - dead, H]`` float64."""
    rows = prompt.embeddings if all_rows else prompt.live_rows
    return rows.numpy().astype(np.float64)
