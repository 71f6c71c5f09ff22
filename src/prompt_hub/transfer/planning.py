"""From names of tasks, and prompts or how to train them, to the plan of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prompt_hub.backbones import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.encoding.layouts import Layout, layout_for
from prompt_hub.errors import UserError
from prompt_hub.tasks import Split, Task, get_task, load_split, primary_metric
from prompt_hub.transfer.plan import Plan, Source, Target
from prompt_hub.transfer.sources import SAMPLE_SEED, Training, stored_sources, trained_sources


def plan_matrix(
    backbone: Backbone,
    tasks: Sequence[str | Task],
    sources: Path | Training,
    *,
    data_dir: Path | None = None,
    split: str = "validation",
    limit: int | None = None,
    layout: str | None = None,
    strict: bool = False,
) -> Plan:
    """Everything that is to be done, before any of it is done.

    sources: a folder of stored prompts, or how to train one for every task and seed. strict: what does not
    fit is an error, not left out. Raises ``UserError`` for names and rows that cannot be had, and when no
    prompt is left.
    """
    chosen = {task.name: task for task in (get_task(t) if isinstance(t, str) else t for t in tasks)}
    if not chosen:
        raise UserError("No tasks are named. Give some, such as --tasks sst2,rte,mrpc.")
    placed = layout_for(backbone.family, layout)
    if isinstance(sources, Training):
        found, left_out = trained_sources(backbone, list(chosen.values()), placed, sources)
    else:
        found, left_out = stored_sources(sources, backbone, placed)
    _check_sources(found, left_out, sources, strict)
    own_length = {source.task: source.prompt_len for source in reversed(found)}
    targets = [
        describe_target(
            backbone,
            task,
            load_split(task, split, data_dir, limit, SAMPLE_SEED),
            placed,
            own_length.get(task.name, 0),
        )
        for task in chosen.values()
    ]
    for target in targets:
        if target.problem is not None and strict:
            raise UserError(target.problem)
    return Plan(
        backbone=backbone.identity.to_dict(),
        dtype=backbone.precision,
        layout=placed.name,
        split=split,
        limit=limit,
        sources=tuple(found),
        targets=tuple(targets),
        training=dict(sources.values) if isinstance(sources, Training) else {},
        limit_train=sources.limit if isinstance(sources, Training) else None,
        left_out=tuple(left_out),
    )


def _check_sources(
    found: Sequence[Source], left_out: Sequence[tuple[str, str]], asked: Path | Training, strict: bool
) -> None:
    if left_out and (strict or not found):
        place, reason = left_out[0]
        more = f" ({len(left_out) - 1} more do not fit.)" if len(left_out) > 1 else ""
        raise UserError(f"{place} cannot be used here: {reason}{more}")
    if not found:
        raise UserError(f"There are no prompts below {asked}. Name another folder, or train: --train.")


def describe_target(backbone: Backbone, task: Task, rows: Split, layout: Layout, prompt_len: int) -> Target:
    """What the plan knows about a task whose rows are scored; it says so where none of them can be.

    prompt_len: of the task's own prompt, 0 without one.
    """
    known: dict[str, Any] = dict(
        name=task.name,
        type=task.type,
        definition=task.to_dict(),
        fingerprint=task.fingerprint(),
        data={
            "fingerprint": rows.fingerprint, "source": rows.source, "n": len(rows),
            "metric": primary_metric(task),
        },
    )  # fmt: skip
    try:
        encoder = Encoder(backbone, task, 0, layout)
    except UserError as error:
        return Target(**known, problem=str(error))
    try:
        room = Encoder(backbone, task, prompt_len, layout).budget
    except UserError:  # too long a prompt of its own: that fails by itself, and nothing else for it
        prompt_len, room = 0, encoder.budget
    return Target(
        **known,
        prompt_len=prompt_len,
        references=None if task.kind == "generation" else [float(label or 0) for label in rows.labels()],
        template=encoder.template,
        label_words=list(encoder.label_words),
        room=room,
    )
