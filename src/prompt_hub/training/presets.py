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
from prompt_hub.training.optimizers import ADAMW_HF


@dataclass(frozen=True)
class Preset:
    """init: initialiser spec. rate_factor: learning rate / RMS of the embedding matrix."""

    init: str
    rate_factor: float


@dataclass(frozen=True)
class PaperPreset:
    """init: initialiser spec. rate: of base and small models. rate_of_large: of a width of 1024 and more."""

    init: str
    rate: float
    rate_of_large: float


PRESETS = {
    "masked_lm": Preset("text", 0.3),
    "causal_lm": Preset("text", 0.05),
    "seq2seq_lm": Preset("vocab", 0.05),
}

PAPER_PRESETS = {
    "masked_lm": PaperPreset("random:0.02", 1e-3, 1e-4),
    "seq2seq_lm": PaperPreset("random:1", 5e-3, 1e-3),
}

PAPER_RECIPE = {"optim": ADAMW_HF, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
"""What else the paper's code trained with: its AdamW, a constant rate, no clipping."""

_LARGE = 1024


def init_for(backbone: Backbone, layout: str | None) -> str:
    """The initialiser spec of the family under a layout (None: the family's own)."""
    preset = _paper_preset(backbone, layout)
    return preset.init if preset else PRESETS[backbone.family].init


def learning_rate_for(backbone: Backbone, layout: str | None = None) -> float:
    """The family's AdamW rate at this backbone's embedding scale, to two digits (``paper``: its own rate)."""
    if preset := _paper_preset(backbone, layout):
        return preset.rate if backbone.hidden < _LARGE else preset.rate_of_large
    scale = backbone.embedding_matrix.float().square().mean().sqrt().item()
    return float(f"{PRESETS[backbone.family].rate_factor * scale:.2g}")


def _paper_preset(backbone: Backbone, layout: str | None) -> PaperPreset | None:
    return PAPER_PRESETS.get(backbone.family) if layout == "paper" else None


def instruction_for(task: Task, family: str) -> str:
    """The text that a ``text`` initialisation starts from when none is given."""
    if task.kind == "generation":
        return task.description or f"Answer for the task {task.name}."
    question = (task.description or task.name).rstrip(" .")
    ending = "" if question.endswith("?") else "."
    return f"{question}{ending} Answer {' or '.join(task.label_words_for(family))}."
