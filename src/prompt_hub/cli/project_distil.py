"""``prompt-hub project distil``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.controls_table import print_controls
from prompt_hub.cli.output import print_json, say, warn
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.transfer.cross_model.distillation import Distilled

RECORD_NAME = "distil.json"
FIT = "Fit"


def distil(
    prompt: Annotated[str, typer.Argument(help="Prompt of the source: folder, file, or owner/name.")],
    target_backbone: Annotated[str, typer.Option(help="The backbone that the new prompt is to be for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the new prompt folder goes.")],
    texts: Annotated[
        Path | None,
        typer.Option(help="Texts in the task's columns, without labels; default: the task's training rows."),
    ] = None,
    task: o.TaskOption = None,
    data_dir: o.DataDirOption = None,
    rows: Annotated[int, typer.Option(callback=o.at_least(1), help="At most so many texts.")] = 100,
    match: Annotated[
        str,
        typer.Option(help="answers, shift or centred-shift: see docs/cross-model.md.", rich_help_panel=FIT),
    ] = "answers",
    temperature: Annotated[
        float,
        typer.Option(
            callback=o.above_zero(),
            help="Logits are divided by it before they are compared.",
            rich_help_panel=FIT,
        ),
    ] = 1.0,
    prompt_len: Annotated[
        int | None,
        typer.Option(
            callback=o.at_least(1), help="Rows of the new prompt; default: the source's.", rich_help_panel=FIT
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Where the fit begins: text[:WORDS], vocab, label-words, random[:STD], prompt:PATH (such as "
            "a map's result); default: the family's.",
            rich_help_panel=FIT,
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--max-steps", callback=o.at_least(1), help="Steps.", rich_help_panel=FIT)
    ] = 200,
    batch_size: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Texts a step.", rich_help_panel=FIT)
    ] = 16,
    lr: Annotated[
        float | None,
        typer.Option(callback=o.above_zero(), help="AdamW rate; default: the family's.", rich_help_panel=FIT),
    ] = None,
    score: Annotated[
        bool,
        typer.Option(help="Score the result beside its controls, where there are labelled rows."),
    ] = True,
    eval_file: Annotated[
        Path | None, typer.Option("--eval", help="Your labelled rows.", rich_help_panel=o.DATA)
    ] = None,
    limit_eval: Annotated[
        int | None, typer.Option(callback=o.at_least(1), help="Score at most so many rows.")
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(help="Prompt of the source for another task, as a control; may be repeated."),
    ] = None,
    own: Annotated[str | None, typer.Option(help="Prompt trained on the target, for comparison.")] = None,
    source_backbone: Annotated[
        str | None, typer.Option(help="The prompt's backbone, where it lies elsewhere or is not stored.")
    ] = None,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Fit a prompt of another backbone to what a prompt's own backbone says about texts without labels.

    Examples:

      prompt-hub project distil runs/film --target-backbone mini-gpt2 -o runs/film-gpt2

      prompt-hub project distil runs/mine --target-backbone gpt2 --texts texts.jsonl -o runs/mine-gpt2
    """
    from prompt_hub.backbones import load_backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.runs.records import Record
    from prompt_hub.transfer.cross_model.controls import other_sources
    from prompt_hub.transfer.cross_model.distillation import DistillationSettings
    from prompt_hub.transfer.cross_model.distilled import Distillation, evaluate_distilled, settings_of

    set_quiet(quiet)
    if (output / "prompt_hub.json").exists():
        raise UserError(f"{output} already holds a prompt. Choose another --output.")
    o.check_result_folder(output, RECORD_NAME, "a distillation")
    settings = DistillationSettings(match, temperature, steps, batch_size, lr, seed)
    given, chosen = o.stored_prompt_and_task(prompt, task, texts, o.Columns(), "--texts")
    if texts is None and chosen.type == "custom" and not (chosen.hub or chosen.generator or data_dir):
        raise UserError(f"Task {chosen.name!r} was made from a file. Name texts of it with --texts FILE.")
    others = other_sources(other or [], given)
    trained = SoftPrompt.from_pretrained(own) if own is not None else None
    unlabelled = o.rows_from_options(chosen, "train", texts, data_dir, rows, seed, unlabelled=True)
    labelled = None
    if score and (eval_file is not None or texts is None):
        labelled = o.rows_from_options(chosen, "validation", eval_file, data_dir, limit_eval, seed)
    source = o.backbone_of(given, source_backbone, None, device, dtype)
    target = load_backbone(target_backbone, device=device, dtype=dtype)
    prepared = Distillation.prepare(
        given, source, target, chosen, unlabelled, settings, prompt_len=prompt_len, init=init
    )
    record = Record("distil", settings_of(prepared))
    made, found = prepared.run()
    made.save_pretrained(output)
    result: dict[str, Any] = {"path": str(output), "hash": made.hash, **found.to_dict()}
    record.finish(output / RECORD_NAME, result)
    say(_fit(found))
    if labelled is not None:
        table = evaluate_distilled(prepared, made, labelled, others=others, own=trained)
        print_controls(table)
        result |= table.to_dict()
        record.finish(output / RECORD_NAME, result)
    else:
        for note in prepared.warnings:
            warn(note)
        if score:
            say("Not scored: no labelled rows were given. Use --eval FILE here, or prompt-hub eval later.")
    say(f"{made.metadata.describe()}, {made.prompt_len} rows, saved in {output}.")
    if as_json:
        print_json(result)


def _fit(found: Distilled) -> str:
    before, nearest = found.curve[0][1], found.constant
    return (
        f"On {found.held_out} texts that were held out the divergence from what was asked is "
        f"{found.divergence:.3f} (at the start {before:.3f}; one answer for every text: at best "
        f"{nearest:.3f}). The likeliest class is the one asked for on {found.agreement} of them (at the "
        f"start {found.initial_agreement})."
    )
