"""Zero-shot transfer of one pair: a prompt on another task, beside the target's own prompt and the floors."""

from __future__ import annotations

from prompt_hub.backbones.base import Backbone
from prompt_hub.evaluation.evaluate import Evaluation
from prompt_hub.evaluation.pairs import FLOORS, Pair, same_type
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks.splits import Split, drop_overlap
from prompt_hub.tasks.task import Task


def score_pair(
    backbone: Backbone,
    source: SoftPrompt,
    source_task: Task,
    target: Task,
    rows: Split,
    own_prompt: SoftPrompt,
    own: Evaluation,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Pair | None:
    """Score ``source`` on ``target``. None where it was trained on every one of the rows.

    own: the evaluation of ``own_prompt`` on ``rows`` with all floors. Where rows have to be left out, it is
    repeated on those that remain: they can be harder or easier than the others.
    """
    seen = source.train_rows.tolist() if source.train_rows is not None else []
    remaining, removed = drop_overlap(rows, seen)
    if not len(remaining):
        return None
    if removed:
        own = evaluate_stored(
            backbone, own_prompt, target, remaining, batch_size=batch_size, floors=FLOORS, seed=seed
        )
    found = evaluate_stored(backbone, source, target, remaining, batch_size=batch_size, floors=(), seed=seed)
    metric = found.primary_metric
    return Pair(
        source=source_task.name,
        target=target.name,
        same_type=same_type(source_task, target),
        metric=metric,
        n=found.n,
        score=found.score,
        ci95=found.ci95[metric],
        own=own.score,
        own_ci95=own.ci95[metric],
        floors={name: values[metric] for name, values in own.floors.items()},
        removed_overlap=removed,
    )
