"""Signs that a prompt has not learned, and what to try next: sentences, none when nothing looks wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from prompt_hub.evaluation.evaluate import Evaluation
from prompt_hub.tasks import Split, Task, majority_score, primary_metric
from prompt_hub.training.presets import PRESETS

FEWEST_ROWS = 10
"""With fewer, none is held out to choose the checkpoint."""

_SMALL_MOVE, _LARGE_MOVE = 0.02, 1000
_FEWEST_HELD_OUT = 5


def relative_movement(initial: Tensor, trained: Tensor) -> float:
    """Mean over rows of ``||trained - initial|| / ||initial||``."""
    moved = (trained - initial).norm(dim=1)
    return (moved / initial.norm(dim=1).clamp(min=1e-12)).mean().item()


def of_rows(task: Task, train: Split) -> list[str]:
    """Rows that teach little, whatever is trained on them."""
    found = []
    if len(train) < FEWEST_ROWS:
        found.append(
            f"Training rows: {len(train)}. With fewer than {FEWEST_ROWS} none is held out to choose the "
            "checkpoint, and the prompt depends much on which rows they are."
        )
    if task.kind == "classification":
        there = {task.classes[label] for label in train.references() if isinstance(label, int)}
        missing = [name for name in task.classes if name not in there]
        if len(there) == 1:
            found.append(f"Every training row has the label {there.pop()!r}: there is nothing to tell apart.")
        elif missing:
            found.append(
                f"No training row has the label {' or '.join(missing)}: the prompt cannot learn when to "
                "answer so."
            )
    return found


def of_movement(initial: Tensor, trained: Tensor, learning_rate: float) -> list[str]:
    """initial, trained: ``[P, H]``."""
    found = []
    moved = relative_movement(initial, trained)
    if moved > _LARGE_MOVE:
        found.append(
            f"The prompt ended {moved:,.0f} times the norm of its rows away from where it began. Try a lower "
            f"learning rate than {learning_rate:g}; without --lr the family's preset is taken."
        )
    if moved < _SMALL_MOVE:
        found.append(
            f"The prompt hardly moved (by {moved:.1%} of its rows' norm). Try a higher learning rate, for "
            f"example --lr {learning_rate * 10:.2g}, or more steps."
        )
    return found


def of_held_out(task: Task, held_out: Split | None, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the rows that chose the checkpoint say, where there are no others. history: the Trainer's log."""
    if held_out is None or len(held_out) < _FEWEST_HELD_OUT:
        return []
    metric, references = primary_metric(task), held_out.references()
    scores = [entry[f"eval_{metric}"] for entry in history if f"eval_{metric}" in entry]
    majority = majority_score(task, references, references)
    if not scores or majority is None or max(scores) > majority[metric] or majority[metric] == 1:
        return []
    return [
        f"On the {len(held_out)} training rows that were held out no checkpoint was better than the majority "
        f"class ({metric} {max(scores):.3f} against {majority[metric]:.3f}). Score it on other rows "
        "(prompt-hub eval, or train --eval): it may have learned nothing."
    ]


def of_scores(evaluation: Evaluation, learning_rate: float, family: str) -> list[str]:
    """What the scores beside their floors say."""
    found = []
    answered = [name for name, count in evaluation.predicted.items() if count]
    if len(evaluation.predicted) > 1 and len(answered) == 1:
        other_start = "vocab" if PRESETS[family].init == "text" else "text"
        found.append(
            f"It predicts one class ({answered[0]}) for every text. Try --lr {learning_rate / 3:.2g} or "
            f"{learning_rate * 3:.2g}, --init {other_start}, more steps, or "
            "label words that are likelier at the place where they are read."
        )
    metric = evaluation.primary_metric
    floors = {
        name: values[metric]
        for name, values in evaluation.floors.items()
        if name != "random_prompt" and metric in values
    }
    low = evaluation.ci95[metric][0]
    names = {"no_prompt": "the backbone without a prompt", "majority": "the majority class"}
    reached = [f"{names[name]} ({floor:.3f})" for name, floor in floors.items() if floor >= low]
    if reached:
        found.append(
            f"With n = {evaluation.n} it cannot be told from {' or '.join(reached)}: {metric} "
            f"{evaluation.score:.3f}, interval from {low:.3f}. Try more steps, another length "
            "of the prompt (--prompt-len; a short one learns faster), another --init, or a --template "
            "closer to natural text; or the backbone is too small for the task."
        )
    return found
