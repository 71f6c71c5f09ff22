"""``prompt-hub rank``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20


def rank(
    prompts: Annotated[Path, typer.Option("--prompts", help="Folder of candidate prompts.")],
    task: o.TaskOption = None,
    by: Annotated[
        str, typer.Option(help="score, or an indicator (see: prompt-hub indicators ls).")
    ] = "score",
    reference: Annotated[
        str | None,
        typer.Option(help="A prompt of the target, for indicators that compare prompts; few steps may do."),
    ] = None,
    limit: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Labelled rows of the target to score on.")
    ] = 200,
    matrix: Annotated[
        Path | None,
        typer.Option(help="Measured transfer (a CSV, or a matrix folder): how far to trust the ranking."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A prompt of another backbone or layout is an error.")
    ] = False,
    train_file: Annotated[
        Path | None, typer.Option("--train", help="Your labelled rows.", rich_help_panel=o.DATA)
    ] = None,
    text_a: o.TextAOption = None,
    text_b: o.TextBOption = None,
    label: o.LabelOption = None,
    target: o.TargetOption = None,
    label_words: o.LabelWordsOption = None,
    template: o.TemplateOption = None,
    data_dir: o.DataDirOption = None,
    output: Annotated[Path | None, typer.Option(help="Also store the record in this file.")] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
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
    """Rank stored prompts as sources for a task: to use as they are, or to start training from.

    Examples:

      prompt-hub rank --task rotten_tomatoes --prompts runs --limit 200

      prompt-hub rank --task rotten_tomatoes --prompts runs --by c_avg --reference runs/few-steps
      --matrix zero_shot.csv
    """
    from prompt_hub.indicators.base import Needs
    from prompt_hub.prompts.collection import load_prompts
    from prompt_hub.runs.records import Record, check_record_path
    from prompt_hub.transfer.candidates import one_backbone
    from prompt_hub.transfer.selection import check_way
    from prompt_hub.transfer.selection import rank as run

    set_quiet(quiet)
    indicator = check_way(by, limit)
    if output is not None:
        check_record_path(output, "rank")
    columns = o.Columns(text_a, text_b, label, target, label_words)
    chosen = o.task_from_options(task, train_file, columns, file_option="--train")
    collection = load_prompts(prompts)
    model = None
    if indicator is None or Needs.BACKBONE in indicator.needs:
        model = o.backbone_of(one_backbone(collection, backbone), backbone, revision, device, dtype)
        chosen = o.with_template(chosen, template, model.family, layout)
    table = run(
        chosen,
        collection,
        by=by,
        backbone=model,
        reference=reference,
        rows=lambda most: o.rows_from_options(chosen, "train", train_file, data_dir, most, seed),
        matrix=matrix,
        limit=limit,
        layout=layout,
        strict=strict,
        batch_size=eval_batch_size,
        seed=seed,
    )
    about = table.attrs
    result = {"candidates": table.to_dict("records"), **about, "prompts": str(prompts)}
    if output is not None:
        settings = {"task": chosen.name, "by": by, "prompts": str(prompts), "limit": limit, "seed": seed}
        Record("rank", settings).finish(output, result)
        say(f"Record stored in {output}.")
    for each in about["left_out"]:
        say(f"Left out: {each['name']} ({each['reason']}).")
    for message in about["warnings"]:
        warn(message)
    if as_json:
        print_json(result)
        return
    if by == "score":
        _print_scores(table)
    else:
        _print_values(table)
    if about["trust"] is not None:
        _print_trust(about["trust"], by, matrix)


def _print_scores(table: pd.DataFrame) -> None:
    about = table.attrs
    lines = [
        [
            row["place"],
            row["prompt"],
            row["task"],
            f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})",
            f"{row['first']:.0%}",
        ]
        for row in table.head(SHOWN).to_dict("records")
    ]
    columns = ["", "prompt", "of task", f"{about['metric']} (95%)", "over no prompt (95%)", "is best"]
    title = f"Sources for {about['target']}, by score on {about['n']} training rows without training"
    print_table(title, columns, lines, stdout)
    floors = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in about["floors"].items())
    say(f"Floors on the same rows: {floors}.")
    if about["removed_overlap"]:
        say(f"{about['removed_overlap']} rows were left out because a candidate was trained on their text.")
    first = table.iloc[0]
    if len(table) > 1:
        say(
            f"Picking the first is expected to give {about['expected']:.3f} on other rows (picked on a part "
            f"of these, scored on the rest); the score above is that of the luckiest of {len(table)}."
        )
    if first["gain_low"] <= 0:
        warn("The first is not surely (95%) better than the backbone without a prompt.")


def _print_values(table: pd.DataFrame) -> None:
    about = table.attrs
    lines = [
        [row["place"], row["prompt"], row["task"], f"{row['value']:.4f}"]
        for row in table.head(SHOWN).to_dict("records")
    ]
    title = f"Sources for {about['target']}, by {about['by']}"
    print_table(title, ["", "prompt", "of task", about["by"]], lines, stdout)
    if about["trust"] is None:
        # What looks at rows of the target has none of the other targets here.
        how = "Add --matrix" if about["n"] is None else "Use prompt-hub indicators validate --matrix"
        say(
            f"An indicator says which source is likely to be better, not how good it is. {how} to see "
            "how often it was right, or rank --by score."
        )


def _print_trust(trust: dict[str, Any], by: str, matrix: Path | None) -> None:
    def line(what: str, name: str, form: str, factor: float = 1) -> None:
        figure = trust[name]
        if not math.isnan(figure["value"]):
            value, low, high, chance = (
                format(factor * figure[part], form) for part in ("value", "low", "high", "chance")
            )
            say(f"- {what}: {value} ({low} to {high}), by lot {chance}")

    how = " (simulated: scores drawn anew from so many rows)" if trust["simulated"] else ""
    say(f"How far to trust {by}, from {trust['targets']} other targets in {matrix}{how}:")
    line("rank correlation x 100", "spearman", ".1f", 100)
    line("score lost by taking the first", "regret_1", ".3g")
    line("score lost by taking the best of the first three", "regret_3", ".3g")
    if trust["picked"] is not None:
        say(
            f"- the first reached {trust['picked']:.0%} of the target's own prompt there, the best source "
            f"{trust['best']:.0%}, one by lot {trust['by_lot']:.0%}"
        )
