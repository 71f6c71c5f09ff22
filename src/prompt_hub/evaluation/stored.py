"""Scoring a stored prompt: does it fit, which rows has it seen, then the evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.encoding.layouts import layout_for, serves
from prompt_hub.evaluation.evaluate import FLOORS, Evaluation, evaluate
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.splits import Split, drop_overlap
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

    On another task than its own, rows whose text the prompt was trained on are removed and counted; on its
    own task they stay and are only reported, so that its scores are those of the usual split.
    """
    encoder, warnings = fitting_encoder(backbone, prompt, task, layout, force)
    seen = prompt.train_rows.numpy() if prompt.train_rows is not None else None
    removed = 0
    if seen is None:
        warnings.append("The prompt does not say which rows it was trained on; overlap was not checked.")
    else:
        remaining, shared = drop_overlap(split, seen)
        if prompt.metadata.task == task.name:
            if shared:
                warnings.append(f"{shared} of {len(split)} texts were also in the prompt's training data.")
        else:
            split, removed = remaining, shared
    result = evaluate(
        encoder,
        prompt.embeddings,
        split,
        batch_size=batch_size,
        floors=floors,
        seed=seed,
        removed_overlap=removed,
    )
    if removed:
        warnings.append(f"{removed} rows were left out because the prompt was trained on their text.")
    result.warnings = warnings + result.warnings
    return result
