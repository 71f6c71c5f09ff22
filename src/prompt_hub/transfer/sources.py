"""The sources of a matrix: prompts of a folder, or prompts that are to be trained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompt_hub.backbones import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.encoding.layouts import Layout
from prompt_hub.errors import UserError
from prompt_hub.prompts.fit import check_fits
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.store import find_prompts
from prompt_hub.tasks import Task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import run_settings, with_presets
from prompt_hub.transfer.plan import Source, key_of, model_identity

SAMPLE_SEED = 0
"""Draws the rows where a limit is given: the same for every seed of a training, so that seeds compare."""

_WITHOUT_INFLUENCE = (
    "output_dir",
    "disable_tqdm",
    "use_cpu",
    "report_to",
    "per_device_eval_batch_size",
    "gradient_checkpointing",
    "torch_compile",
)


@dataclass(frozen=True)
class Training:
    """How prompts are trained: one a task and seed.

    values: arguments of ``PromptTrainingArguments``. limit: at most so many rows. data_dir: of the rows.
    """

    seeds: Sequence[int] = (42,)
    values: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    data_dir: Path | None = None


def stored_sources(
    folder: Path, backbone: Backbone, layout: Layout
) -> tuple[list[Source], list[tuple[str, str]]]:
    """The prompts below ``folder`` that fit, and path and reason of those that do not."""
    fitting: list[tuple[Path, PromptMetadata]] = []
    left_out = []
    for entry in find_prompts(folder):
        known = entry.metadata
        if known is None:
            left_out.append((str(entry.path), entry.error or ""))
            continue
        try:
            check_fits(known, known.hidden or 0, backbone.identity, layout.name, force=False)
        except UserError as error:
            left_out.append((str(entry.path), str(error)))
        else:
            fitting.append((entry.path, known))
    shared = Counter((known.task, known.seed) for _, known in fitting)
    sources = [
        Source(
            # Several prompts of one task and seed are told apart by their folders.
            name=known.task if known.task and shared[known.task, known.seed] == 1 else _within(path, folder),
            task=known.task,
            type=known.task_type or "custom",
            seed=known.seed,
            prompt_len=known.prompt_len,
            folder=str(path.resolve()),
            identity={"prompt_hash": known.prompt_hash},
        )
        for path, known in fitting
    ]
    return sources, left_out


def trained_sources(
    backbone: Backbone, tasks: Sequence[Task], layout: Layout, training: Training
) -> tuple[list[Source], list[tuple[str, str]]]:
    """A prompt to be trained for every task and seed, and name and reason of tasks for which none can be."""
    if not training.seeds:
        raise UserError("No seeds are named. Give some, such as --seeds 1,2,3.")
    settled = {
        seed: with_presets(training_arguments(training.values, "", seed, layout.name), backbone)
        for seed in dict.fromkeys(training.seeds)
    }
    prompt_len = next(iter(settled.values())).prompt_len
    assert prompt_len is not None
    rows = {
        task.name: load_split(task, "train", training.data_dir, training.limit, SAMPLE_SEED) for task in tasks
    }
    encoders: dict[str, Encoder] = {}
    left_out = []
    for task in tasks:
        try:
            encoders[task.name] = Encoder(backbone, task, prompt_len, layout)
        except UserError as error:
            left_out.append((task.name, f"no prompt can be trained for it: {error}"))
    sources = []
    for seed, args in settled.items():
        for name, encoder in encoders.items():
            identity = {
                **{key: value for key, value in training.values.items() if key not in _WITHOUT_INFLUENCE},
                **run_settings(args, encoder, rows[name]),
            }
            identity["backbone"] = model_identity(identity["backbone"])
            # As it will be read back from the plan's file.
            identity = json.loads(json.dumps(identity, default=str))
            place = f"{name.replace('/', '--')}/seed-{seed}-{key_of('', identity)[:8]}"
            sources.append(
                Source(
                    name=name,
                    task=name,
                    type=encoder.task.type,
                    seed=seed,
                    prompt_len=prompt_len,
                    folder=f"prompts/{place}",
                    identity=identity,
                    is_trained_here=True,
                    train_rows=len(rows[name]),
                )
            )
    return sources, left_out


def training_arguments(
    values: Mapping[str, Any], folder: str, seed: int, layout: str
) -> PromptTrainingArguments:
    """Raises ``UserError`` for arguments that there are not, or that contradict each other."""
    try:
        return PromptTrainingArguments(
            **{"disable_tqdm": True, **values, "output_dir": folder, "seed": seed, "layout": layout}
        )
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"These training options do not work: {error}") from None


def _within(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return path.resolve().name if name == "." else name
