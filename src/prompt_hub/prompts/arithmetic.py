"""New prompts from several: weighted sums, and sums of what training changed.

- **sum**: ``w_1 p_1 + w_2 p_2 + ...``; with equal weights that add up to 1 it is the average.
- **task vectors**: ``base + w_1 (p_1 - initial_1) + w_2 (p_2 - initial_2) + ...``. A task vector is what
  training added to where it began (Ilharco et al. 2023, "Editing Models with Task Arithmetic"; for prompts
  Belanec et al. 2024, "Task Prompt Vectors").

Prompts are only added where a row means the same in all of them: same backbone, layout and length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt


def weighted_sum(prompts: Sequence[SoftPrompt], weights: Sequence[float] | None = None) -> SoftPrompt:
    """``[P, H]``: the sum of ``weights[i] * prompts[i]``; the average where no weights are given.

    The result remembers its parents, and has seen the training rows of all of them. Raises ``UserError`` for
    prompts that do not belong together, or another number of weights than prompts.
    """
    _check_alike(prompts)
    used = _weights(prompts, weights, 1 / max(len(prompts), 1))
    values = sum((w * prompt.embeddings for w, prompt in zip(used, prompts, strict=True)), torch.tensor(0.0))
    return _combined("sum", values, prompts, used)


def add_task_vectors(
    prompts: Sequence[SoftPrompt], weights: Sequence[float] | None = None, base: SoftPrompt | None = None
) -> SoftPrompt:
    """``[P, H]``: base + the sum of ``weights[i] * (prompts[i] - its initial prompt)``.

    weights: 1 each where none are given. base: a prompt; None: the initial prompt of the first. Otherwise
    as ``weighted_sum``; a prompt that does not know where its training began is refused.
    """
    everyone = [*prompts, *([base] if base is not None else [])]
    _check_alike(everyone)
    used = _weights(prompts, weights, 1.0)
    vectors = [_task_vector(prompt, number) for number, prompt in enumerate(prompts, 1)]
    start = base.embeddings if base is not None else prompts[0].initial
    assert start is not None
    values = sum((w * vector for w, vector in zip(used, vectors, strict=True)), start)
    return _combined("task vectors", values, everyone, [*used, *([1.0] if base is not None else [])])


def _task_vector(prompt: SoftPrompt, number: int) -> Tensor:
    if prompt.initial is None:
        raise UserError(
            f"Prompt {number} ({prompt.metadata.describe()}) does not know where its training began, so it "
            "has no task vector. Train it again, or add the prompts themselves (without --task-vector)."
        )
    return prompt.embeddings - prompt.initial


def _weights(prompts: Sequence[SoftPrompt], given: Sequence[float] | None, default: float) -> list[float]:
    if given is None:
        return [default] * len(prompts)
    if len(given) != len(prompts):
        raise UserError(
            f"{len(given)} weights for {len(prompts)} prompts. Give one a prompt, such as "
            f"--weights {','.join(['0.5'] * len(prompts))}."
        )
    for weight in given:
        if not math.isfinite(weight):
            raise UserError(f"A weight must be a number, not {weight}.")
    return [float(weight) for weight in given]


def _check_alike(prompts: Sequence[SoftPrompt]) -> None:
    if not prompts:
        raise UserError("There are no prompts to combine. Name at least one.")
    first = prompts[0]
    for number, other in enumerate(prompts[1:], 2):
        for what, mine, theirs in _facts(first, other):
            if mine is not None and theirs is not None and mine != theirs:
                raise UserError(
                    f"Prompts that differ in their {what} cannot be combined: {mine!r} in the first "
                    f"({first.metadata.describe()}), {theirs!r} in number {number} "
                    f"({other.metadata.describe()})."
                )


def _facts(first: SoftPrompt, other: SoftPrompt) -> list[tuple[str, Any, Any]]:
    """(name, value here, value there); None where it is not known."""
    mine, theirs = first.metadata.backbone, other.metadata.backbone
    facts = [(key.replace("_", " "), mine.get(key), theirs.get(key)) for key in ("family", "embedding_hash")]
    if mine.get("embedding_hash") is None or theirs.get("embedding_hash") is None:
        # An imported prompt may know its backbone by name alone.
        facts.append(("backbone", _last_part(first.metadata), _last_part(other.metadata)))
    return [
        *facts,
        ("width", first.hidden, other.hidden),
        ("layout", first.metadata.layout, other.metadata.layout),
        ("length (rows)", first.prompt_len, other.prompt_len),
    ]


def _last_part(metadata: PromptMetadata) -> str | None:
    """roberta-base is FacebookAI/roberta-base."""
    name = metadata.backbone_name
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower() if name else None


def _combined(
    form: str, values: Tensor, prompts: Sequence[SoftPrompt], weights: Sequence[float]
) -> SoftPrompt:
    known = [prompt.metadata for prompt in prompts]
    task = _shared([one.task for one in known])
    metadata = PromptMetadata(
        backbone=max((one.backbone for one in known), key=len),
        layout=next((one.layout for one in known if one.layout), None),
        task=task,
        task_type=_shared([one.task_type for one in known]),
        template=known[0].template if task else None,
        label_words=known[0].label_words if task else [],
        classes=known[0].classes if task else [],
        task_definition=known[0].task_definition if task else None,
        parent={
            "hash": None,
            "relation": "combined",
            "form": form,
            "parents": [
                {"hash": prompt.hash, "task": prompt.metadata.task, "weight": weight}
                for prompt, weight in zip(prompts, weights, strict=True)
            ],
        },
    )
    return SoftPrompt(values, metadata, _seen(prompts))


def _shared(values: list[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None


def _seen(prompts: Sequence[SoftPrompt]) -> Tensor | None:
    """Hashes of all rows that any of them was trained on; None (unknown) if one does not know its own."""
    rows = [prompt.train_rows for prompt in prompts]
    known = [one for one in rows if one is not None]
    return torch.cat(known).unique() if len(known) == len(rows) else None
