"""The prompts of several tasks on one backbone: found in a folder, or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.errors import UserError
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Split, Task
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt


def prompts_for(
    backbone: Backbone,
    tasks: Sequence[Task],
    rows: Mapping[str, Split],
    args: PromptTrainingArguments,
    folder: Path,
    stored: Path | None = None,
) -> dict[str, SoftPrompt]:
    """A prompt of ``backbone`` for every task, by the task's name.

    Those below ``stored`` that fit are taken; of several for one task, that with the seed of ``args``. What
    is not there is trained on ``rows`` and kept in ``folder``, where a later call finds it. Raises
    ``UserError`` where it is not clear which of several to take.
    """
    layout = layout_for(backbone.family, args.layout).name
    found = _fitting(stored, backbone, layout) if stored is not None else []
    prompts = {}
    for task in tasks:
        candidates = {place: one for place, one in found if one.metadata.task == task.name}
        if len(candidates) > 1:
            candidates = {
                place: one for place, one in candidates.items() if one.metadata.seed == args.seed
            } or candidates
        if len(candidates) > 1:
            raise UserError(
                f"{stored} holds several prompts of {backbone.name} for task {task.name!r}: "
                f"{', '.join(sorted(candidates))}. Choose one by its --seed, or name another folder."
            )
        if candidates:
            prompts[task.name] = next(iter(candidates.values()))
        else:
            place = folder / task.name.replace("/", "--")
            trained = train_prompt(backbone, task, rows[task.name], args, place, resume=True)
            prompts[task.name] = trained.prompt
    return prompts


def _fitting(stored: Path, backbone: Backbone, layout: str) -> list[tuple[str, SoftPrompt]]:
    fitting = []
    for name, prompt in load_prompts(stored).prompts.items():
        try:
            prompt.check_fits(backbone.identity, layout)
        except UserError:
            continue
        fitting.append((name, prompt))
    return fitting


def check_lengths(prompts: Mapping[str, SoftPrompt], side: str) -> int:
    """The rows that all have. Raises ``UserError`` naming the tasks where they differ."""
    lengths = {name: prompt.prompt_len for name, prompt in prompts.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(
            f"The {side} prompts differ in their rows ({told}); a projector takes prompts of one length. "
            "Train them with the same --prompt-len."
        )
    return next(iter(lengths.values()))
