"""``prompt-hub eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_evaluation, print_json, say
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet


def evaluate(
    prompt: Annotated[str, typer.Argument(help="Prompt folder, or owner/name on the Hub.")],
    task: o.TaskOption = None,
    eval_file: Annotated[
        Path | None, typer.Option("--eval", help="Your rows.", rich_help_panel=o.DATA)
    ] = None,
    text_a: o.TextAOption = None,
    text_b: o.TextBOption = None,
    label: o.LabelOption = None,
    target: o.TargetOption = None,
    label_words: o.LabelWordsOption = None,
    template: o.TemplateOption = None,
    data_dir: o.DataDirOption = None,
    split: Annotated[str, typer.Option(help="validation, test or train.")] = "validation",
    limit_eval: Annotated[int | None, typer.Option(help="At most so many rows.")] = None,
    floors: Annotated[
        str, typer.Option(help="all, none, or a list of majority,no_prompt,random_prompt.")
    ] = "all",
    output: Annotated[Path | None, typer.Option(help="Also store the record in this file.")] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    eval_batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Rows a batch.", rich_help_panel=o.COMPUTE)
    ] = 32,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Score a prompt on a task: its own, or any other without training.

    Examples:

      prompt-hub eval runs/sst2 --task rotten_tomatoes --data-dir data

      prompt-hub eval runs/mine --eval other.csv
    """
    from prompt_hub.evaluation.evaluate import FLOORS
    from prompt_hub.evaluation.stored import evaluate_stored
    from prompt_hub.runs.records import Record, check_record_path

    set_quiet(quiet)
    if limit_eval is not None and limit_eval < 1:
        raise UserError(f"--limit-eval must be at least 1, not {limit_eval}.")
    wanted = {"all": FLOORS, "none": ()}.get(floors, tuple(part.strip() for part in floors.split(",")))
    if output is not None:
        check_record_path(output)
    soft, chosen = o.stored_prompt_and_task(
        prompt, task, eval_file, o.Columns(text_a, text_b, label, target, label_words), "--eval"
    )
    rows = o.rows_from_options(chosen, split, eval_file, data_dir, limit_eval, seed)
    model = o.backbone_of(soft, backbone, revision, device, dtype)
    chosen = o.with_template(chosen, template, model.family)
    result = evaluate_stored(
        model,
        soft,
        chosen,
        rows,
        layout=layout,
        force=force,
        batch_size=eval_batch_size,
        floors=wanted,
        seed=seed,
    )
    data = {**result.to_dict(), "prompt": prompt, "prompt_hash": soft.hash, "source_task": soft.metadata.task}
    if output is not None:
        record = Record(
            "eval", {"prompt": prompt, "prompt_hash": soft.hash, "task": chosen.name, "seed": seed}
        )
        record.finish(output, data)
        say(f"Record stored in {output}.")
    print_evaluation(data)
    if as_json:
        print_json(data)
