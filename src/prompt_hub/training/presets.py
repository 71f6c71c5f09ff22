"""Settings that make prompt tuning work, by family.

AdamW moves every coordinate by about the learning rate a step, so the rate has to fit the size of the
embeddings: 5e-3 is large for a model whose embeddings have a root mean square of 0.02 and nothing for one
of 5. The preset is therefore a factor times that root mean square.

A masked LM's prompt starts from the task in words: from sampled vocabulary, some seeds never leave the
majority class on the embedded backbones.
"""

from __future__ import annotations

from dataclasses import dataclass

from prompt_hub.backbones.base import Backbone
from prompt_hub.tasks.task import Task


@dataclass(frozen=True)
class Preset:
    """init: initialiser spec. rate_factor: learning rate / RMS of the embedding matrix."""

    init: str
    rate_factor: float


PRESETS = {
    "masked_lm": Preset("text", 0.3),
    "causal_lm": Preset("text", 0.05),
    "seq2seq_lm": Preset("vocab", 0.05),
}


def learning_rate_for(backbone: Backbone) -> float:
    """The family's AdamW rate at this backbone's embedding scale, to two digits."""
    scale = backbone.embedding_matrix.float().square().mean().sqrt().item()
    return float(f"{PRESETS[backbone.family].rate_factor * scale:.2g}")


def instruction_for(task: Task, family: str) -> str:
    """The text that a ``text`` initialisation starts from when none is given."""
    if task.kind == "generation":
        return task.description or f"Answer for the task {task.name}."
    question = (task.description or task.name).rstrip(" .")
    ending = "" if question.endswith("?") else "."
    return f"{question}{ending} Answer {' or '.join(task.label_words_for(family))}."
