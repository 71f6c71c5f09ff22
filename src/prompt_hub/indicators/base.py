"""What an indicator is: a number for (source, target) that predicts transfer before anything is trained.

Shape letters: ``P`` prompt length, ``H`` hidden width, ``T`` targets, ``S`` sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.backbones.base import Backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Split, Task


class Needs(Flag):
    """What an indicator has to be given besides the source prompts."""

    TARGET_PROMPT = auto()
    BACKBONE = auto()
    TARGET_ROWS = auto()


@dataclass(frozen=True)
class Target:
    """What is known of a target; an indicator's ``needs`` say which parts must be there.

    rows: labelled rows of ``task``, of which an indicator may look at texts and labels.
    """

    name: str
    prompt: SoftPrompt | None = None
    task: Task | None = None
    rows: Split | None = None


@dataclass(frozen=True)
class Context:
    """What is the same for all pairs.

    all_rows: also the prompt rows that a layout never reads are compared, as the paper's own code does;
    otherwise ``live_rows`` leaves them out.
    """

    backbone: Backbone | None = None
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
    same_length: whether both prompts must have as many rows.
    """

    name: str
    title: str
    formula: str
    compute: Compute
    needs: Needs = Needs.TARGET_PROMPT
    higher_is_similar: bool = True
    reads_dead_rows: bool = False
    same_length: bool = False

    def matrix(
        self,
        sources: Mapping[str, SoftPrompt],
        targets: Sequence[Target],
        context: Context | None = None,
    ) -> pd.DataFrame:
        """Values by target (index) and source (columns). ``UserError`` names what is needed and not there."""
        context = context or Context()
        self._check(targets, context)
        values = self.compute(list(sources.values()), targets, context)
        return pd.DataFrame(
            np.asarray(values, np.float64),
            index=pd.Index([target.name for target in targets], name="target"),
            columns=pd.Index(list(sources), name="source"),
        )

    def predicted(self, values: pd.DataFrame) -> pd.DataFrame:
        """The values turned so that larger means more transfer expected."""
        return values if self.higher_is_similar else -values

    def _check(self, targets: Sequence[Target], context: Context) -> None:
        if Needs.BACKBONE in self.needs and context.backbone is None:
            raise UserError(f"Indicator {self.name!r} runs the backbone. Name one.")
        for target in targets:
            if Needs.TARGET_PROMPT in self.needs and target.prompt is None:
                raise UserError(
                    f"Indicator {self.name!r} compares prompts and needs one of the target {target.name!r}. "
                    "Train one, a few steps are enough to try, or rank by score."
                )
            if Needs.TARGET_ROWS in self.needs and (target.rows is None or target.task is None):
                raise UserError(f"Indicator {self.name!r} needs labelled rows of the target {target.name!r}.")


def live_rows(prompt: SoftPrompt, all_rows: bool = False) -> np.ndarray:
    """The prompt's live rows (``SoftPrompt.live_rows``) or all of them, ``[P - dead, H]`` float64."""
    rows = prompt.embeddings if all_rows else prompt.live_rows
    return rows.numpy().astype(np.float64)
