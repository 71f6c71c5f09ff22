"""``prompt-hub warm-start``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli import training_options as t
from prompt_hub.cli.output import print_json, print_table, say, stderr, stdout, warn
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet


def warm_start(
    source: Annotated[str | None, typer.Option(help="Prompt to start from.", show_default=False)] = None,
    other: Annotated[
        str | None, typer.Option(help="Prompt of a task of another type, to compare with.")
    ] = None,
    keep_seen: Annotated[
        bool,
        typer.Option(
            "--keep-seen",
            help="Train on rows that a prompt was trained on, too: for one that comes from another backbone.",
        ),
    ] = False,
    seeds: Annotated[
        str, typer.Option(help="Seeds, with commas between; a run of every start each.")
    ] = "1,2,3",
    task: o.TaskOption = None,
    backbone: o.BackboneOption = None,
    train_file: t.TrainFileOption = None,
    eval_file: t.EvalFileOption = None,
    text_a: o.TextAOption = None,
    text_b: o.TextBOption = None,
    label: o.LabelOption = None,
    target: o.TargetOption = None,
    label_words: o.LabelWordsOption = None,
    template: o.TemplateOption = None,
    data_dir: o.DataDirOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the comparison; default runs/warm-start/<task>.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Of the cold start: text[:WORDS], vocab, label-words, random; default: the family's."
        ),
    ] = None,
    max_steps: t.MaxStepsOption = None,
    epochs: t.EpochsOption = None,
    batch_size: t.BatchOption = 16,
    lr: t.RateOption = None,
    schedule: t.ScheduleOption = None,
    optimizer: t.OptimizerOption = None,
    warmup_steps: t.WarmupOption = 0,
    hold_out: t.HoldOutOption = 200,
    eval_every: Annotated[
        int | None,
        typer.Option(
            callback=o.at_least(1), help="Steps between points of a curve; default: a 30th of the run."
        ),
    ] = None,
    patience: t.PatienceOption = None,
    limit_train: t.LimitTrainOption = None,
    limit_eval: t.LimitEvalOption = None,
    eval_batch_size: o.EvalBatchOption = 32,
    layout: o.LayoutOption = None,
    report_to: t.ReportOption = "none",
    together: t.TogetherOption = False,
    gradient_checkpointing: t.CheckpointingOption = False,
    torch_compile: t.CompileOption = False,
    revision: o.RevisionOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Compare training from a prompt with training from nothing: how much faster, how much better.

    Every seed is trained cold, from --source, from --other, and from random rows with the source's norms.
    The same command again goes on where it was interrupted.

    Examples:

      prompt-hub warm-start --source runs/imdb --other runs/rte --task sst2 --data-dir data
    """
    if source is None:
        raise UserError("Name the prompt to start from: --source runs/imdb (see: prompt-hub prompts ls).")
    t.check_training_options(max_steps=max_steps, epochs=epochs, hold_out=hold_out, patience=patience)
    if epochs is None and eval_every is not None and eval_every > (max_steps or t.MAX_STEPS):
        raise UserError(
            f"--eval-every {eval_every} is more than all steps: a curve needs a point after the start."
        )
    chosen_seeds = t.seeds_from(seeds)
    set_quiet(quiet)
    columns = o.Columns(text_a, text_b, label, target, label_words)
    chosen = o.task_from_options(task, train_file, columns, file_option="--train")
    folder = output if output is not None else Path("runs") / "warm-start" / chosen.name
    o.check_result_folder(folder, "warm_start.json", "a comparison of starts")
    if train_file is not None and eval_file is None:
        raise UserError("The prompts are scored on validation rows: name them with --eval FILE.")
    # One choice of rows for all seeds, so that seeds differ in the training alone.
    train_rows = o.rows_from_options(chosen, "train", train_file, data_dir, limit_train, 42)
    validation = o.rows_from_options(chosen, "validation", eval_file, data_dir, limit_eval, 42)

    from prompt_hub.transfer.starts import Source
    from prompt_hub.transfer.warm_starts import EVALUATIONS, compare_starts

    warm, other_source = Source.read(source), Source.read(other) if other is not None else None
    args = t.training_arguments(
        folder,
        max_steps=max_steps,
        epochs=epochs,
        eval_every=eval_every,
        lr=lr,
        schedule=schedule,
        optimizer=optimizer,
        warmup_steps=warmup_steps,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        patience=patience,
        device=device,
        # Its lines, one an evaluation, would be hundreds over all runs.
        quiet=True,
        init=init,
        hold_out=hold_out,
        # Named here already, because the usual recipe goes by the layout.
        layout=layout or warm.prompt.metadata.layout,
        report_to=report_to,
        gradient_checkpointing=gradient_checkpointing,
        torch_compile=torch_compile,
        evaluations=EVALUATIONS,
    )
    if args.world_size > 1:
        raise UserError("warm-start runs in one process. Start it without torchrun or accelerate.")
    where = str(args.device) if device in ("auto", "cpu") else device
    model = o.backbone_of(warm.prompt, backbone, revision, where, dtype)
    chosen = o.with_template(chosen, template, model.family, layout or warm.prompt.metadata.layout)
    result = compare_starts(
        model,
        chosen,
        train_rows,
        validation,
        args,
        folder,
        source=warm,
        other=other_source,
        seeds=chosen_seeds,
        together=together,
        keep_seen=keep_seen,
        say=(lambda line: None) if quiet else say,
    )
    print_starts(result, stderr if as_json else stdout)
    say(f"Record, figure and runs are in {folder}.")
    if as_json:
        print_json(result)


def print_starts(result: Mapping[str, Any], console: Any) -> None:
    """Final scores and speed-ups of ``compare_starts`` as tables."""
    from prompt_hub.transfer.starts_document import score_rows, speed_up_rows

    metric, starts = result["metric"], result["starts"]
    head, rows = score_rows(result)
    print_table(
        f"{result['task']}: {metric} on {result['n']} validation rows, mean over seeds "
        f"{', '.join(map(str, result['seeds']))} (95%)",
        head,
        rows,
        console,
    )
    head, rows = speed_up_rows(result)
    print_table(
        f"Speed-up over the cold start, on {result['n_held_out']} held-out rows: geometric mean over seeds "
        "(95%)",
        head,
        rows,
        console,
    )
    say("; ".join(f"{name}: {found['label']}" for name, found in starts.items() if name != "cold"))
    removed = result["removed_overlap"]
    if any(removed.values()):
        say(
            f"Left out because a prompt was trained on their text: {removed['train']} training and "
            f"{removed['validation']} validation rows."
        )
    for message in result["warnings"]:
        warn(message)
