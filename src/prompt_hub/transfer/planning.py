"""From names of tasks, and a folder of prompts or settings of a training, to the plan of a matrix."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_hub.backbones import Backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.encoding.layouts import Layout, layout_for
from prompt_hub.errors import UserError
from prompt_hub.prompts.fit import check_fits
from prompt_hub.prompts.store import Entry, find_prompts
from prompt_hub.tasks import Split, Task, get_task, load_split, primary_metric
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import run_settings, with_presets
from prompt_hub.transfer.plan import Plan, Source, Target, key_of, model_identity

SAMPLE_SEED = 0
"""Draws the rows where a limit is given: the same for every seed of a training, so that seeds compare."""

_WITHOUT_INFLUENCE = ("output_dir", "disable_tqdm", "use_cpu", "report_to", "per_device_eval_batch_size")


def plan_matrix(
    backbone: Backbone,
    tasks: Sequence[str | Task],
    *,
    prompts: Path | None = None,
    seeds: Sequence[int] = (42,),
    training: Mapping[str, Any] | None = None,
    limit_train: int | None = None,
    data_dir: Path | None = None,
    split: str = "validation",
    limit: int | None = None,
    layout: str | None = None,
    strict: bool = False,
) -> Plan:
    """Everything that is to be done, before any of it is done.

    prompts: a folder of stored prompts; None: one is trained for every task and seed, with ``training``
    (arguments of ``PromptTrainingArguments``). strict: what does not fit is an error, not left out. Raises
    ``UserError`` for names and rows that cannot be had, and when no prompt is left.
    """
    chosen = {task.name: task for task in (get_task(t) if isinstance(t, str) else t for t in tasks)}
    if not chosen:
        raise UserError("No tasks are named. Give some, such as --tasks sst2,rte,mrpc.")
    placed = layout_for(backbone.family, layout)
    left_out: list[tuple[str, str]] = []
    if prompts is not None:
        sources, left_out = stored_sources(prompts, backbone, placed)
        if left_out and (strict or not sources):
            path, reason = left_out[0]
            more = f" ({len(left_out) - 1} more do not fit.)" if len(left_out) > 1 else ""
            raise UserError(f"{path} cannot be used here: {reason}{more}")
        if not sources:
            raise UserError(f"There are no prompts below {prompts}. Name another folder, or train: --train.")
    else:
        sources = trained_sources(
            backbone,
            list(chosen.values()),
            placed,
            seeds,
            dict(training or {}),
            limit_train,
            data_dir,
            left_out,
        )
    own_length = {source.task: source.prompt_len for source in reversed(sources)}
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
    problem = next((target for target in targets if target.problem), None)
    if problem is not None and strict:
        raise UserError(problem.problem or "")
    return Plan(
        backbone=backbone.identity.to_dict(),
        dtype=str(backbone.dtype).removeprefix("torch."),
        layout=placed.name,
        split=split,
        limit=limit,
        sources=tuple(sources),
        targets=tuple(targets),
        training={} if prompts is not None else dict(training or {}),
        limit_train=limit_train,
        left_out=tuple(left_out),
    )


def stored_sources(
    folder: Path, backbone: Backbone, layout: Layout
) -> tuple[list[Source], list[tuple[str, str]]]:
    """The prompts below ``folder`` that fit, and path and reason of those that do not."""
    fitting: list[Entry] = []
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
            fitting.append(entry)
    names = [_task_or_folder(entry, folder) for entry in fitting]
    shared = Counter(
        (name, entry.metadata.seed) for name, entry in zip(names, fitting, strict=True) if entry.metadata
    )
    sources = []
    for name, entry in zip(names, fitting, strict=True):
        known = entry.metadata
        assert known is not None
        # Several prompts of one task and seed are told apart by their folders.
        unique = name if shared[name, known.seed] == 1 else _within(entry.path, folder)
        sources.append(
            Source(
                name=unique,
                task=known.task,
                type=known.task_type or "custom",
                seed=known.seed,
                prompt_len=known.prompt_len,
                folder=str(entry.path.resolve()),
                identity={"prompt_hash": known.prompt_hash},
            )
        )
    return sources, left_out


def trained_sources(
    backbone: Backbone,
    tasks: Sequence[Task],
    layout: Layout,
    seeds: Sequence[int],
    training: dict[str, Any],
    limit_train: int | None,
    data_dir: Path | None,
    left_out: list[tuple[str, str]],
) -> list[Source]:
    """A prompt to be trained for every task and seed; what the backbone cannot do goes to ``left_out``."""
    if not seeds:
        raise UserError("No seeds are named. Give some, such as --seeds 1,2,3.")
    sources = []
    rows = {task.name: load_split(task, "train", data_dir, limit_train, SAMPLE_SEED) for task in tasks}
    for seed in dict.fromkeys(seeds):
        args = with_presets(training_arguments(training, "", seed, layout.name), backbone)
        for task in tasks:
            try:
                encoder = Encoder(backbone, task, args.prompt_len, layout)
            except UserError as error:
                if seed == seeds[0]:
                    left_out.append((task.name, f"no prompt can be trained for it: {error}"))
                continue
            settings = run_settings(args, encoder, rows[task.name])
            extra = {name: training[name] for name in sorted(training) if name not in _WITHOUT_INFLUENCE}
            identity = json.loads(json.dumps({**extra, **settings}, default=str))
            identity["backbone"] = model_identity(identity["backbone"])
            sources.append(
                Source(
                    name=task.name,
                    task=task.name,
                    type=task.type,
                    seed=seed,
                    prompt_len=args.prompt_len,
                    folder=f"prompts/{task.name.replace('/', '--')}/seed-{seed}-{key_of('', identity)[:8]}",
                    identity=identity,
                    is_trained_here=True,
                    train_rows=len(rows[task.name]),
                )
            )
    return sources


def training_arguments(
    training: Mapping[str, Any], folder: str, seed: int, layout: str
) -> PromptTrainingArguments:
    """Raises ``UserError`` for arguments that there are not, or that contradict each other."""
    try:
        return PromptTrainingArguments(
            **{"disable_tqdm": True, **training, "output_dir": folder, "seed": seed, "layout": layout}
        )
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"These training options do not work: {error}") from None


def describe_target(backbone: Backbone, task: Task, rows: Split, layout: Layout, prompt_len: int) -> Target:
    """What the plan knows about a task whose rows are scored; it says so where none of them can be."""
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


def _task_or_folder(entry: Entry, root: Path) -> str:
    assert entry.metadata is not None
    return entry.metadata.task or _within(entry.path, root)


def _within(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return path.resolve().name if name == "." else name
