"""Training that starts from the best of several stored prompts: initialiser ``auto:FOLDER``.

The prompts are ranked by what they score, without training, on rows of the target's training data.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from prompt_hub.backbones.base import Backbone
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.errors import UserError
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.runs.records import Record
from prompt_hub.tasks import Split, Task
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import RECORD_NAME
from prompt_hub.transfer.selection import rank

AUTO = "auto"
_RUNNERS_UP = 4


def auto_folder(init: str | None) -> Path | None:
    """The folder in ``auto:FOLDER``, None for any other initialiser. ``UserError`` if it is no folder."""
    name, _, place = (init or "").partition(":")
    if name.strip() != AUTO:
        return None
    if not place.strip():
        raise UserError(
            "Initialiser 'auto' needs a folder of prompts to choose from. Write it as auto:FOLDER."
        )
    folder = Path(place.strip())
    if not folder.is_dir():
        raise UserError(f"Initialiser 'auto': there is no folder {folder}. Name one that holds prompts.")
    return folder


def with_start(
    args: PromptTrainingArguments,
    backbone: Backbone,
    task: Task,
    rows: Split,
    folder: Path,
    resume: bool = False,
) -> tuple[PromptTrainingArguments, dict[str, Any] | None]:
    """The arguments with ``auto:FOLDER`` replaced by ``prompt:PLACE``, and what was chosen and why.

    None (and the arguments as they are) for other initialisers. A run in ``folder`` that is resumed keeps
    its choice: the folder of prompts can have changed since.
    """
    prompts = auto_folder(args.init)
    if prompts is None:
        return args, None
    if args.world_size > 1:
        raise UserError(
            "Initialiser 'auto' works in one process. Choose first (prompt-hub rank), then train with "
            "--init prompt:PLACE."
        )
    start = _earlier(folder, prompts) if resume else None
    start = start or _chosen(args, backbone, task, rows, prompts)
    args = copy.copy(args)
    args.init = f"prompt:{start['place']}"
    return args, start


def _earlier(folder: Path, prompts: Path) -> dict[str, Any] | None:
    record = Record.load(folder / RECORD_NAME)
    start = record.settings.get("start") if record else None
    return start if isinstance(start, dict) and start.get("from") == str(prompts) else None


def _chosen(
    args: PromptTrainingArguments, backbone: Backbone, task: Task, rows: Split, prompts: Path
) -> dict[str, Any]:
    collection = load_prompts(prompts)
    table = rank(
        task,
        collection,
        backbone=backbone,
        rows=rows,
        layout=layout_for(backbone.family, args.layout).name,
        batch_size=args.per_device_eval_batch_size,
        seed=args.seed,
    )
    first, about = table.iloc[0], table.attrs
    return {
        "from": str(prompts),
        "place": str(collection.location(first["prompt"])),
        "hash": collection.prompts[first["prompt"]].hash,
        "task": first["task"],
        "by": about["by"],
        "metric": about["metric"],
        "n": about["n"],
        "score": float(first["value"]),
        "ci95": [float(first["low"]), float(first["high"])],
        "gain_over_no_prompt": float(first["gain"]),
        "gain_ci95": [float(first["gain_low"]), float(first["gain_high"])],
        "best_in_resamples": float(first["first"]),
        "floors": about["floors"],
        "runners_up": {
            name: float(score) for name, score in table[["prompt", "value"]].to_numpy()[1 : 1 + _RUNNERS_UP]
        },
        "candidates": len(table),
        "left_out": {each["name"]: each["reason"] for each in about["left_out"]},
    }
