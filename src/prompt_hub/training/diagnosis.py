"""Signs that a prompt has not learned, and what to try next."""

from __future__ import annotations

from torch import Tensor

from prompt_hub.evaluation.evaluate import Evaluation
from prompt_hub.training.presets import PRESETS

_SMALL_MOVE = 0.02


def relative_movement(initial: Tensor, trained: Tensor) -> float:
    """Mean over rows of ``||trained - initial|| / ||initial||``."""
    moved = (trained - initial).norm(dim=1)
    return (moved / initial.norm(dim=1).clamp(min=1e-12)).mean().item()


def diagnose(
    evaluation: Evaluation, initial: Tensor, trained: Tensor, learning_rate: float, family: str
) -> list[str]:
    """Sentences, empty when nothing looks wrong. initial, trained: ``[P, H]``."""
    found = []
    moved = relative_movement(initial, trained)
    if moved < _SMALL_MOVE:
        found.append(
            f"The prompt hardly moved (by {moved:.1%} of its rows' norm). Try a higher learning rate, for "
            f"example --lr {learning_rate * 10:.2g}, or more steps."
        )
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
            f"{evaluation.score:.3f}, interval from {low:.3f}. Try more steps, a longer prompt "
            "(--prompt-len), another --init, or a --template closer to natural text; or the backbone is too "
            "small for the task."
        )
    return found
