"""``prompt-hub project train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.atomic import alone_in
from prompt_hub.cli import options as o
from prompt_hub.cli import training_options as t
from prompt_hub.cli.output import print_json, print_table, say, warn
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.tasks import Split
    from prompt_hub.transfer.cross_model.recipe import Recipe
    from prompt_hub.transfer.cross_model.train_map import Material
    from prompt_hub.transfer.cross_model.unseen import JudgedTask

RECORD = "project.json"
PROMPT_STEPS = 300


def train(
    source_backbone: Annotated[str, typer.Option(help="The backbone that the prompts are of.")],
    target_backbone: Annotated[str, typer.Option(help="The backbone that they are to be for.")],
    tasks: Annotated[str, typer.Option(help="Tasks to train on, with commas between.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the map's folder goes.")],
    method: Annotated[
        str,
        typer.Option(
            help="task-tuning (the target's loss on the tasks), distance (to the target's own prompts), or "
            "both."
        ),
    ] = "task-tuning",
    network: Annotated[str, typer.Option(help="flat (the paper's), per-token or low-rank.")] = "flat",
    bottleneck: Annotated[int, typer.Option(callback=o.at_least(1), help="Hidden width of flat.")] = 768,
    rank: Annotated[int, typer.Option(callback=o.at_least(1), help="Features a row of low-rank.")] = 8,
    activation: Annotated[str, typer.Option(help="leaky_relu, tanh or none.")] = "leaky_relu",
    layer_norm: Annotated[
        bool | None, typer.Option(help="Normalise each row of the result; default: not for per-token.")
    ] = None,
    distance_weight: Annotated[float, typer.Option(help="Of the distance, with both.")] = 1.0,
    start: Annotated[
        str,
        typer.Option(
            help="random, or the weights of a map: ridge, procrustes, least-squares (--network per-token "
            "--activation none)."
        ),
    ] = "random",
    unseen: Annotated[
        str | None, typer.Option(help="Further tasks, not trained on, to be judged on; with commas between.")
    ] = None,
    leave_one_out: Annotated[
        bool, typer.Option(help="Of several tasks, also train without each and judge on it.")
    ] = True,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder of prompts of both backbones; what is missing is trained.")
    ] = None,
    prompt_len: t.PromptLenOption = t.PROMPT_LEN,
    prompt_steps: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Training steps of a prompt that is missing.")
    ] = PROMPT_STEPS,
    max_steps: t.MaxStepsOption = None,
    epochs: t.EpochsOption = None,
    batch_size: t.BatchOption = 16,
    lr: Annotated[
        float | None,
        typer.Option(
            callback=o.above_zero(), help="AdamW rate of the projector; default: by network (flat 1e-3)."
        ),
    ] = None,
    schedule: t.ScheduleOption = None,
    optimizer: t.OptimizerOption = None,
    warmup_steps: t.WarmupOption = 0,
    seed: o.SeedOption = 42,
    hold_out: t.HoldOutOption = 200,
    eval_every: t.EvalEveryOption = None,
    patience: t.PatienceOption = None,
    limit_train: t.LimitTrainOption = None,
    limit_eval: t.LimitEvalOption = None,
    eval_batch_size: o.EvalBatchOption = 32,
    layout: Annotated[str | None, typer.Option(help="Of the target; default: the family's.")] = None,
    data_dir: o.DataDirOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Train a projector from prompts of one backbone to prompts of another, and judge it beside controls.

    The same command goes on after an interruption. Examples:

      prompt-hub project train --source-backbone mini-t5 --target-backbone mini-gpt2
      --tasks mini/film,mini/hotel,mini/nli_objects,mini/nli_people -o runs/projector

      prompt-hub project train --source-backbone mini-gpt2 --target-backbone smollm2-135m
      --tasks sst2,rotten_tomatoes,imdb --network low-rank --data-dir data -o runs/real
    """
    t.check_training_options(max_steps=max_steps, epochs=epochs, hold_out=hold_out, patience=patience)
    set_quiet(quiet)
    o.check_result_folder(output, RECORD, "a projector's training")

    from prompt_hub.backbones import load_backbone
    from prompt_hub.runs.records import Record
    from prompt_hub.tasks import get_task
    from prompt_hub.transfer.cross_model.recipe import Recipe
    from prompt_hub.transfer.cross_model.train_map import check_tasks, gather, train_map

    recipe = Recipe(method, network, bottleneck, rank, activation, layer_norm, distance_weight, start)
    trained = [get_task(name) for name in o.listed(tasks)]
    judged_only = [get_task(name) for name in o.listed(unseen or "")]
    check_tasks(trained, judged_only)
    rows: dict[str, tuple[Split, Split]] = {
        task.name: (
            o.rows_from_options(task, "train", None, data_dir, limit_train, seed),
            o.rows_from_options(task, "validation", None, data_dir, limit_eval, seed),
        )
        for task in (*trained, *judged_only)
    }
    shared: dict[str, Any] = dict(
        eval_batch_size=eval_batch_size, quiet=quiet, layout=layout, batch_size=batch_size, seed=seed,
        hold_out=hold_out, device=device, prompt_len=prompt_len,
    )  # fmt: skip
    plain: dict[str, Any] = dict(
        epochs=None, eval_every=None, lr=None, schedule=None, warmup_steps=0, patience=None
    )
    prompt_args = t.training_arguments(output, max_steps=prompt_steps, **plain, **shared)
    args = t.training_arguments(
        output, max_steps=max_steps, epochs=epochs, eval_every=eval_every, lr=lr, schedule=schedule,
        optimizer=optimizer, warmup_steps=warmup_steps, patience=patience, **shared,
    )  # fmt: skip
    source = load_backbone(source_backbone, device=device, dtype=dtype)
    target = load_backbone(target_backbone, device=device, dtype=dtype)
    # Before the prompts, which are long work already: by it the folder is known again.
    asked = {"source": source_backbone, "target": target_backbone, "tasks": tasks, "unseen": unseen}
    record = Record("project", {**asked, "recipe": asdict(recipe), "seed": seed})
    with alone_in(output, "trains a projector"):
        record.save(output / RECORD)
        material = gather(
            source, target, trained, rows, prompt_args, output / "prompts", unseen=judged_only, stored=prompts
        )
        _print_size(recipe, material)
        result = train_map(material, recipe, args, output, leave_one_out=leave_one_out)
        result.found.save_pretrained(output)
        record.finish(output / RECORD, {"hash": result.found.hash, "metrics": result.found.metrics})
    _print_judged(result.judged)
    for note in result.found.warnings:
        warn(note)
    for verdict in result.found.metrics["verdicts"].values():
        (warn if "ignores its input" in verdict else say)(verdict)
    say(f"{result.found.describe()}, {result.found.bytes / 2**20:.1f} MB, saved in {output}.")
    say(f"Next: prompt-hub project apply {output} PROMPT -o OUT    or    project eval {output} PROMPT")
    if as_json:
        print_json({"path": str(output), **result.found.to_dict()})


_SHORT = {
    "constant-input projector": "constant input",
    "another task's source, projected": "other source",
    "shuffled source, projected": "shuffled",
    "gaussian source, projected": "gaussian",
    "random prompt": "random prompt",
    "no prompt": "no prompt",
    "target's own prompt": "own prompt",
}
"""Controls in the order of the table's columns."""


def _print_size(recipe: Recipe, material: Material) -> None:
    say(recipe.network_for(*material.sizes).describe())


def _print_judged(judged: Sequence[JudgedTask]) -> None:
    rows = []
    for one in judged:
        low, high = one.ci95
        controls = [one.controls.get(name) for name in _SHORT]
        scores = [f"{control['score']:.3f}" if control else "" for control in controls]
        majority = "" if one.majority is None else f"{one.majority:.3f}"
        rows.append(
            [one.task, one.group, one.n, f"{one.score:.3f} ({low:.3f} to {high:.3f})", *scores, majority]
        )
    columns = ["task", "", "n", "projected (95%)", *_SHORT.values(), "majority"]
    print_table("What the projector makes of each task's source prompt", columns, rows)
    for one in judged:
        if one.left_out:
            warn(
                f"{one.task} ({one.group}): {one.left_out} rows were left out because a prompt or the "
                "projector was trained on them."
            )
