"""Scoring a stored prompt: does it fit, which rows has it seen, then the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.encoding.layouts import layout_for, serves
from prompt_hub.evaluation.evaluate import FLOORS, Evaluation, evaluate
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.splits import Split, row_hashes
from prompt_hub.tasks.task import Task


def fitting_encoder(
    backbone: Backbone, prompt: SoftPrompt, task: Task, layout: str | None = None, force: bool = False
) -> tuple[Encoder, list[str]]:
    """The encoder under which ``prompt`` is used on ``task``, and warnings.

    The target's own template and label words are used, the prompt's layout unless another is named.
    Raises ``UserError`` when the prompt belongs to another backbone or layout; ``force`` turns all but a
    wrong width into warnings, and takes the family's layout where the prompt's is for another one.
    """
    prompt.check_fits(backbone.identity, None, force)
    stored = prompt.metadata.layout
    if force and not serves(stored, backbone.family):
        stored = None
    used = layout_for(backbone.family, layout or stored).name
    warnings = prompt.check_fits(backbone.identity, used, force)
    encoder = Encoder(backbone, task, prompt.prompt_len, used)
    return encoder, warnings + encoder.warnings


@dataclass(frozen=True)
class FairRows:
    """Which rows of a split a prompt is scored on.

    rows: ``[n]`` indices, rising. removed: how many are left out because the prompt was trained on their
    text. shared: how many of all it was trained on; None if it does not say.
    """

    rows: np.ndarray
    removed: int
    shared: int | None

    @property
    def warnings(self) -> list[str]:
        if self.shared is None:
            return ["The prompt does not say which rows it was trained on; overlap was not checked."]
        if self.removed:
            return [f"{self.removed} rows were left out because the prompt was trained on their text."]
        if self.shared:
            return [f"{self.shared} of {len(self.rows)} texts were also in the prompt's training data."]
        return []


def fair_rows(prompt: SoftPrompt, task: Task, hashes: np.ndarray) -> FairRows:
    """Rows of a split, given by their ``row_hashes``, that ``prompt`` is scored on.

    On another task than its own, rows whose text it was trained on are left out; on its own task they stay,
    so that its scores are those of the usual split.
    """
    every = np.arange(len(hashes))
    if prompt.train_rows is None:
        return FairRows(every, 0, None)
    seen = prompt.has_seen(hashes)
    shared = int(seen.sum())
    if prompt.metadata.task == task.name:
        return FairRows(every, 0, shared)
    return FairRows(every[~seen], shared, shared)


def evaluate_stored(
    backbone: Backbone,
    prompt: SoftPrompt,
    task: Task,
    split: Split,
    *,
    layout: str | None = None,
    force: bool = False,
    batch_size: int = 32,
    floors: Sequence[str] = FLOORS,
    seed: int = 0,
) -> Evaluation:
    """Score a stored prompt on a labelled split of any task (zero-shot where it is not its own).

    On the rows that ``fair_rows`` allows; what it leaves out, or only reports, is among the warnings.
    """
    encoder, warnings = fitting_encoder(backbone, prompt, task, layout, force)
    fair = fair_rows(prompt, task, row_hashes(split.examples))
    result = evaluate(
        encoder,
        prompt.embeddings,
        split.only(fair.rows),
        batch_size=batch_size,
        floors=floors,
        seed=seed,
        removed_overlap=fair.removed,
    )
    result.warnings = warnings + fair.warnings + result.warnings
    return result
