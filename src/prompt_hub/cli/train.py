"""``prompt-hub train``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli import training_options as t
from prompt_hub.cli.config_file import ConfigOption
from prompt_hub.cli.output import print_evaluation, print_json, print_table, say, warn
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.training.run import TrainingResult


def train(
    config: ConfigOption = None,
    backbone: o.BackboneOption = None,
    task: o.TaskOption = None,
    train_file: t.TrainFileOption = None,
    eval_file: t.EvalFileOption = None,
    text_a: o.TextAOption = None,
    text_b: o.TextBOption = None,
    label: o.LabelOption = None,
    target: o.TargetOption = None,
    label_words: o.LabelWordsOption = None,
    template: o.TemplateOption = None,
    data_dir: o.DataDirOption = None,
    output: Annotated[Path | None, typer.Option(help="Prompt folder; default runs/<task>.")] = None,
    prompt_len: Annotated[
        int | None,
        typer.Option(
            callback=o.at_least(1),
            help=f"Rows of the soft prompt; default {t.PROMPT_LEN}, or as many as the prompt of --init has.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="text[:WORDS], vocab, label-words, random, prompt:PATH, random-like:PATH, "
            "auto:FOLDER (its best prompt); default: the family's."
        ),
    ] = None,
    max_steps: t.MaxStepsOption = None,
    epochs: t.EpochsOption = None,
    batch_size: t.BatchOption = 16,
    lr: t.RateOption = None,
    schedule: t.ScheduleOption = None,
    optimizer: t.OptimizerOption = None,
    warmup_steps: t.WarmupOption = 0,
    seed: o.SeedOption = 42,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seeds, with commas between: a prompt each, in OUTPUT/seed-N."),
    ] = None,
    together: t.TogetherOption = False,
    gradient_checkpointing: t.CheckpointingOption = False,
    torch_compile: t.CompileOption = False,
    hold_out: t.HoldOutOption = 200,
    eval_every: t.EvalEveryOption = None,
    patience: t.PatienceOption = None,
    limit_train: t.LimitTrainOption = None,
    limit_eval: t.LimitEvalOption = None,
    eval_batch_size: o.EvalBatchOption = 32,
    layout: o.LayoutOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --output.")] = False,
    report_to: t.ReportOption = "none",
    revision: o.RevisionOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Train a soft prompt on a frozen backbone.

    Examples:

      prompt-hub train --backbone smollm2-135m --task sst2 --data-dir data --output runs/sst2

      prompt-hub train --backbone gpt2 --train my.csv --eval my.jsonl --text-a review --label stars
      --label-words 1=bad,2=good

      prompt-hub train --backbone smollm2-135m --task sst2 --data-dir data --seeds 1,2,3 --together
    """
    backbone = o.named_backbone(backbone)
    t.check_training_options(max_steps=max_steps, epochs=epochs, hold_out=hold_out, patience=patience)
    chosen_seeds = t.seeds_from(seeds) if seeds is not None else []
    if together and not chosen_seeds:
        raise UserError("--together trains the prompts of several seeds: name them with --seeds 1,2,3.")
    set_quiet(quiet)
    columns = o.Columns(text_a, text_b, label, target, label_words)
    chosen = o.task_from_options(task, train_file, columns, file_option="--train")
    folder = output if output is not None else Path("runs") / chosen.name
    # Of several processes the first one checks: it is also the one that begins to fill the folder.
    if os.environ.get("RANK", "0") == "0":
        for place in [folder / f"seed-{each}" for each in chosen_seeds] or [folder]:
            o.check_folder(place, resume, overwrite)
    starts_from_a_prompt = False
    if init is not None:
        from prompt_hub.prompts.initialisers import prompt_in
        from prompt_hub.transfer.auto_start import auto_folder

        starts_from_a_prompt = (auto_folder(init) or prompt_in(init)) is not None
    train_rows = o.rows_from_options(chosen, "train", train_file, data_dir, limit_train, seed)
    validation = None
    if eval_file is not None or train_file is None:
        validation = o.rows_from_options(chosen, "validation", eval_file, data_dir, limit_eval, seed)

    from prompt_hub.backbones import load_backbone
    from prompt_hub.training.run import train_prompt
    from prompt_hub.training.together import train_seeds
    from prompt_hub.transfer.auto_start import with_start

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
        quiet=quiet,
        prompt_len=prompt_len or (None if starts_from_a_prompt else t.PROMPT_LEN),
        init=init,
        seed=seed,
        hold_out=hold_out,
        layout=layout,
        report_to=report_to,
        gradient_checkpointing=gradient_checkpointing,
        torch_compile=torch_compile,
    )
    # One process of several has a device of its own, which only the arguments know.
    several = args.world_size > 1 and device != "sharded"
    where = args.device if device in ("auto", "cpu") or several else device
    model = load_backbone(backbone, revision=revision, device=where, dtype=dtype)
    chosen = o.with_template(chosen, template, model.family, layout)
    try:
        args, start = with_start(args, model, chosen, train_rows, folder, resume)
        if start is not None:
            _print_start(start)
        given: dict[str, Any] = {"validation": validation, "resume": resume, "start": start}
        if chosen_seeds:
            results = train_seeds(
                model, chosen, train_rows, args, folder, chosen_seeds, together=together, **given
            )
        else:
            results = [train_prompt(model, chosen, train_rows, args, folder, **given)]
    finally:
        # A process that ends with its group still open may abort.
        if args.world_size > 1:
            args.distributed_state.destroy_process_group()
    if args.process_index != 0:
        return
    if chosen_seeds:
        print_seeds(results, folder, as_json)
        return
    [result] = results
    data = {**result.to_dict(), **({"start": start} if start else {})}
    if result.evaluation is not None:
        print_evaluation(data)
    else:
        for message in result.diagnosis:
            warn(message)
        warn("No validation rows were given, so the prompt was not scored. Use prompt-hub eval.")
    if result.truncated:
        warn(f"{result.truncated} of {len(train_rows)} training texts were cut to fit.")
    say(f"Prompt saved in {folder} ({result.steps} steps, {result.seconds:.0f} s).")
    another = "--task ANOTHER" if train_file is None else "--eval ANOTHER.csv"
    say(f"Next: prompt-hub predict {folder}    or    prompt-hub eval {folder} {another}")
    if as_json:
        print_json(data)


def print_seeds(results: Sequence[TrainingResult], folder: Path, as_json: bool) -> None:
    """A line a seed and the mean over them; ``runs`` in JSON are those of single trainings."""
    from prompt_hub.evaluation.over_seeds import over_seeds

    data: dict[str, Any] = {"folder": str(folder), "runs": [result.to_dict() for result in results]}
    scores = [result.evaluation for result in results if result.evaluation is not None]
    if scores:
        mean = over_seeds([found.score for found in scores])
        metric = scores[0].primary_metric
        data |= {"task": scores[0].task, "metric": metric, "n": scores[0].n, "score": mean.to_dict()}
        rows = [
            [
                result.prompt.metadata.seed,
                f"{found.score:.3f}",
                "{:.3f} to {:.3f}".format(*found.ci95[metric]),
            ]
            for result, found in zip(results, scores, strict=True)
        ]
        if mean.ci95 is not None:
            rows.append(["mean", f"{mean.mean:.3f}", f"{mean.ci95[0]:.3f} to {mean.ci95[1]:.3f}"])
        print_table(
            f"{scores[0].task} on {scores[0].backbone} (n = {scores[0].n})",
            ["seed", metric, "95% interval"],
            rows,
        )
    else:
        warn("No validation rows were given, so the prompts were not scored. Use prompt-hub eval.")
    for result in results:
        for message in result.diagnosis:
            warn(f"seed {result.prompt.metadata.seed}: {message}")
    say(f"Prompts saved in {folder}/seed-N.")
    if as_json:
        print_json(data)


def _print_start(start: Mapping[str, Any]) -> None:
    low, high = start["ci95"]
    say(
        f"Starts from {start['place']} (task {start['task']}): the best of {start['candidates']} by "
        f"{start['metric']} without training, {start['score']:.3f} ({low:.3f} to {high:.3f}; "
        f"n = {start['n']})."
    )
    if start["gain_ci95"][0] <= 0:
        warn("It is not surely (95%) better than the backbone without a prompt.")
