"""``prompt-hub matrix``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli import training_options as t
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.transfer.cost import Cost
    from prompt_hub.transfer.document import Document

RACING = "Racing"
FORMATS = ("table", "markdown", "latex", "csv", "json")

app = typer.Typer(help="Use every prompt on every task without training (zero-shot transfer).")


@app.callback(invoke_without_command=True)
def matrix(
    context: typer.Context,
    backbone: o.BackboneOption = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks, with commas between (see: prompt-hub tasks ls).", show_default=False),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train a prompt for every task and seed that has none.")
    ] = False,
    prompts: Annotated[
        Path | None, typer.Option(help="Take the prompts below this folder instead.", show_default=False)
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of the trainings, with commas between; default: 42.")
    ] = None,
    data_dir: o.DataDirOption = None,
    split: Annotated[str, typer.Option(help="Rows to score on: validation, test or train.")] = "validation",
    limit_eval: t.LimitEvalOption = None,
    output: Annotated[Path, typer.Option(help="Folder of the matrix.")] = Path("runs/matrix"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A prompt or task that does not fit is an error, not left out.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try what failed before once more.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Only find the best source of each target, from at most this share of the examples.",
            rich_help_panel=RACING,
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="With which no best source is lost.", rich_help_panel=RACING)
    ] = 0.95,
    tolerance: Annotated[
        float, typer.Option(help="A difference in score that does not matter.", rich_help_panel=RACING)
    ] = 0.0,
    jobs: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Worker processes.", rich_help_panel=o.COMPUTE)
    ] = 1,
    executor: Annotated[
        str, typer.Option(help="here (this machine) or ray.", rich_help_panel=o.COMPUTE)
    ] = "here",
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster; default: a local one.", rich_help_panel=o.COMPUTE),
    ] = None,
    prompt_len: t.PromptLenOption = t.PROMPT_LEN,
    init: t.InitOption = None,
    max_steps: t.MaxStepsOption = None,
    epochs: t.EpochsOption = None,
    batch_size: t.BatchOption = 16,
    lr: t.RateOption = None,
    schedule: t.ScheduleOption = None,
    warmup_steps: t.WarmupOption = 0,
    hold_out: t.HoldOutOption = 200,
    eval_every: t.EvalEveryOption = None,
    patience: t.PatienceOption = None,
    limit_train: t.LimitTrainOption = None,
    eval_batch_size: o.EvalBatchOption = 32,
    gradient_checkpointing: t.CheckpointingOption = False,
    torch_compile: t.CompileOption = False,
    layout: o.LayoutOption = None,
    revision: o.RevisionOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Use every prompt on every task without training, beside floors; each cell is computed once.

    The same command again goes on where it was interrupted, also beside another process that is at work. A
    task more computes only its row and its column.

    Examples:

      prompt-hub matrix --backbone smollm2-135m --tasks sst2,rotten_tomatoes --train --data-dir data

      prompt-hub matrix --backbone smollm2-135m --tasks sst2 --prompts runs --data-dir data --output runs/m

      prompt-hub matrix --backbone smollm2-135m --tasks sst2,rte --prompts runs --data-dir data --budget 0.3

      prompt-hub matrix show runs/matrix --relative --figure heat.png
    """
    if context.invoked_subcommand is not None:
        return
    backbone = o.named_backbone(backbone)
    if tasks is None:
        raise UserError("Name the tasks: --tasks sst2,rte,mrpc (see: prompt-hub tasks ls).")
    if prompts is not None and seeds is not None:
        raise UserError("--seeds are those of trainings; the prompts of --prompts have theirs. Leave it out.")
    t.check_training_options(max_steps=max_steps, epochs=epochs, hold_out=hold_out, patience=patience)
    set_quiet(quiet)
    if not dry_run:
        o.check_writable(output)

    from prompt_hub.transfer.cost import estimate
    from prompt_hub.transfer.document import Document
    from prompt_hub.transfer.matrix import EXECUTORS, fill, prepare_matrix
    from prompt_hub.transfer.races import Racing
    from prompt_hub.transfer.table import load_tables

    if budget is None and (confidence, tolerance) != (0.95, 0.0):
        raise UserError("--confidence and --tolerance are of races. Add --budget, such as --budget 0.3.")
    if executor not in EXECUTORS:
        raise unknown_name("executor", executor, EXECUTORS)
    if address is not None and executor != "ray":
        raise UserError(f"--address {address} is of a Ray cluster. Add --executor ray, or leave it out.")
    training = t.training_values(
        max_steps=max_steps,
        epochs=epochs,
        eval_every=eval_every,
        lr=lr,
        schedule=schedule,
        warmup_steps=warmup_steps,
        batch_size=batch_size,
        patience=patience,
        prompt_len=prompt_len,
        init=init,
        hold_out=hold_out,
        gradient_checkpointing=gradient_checkpointing,
        torch_compile=torch_compile,
        device=device,
        layout=layout,
    )
    planned = prepare_matrix(
        backbone,
        o.listed(tasks),
        output,
        train=train,
        prompts=prompts,
        seeds=t.seeds_from(seeds if seeds is not None else "42"),
        training=training,
        limit_train=limit_train,
        data_dir=data_dir,
        split=split,
        limit=limit_eval,
        layout=layout,
        strict=strict,
        revision=revision,
        device=device,
        dtype=dtype,
        batch_size=eval_batch_size,
        racing=None if budget is None else Racing(budget, confidence, tolerance),
    )
    for place, reason in planned.plan.left_out:
        warn(f"{place} is left out: {reason}")
    for target in planned.plan.targets:
        if target.problem is not None:
            warn(f"No prompt can be scored on {target.name}, its cells will say so: {target.problem}")
    cost = estimate(planned, jobs)
    _print_cost(cost, jobs, raced=budget is not None)
    if dry_run:
        if as_json:
            print_json({"output": str(output), "cost": _cost_data(cost)})
        return
    verdicts = fill(planned, jobs=jobs, executor=executor, address=address, retry_failed=retry_failed)
    document = Document(planned.plan, *load_tables(output, planned.plan), verdicts)
    _print_matrix(document)
    say(f"Stored in {output}. As a table or picture: prompt-hub matrix show {output} --help")
    if not planned.plan.is_stored_in(output):
        warn(
            f"Another command asked for another matrix in {output} meanwhile, which is what matrix show and "
            "report show. This command again brings back this one; all cells are kept."
        )
    if as_json:
        print_json({"output": str(output), "cost": _cost_data(cost), **document.data()})
    raced_without = any(verdict.problem or verdict.failed for verdict in document.verdicts)
    if raced_without or (document.table["status"] == "failed").any():
        raise typer.Exit(1)


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a matrix.")] = Path("runs/matrix"),
    format: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")] = "table",
    relative: Annotated[
        bool, typer.Option("--relative", help="Shares of the score of the target's own prompt.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw the heat map into this file (.png, .pdf, .svg).")
    ] = None,
) -> None:
    """Print a matrix as far as it is computed, and draw its heat map.

    csv is the tidy table, one line a cell and seed; the others show means over the seeds.
    """
    from prompt_hub.transfer.document import Document

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    document = Document.of(folder, relative)
    if format == "table":
        _print_matrix(document)
    elif format == "json":
        print_json(document.data())
    else:
        texts = {"markdown": document.markdown, "latex": document.latex, "csv": document.csv}
        typer.echo(texts[format](), nl=False)
    if figure is not None:
        try:
            document.view.draw(figure)
        except (OSError, ValueError) as error:
            raise UserError(f"Cannot draw {figure}: {error}. Name a .png, .pdf or .svg file.") from None
        say(f"Drawn in {figure}.")


def _print_cost(cost: Cost, jobs: int, raced: bool) -> None:
    floors = "" if raced else f", {cost.floors} of {cost.all_floors} floors"
    say(
        f"To do: {cost.trainings} of {cost.all_trainings} trainings, {cost.cells} of {cost.all_cells} cells"
        f"{floors}; {cost.steps:,} training steps, {'at most ' if raced else ''}{cost.rows:,} rows to score."
    )
    if cost.wall_seconds is not None:
        workers = f"{jobs} workers" if jobs > 1 else "one worker"
        say(
            f"{'At most about' if raced else 'About'} {_duration(cost.wall_seconds)} with {workers} on this "
            f"machine, from batches timed for {cost.probe_seconds:.0f} s; loading the backbone not counted."
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _cost_data(cost: Cost) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(cost), "wall_seconds": cost.wall_seconds}


def _print_matrix(document: Document) -> None:
    """The answer on stdout, what it means on stderr."""
    from prompt_hub.transfer.verdicts import verdict_notes, verdict_rows

    typer.echo(document.headline)
    print_table("", *document.view.plain(), stdout)
    for means in document.summaries:
        print_table(means.title, means.head, means.rows, stdout)
    for line in document.notes:
        say(line)
    if document.verdicts:
        print_table("Best source of each target, by races", *verdict_rows(document.verdicts), stdout)
        for line in verdict_notes(document.verdicts):
            say(line)
