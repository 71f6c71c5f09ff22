"""``prompt-hub eval``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_evaluation, print_json, print_table, say
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.transfer.ensemble import EnsembleResult


def evaluate(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(help="Prompt folder, or owner/name on the Hub; several answer together."),
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option(help="Further prompts that answer together, with commas between.")
    ] = None,
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
    limit_eval: Annotated[
        int | None, typer.Option(callback=o.at_least(1), help="At most so many rows.")
    ] = None,
    floors: Annotated[
        str, typer.Option(help="all, none, or a list of majority,no_prompt,random_prompt.")
    ] = "all",
    output: Annotated[Path | None, typer.Option(help="Also store the record in this file.")] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    eval_batch_size: Annotated[
        int,
        typer.Option("--batch-size", callback=o.at_least(1), help="Rows a batch.", rich_help_panel=o.COMPUTE),
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

      prompt-hub eval --ensemble runs/sst2,runs/imdb --task rotten_tomatoes --data-dir data
    """
    from prompt_hub.evaluation.evaluate import FLOORS
    from prompt_hub.evaluation.stored import evaluate_stored
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.runs.records import Record, check_record_path
    from prompt_hub.transfer.ensemble import evaluate_ensemble

    set_quiet(quiet)
    places = [*(prompts or []), *o.listed(ensemble or "")]
    if not places or (ensemble is not None and len(places) < 2):
        raise UserError(
            "Name a prompt to evaluate, or several: prompt-hub eval PROMPT, or --ensemble PROMPT,PROMPT."
        )
    wanted = {"all": FLOORS, "none": ()}.get(floors, tuple(part.strip() for part in floors.split(",")))
    if output is not None:
        check_record_path(output, "eval")
    columns = o.Columns(text_a, text_b, label, target, label_words)
    soft, chosen = o.stored_prompt_and_task(places[0], task, eval_file, columns, "--eval")
    others = {place: SoftPrompt.from_pretrained(place) for place in places[1:]}
    if task is None and not columns.given():
        _check_same_task(soft, others)
    rows = o.rows_from_options(chosen, split, eval_file, data_dir, limit_eval, seed)
    model = o.backbone_of(soft, backbone, revision, device, dtype)
    chosen = o.with_template(chosen, template, model.family, layout or soft.metadata.layout)
    how: dict[str, Any] = {
        "layout": layout,
        "force": force,
        "batch_size": eval_batch_size,
        "floors": wanted,
        "seed": seed,
    }
    if others:
        found = evaluate_ensemble(model, {places[0]: soft, **others}, chosen, rows, **how)
        data = {**found.to_dict(), "prompts": places}
        settings: dict[str, Any] = {"prompts": places}
    else:
        result = evaluate_stored(model, soft, chosen, rows, **how)
        about = {"prompt": places[0], "prompt_hash": soft.hash}
        data = {**result.to_dict(), **about, "source_task": soft.metadata.task}
        settings = about
    if output is not None:
        Record("eval", {**settings, "task": chosen.name, "seed": seed}).finish(output, data)
        say(f"Record stored in {output}.")
    if others:
        _print_members(found)
    print_evaluation(data)
    if output is None:
        say("Not stored: --output FILE.json keeps the record, for prompt-hub report.")
    if as_json:
        print_json(data)


def _check_same_task(first: SoftPrompt, others: Mapping[str, SoftPrompt]) -> None:
    """Without a named target it is the prompts' own, which must then be one."""
    tasks = {str(prompt.metadata.task) for prompt in (first, *others.values())}
    if len(tasks) > 1:
        raise UserError(
            f"The prompts are of several tasks: {', '.join(sorted(tasks))}. Name the target with --task."
        )


def _print_members(found: EnsembleResult) -> None:
    table = found.table()
    lines = [
        [row["name"], f"{row['score']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"]
        for row in table[table["kind"] == "member"].to_dict("records")
    ]
    metric = found.evaluation.primary_metric
    print_table("Each prompt by itself, on the same rows", ["prompt", metric, "95% interval"], lines)
    low, high = found.gain_ci95
    say(
        f"Together (below): {found.gain:+.3f} ({low:+.3f} to {high:+.3f}) against the best of them, "
        f"{found.best}."
    )
