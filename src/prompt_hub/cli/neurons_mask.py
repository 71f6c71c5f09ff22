"""``prompt-hub neurons mask``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.atomic import check_own_folder
from prompt_hub.cli import neuron_options as n
from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, warn
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.neurons.masking import Target
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Task

CONTROLS = "Controls and other tasks"


def mask(
    prompt: Annotated[str, typer.Argument(help="Prompt folder, or owner/name on the Hub.")],
    task: o.TaskOption = None,
    ratio: Annotated[float, typer.Option(help="Share of all neurons to mask.")] = 0.2,
    ratios: Annotated[str | None, typer.Option(help="A curve instead: shares such as 0.05,0.1,0.2.")] = None,
    choices: Annotated[
        str,
        typer.Option(
            help="A list of top,random,random-active,bottom,other-task,common,specific; the last three need "
            "--other. Default: the first four, and other-task where there is --other.",
            rich_help_panel=CONTROLS,
            show_default=False,
        ),
    ] = "",
    draws: Annotated[int, typer.Option(help="Draws of each random choice.", rich_help_panel=CONTROLS)] = 3,
    other: Annotated[
        list[str] | None,
        typer.Option(help="Prompt of another task, as a control; repeatable.", rich_help_panel=CONTROLS),
    ] = None,
    on_task: Annotated[
        list[str] | None,
        typer.Option(
            help="Also score PROMPT on this task, less the rows it was trained on; repeatable.",
            rich_help_panel=CONTROLS,
        ),
    ] = None,
    on_prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Also score this prompt on its own task, under the same masks; repeatable.",
            rich_help_panel=CONTROLS,
        ),
    ] = None,
    hold_at: Annotated[
        str,
        typer.Option(help="0 masks; a number, or mean (over the task's rows under PROMPT), induces neurons."),
    ] = "0",
    value: n.ValueOption = "after",
    stack: n.StackOption = None,
    site: n.SiteOption = None,
    eval_file: Annotated[
        Path | None, typer.Option("--eval", help="Rows of the task.", rich_help_panel=o.DATA)
    ] = None,
    text_a: o.TextAOption = None,
    text_b: o.TextBOption = None,
    label: o.LabelOption = None,
    label_words: o.LabelWordsOption = None,
    data_dir: o.DataDirOption = None,
    split: Annotated[str, typer.Option(help="validation, test or train.")] = "validation",
    limit_eval: Annotated[
        int | None, typer.Option(callback=o.at_least(1), help="At most so many rows a task.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder; default runs/neurons/<hash of the prompt>.")
    ] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    batch_size: o.EvalBatchOption = 32,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Score tasks while a prompt's neurons are held at 0, beside controls. Cells done are never done again.

    Examples:

      prompt-hub neurons mask runs/sst2 --task sst2 --ratio 0.2

      prompt-hub neurons mask runs/sst2 --ratios 0.05,0.1,0.2,0.4 --other runs/qnli --on-prompt runs/qnli
    """
    from prompt_hub.evaluation.stored import fitting_encoder
    from prompt_hub.neurons.capture import sites_for
    from prompt_hub.neurons.masking import MaskingStudy
    from prompt_hub.neurons.over_rows import capture_rows
    from prompt_hub.reports.neuron_figures import draw_masking
    from prompt_hub.runs.grid import FILE as GRID_FILE
    from prompt_hub.runs.records import Record, check_record_path

    set_quiet(quiet)
    shares = _ratios(ratios) if ratios is not None else [ratio]
    others = list(other or [])
    wanted = [part.strip() for part in choices.split(",")] if choices else None
    if wanted is None:
        wanted = ["top", "random", "random-active", "bottom", *(["other-task"] if others else [])]
    columns = o.Columns(text_a, text_b, label, None, label_words)
    soft, chosen = o.stored_prompt_and_task(prompt, task, eval_file, columns, "--eval")
    targets = [_target(chosen, soft, soft, chosen, eval_file, data_dir, split, limit_eval, seed)]
    for name in on_task or []:
        also = o.task_from_options(name, None, o.Columns())
        targets.append(_target(also, soft, soft, chosen, None, data_dir, split, limit_eval, seed))
    for place in on_prompt or []:
        second, own = o.stored_prompt_and_task(place, None, None, o.Columns())
        targets.append(_target(own, second, soft, chosen, None, data_dir, split, limit_eval, seed))
    _check_names(targets)
    folder = output if output is not None else Path("runs") / "neurons" / soft.hash
    check_own_folder(folder, {"mask.json", GRID_FILE}, "a masking study")
    check_record_path(folder / "mask.json", "neurons mask")
    model = o.backbone_of(soft, backbone, revision, device, dtype)
    layers = sites_for(model, "read", stack, site)
    values = n.capture_all(model, [soft, *n.load_all(others)], layers, "read", value, layout, force)
    held: Any
    if hold_at == "mean":
        encoder, _ = fitting_encoder(model, soft, chosen, layout, force)
        held = capture_rows(
            encoder, soft.embeddings, targets[0].rows, sites=layers, batch_size=batch_size
        ).mean
    else:
        held = _number(hold_at)
    study = MaskingStudy(
        model, layers, values[0], targets, shares, wanted,
        others=dict(zip(n.short_names(others), values[1:], strict=True)), draws=draws, to=held, seed=seed,
        batch_size=batch_size, layout=layout, force=force,
    )  # fmt: skip
    record = Record(
        "neurons mask",
        {
            "prompt": prompt, "prompt_hash": soft.hash, "backbone": model.name, "task": chosen.name,
            "ratios": shares, "choices": wanted, "draws": draws, "others": others, "hold_at": hold_at,
            "value": value, "stack": layers[0].stack, "seed": seed, "limit_eval": limit_eval,
        },
    )  # fmt: skip
    for done, total, cell in study.run(folder):
        share = f" {cell['ratio']:.0%}" if cell["ratio"] else ""
        say(f"{done}/{total} {cell['target']}, {cell['choice']}{share}: {cell['metric']} {cell['score']:.3f}")
    result = study.summary(study.results(folder))
    record.finish(folder / "mask.json", result)
    draw_masking(result, folder / "mask.png")
    _show(result)
    say(f"Record and figure: {folder / 'mask.json'}, {folder / 'mask.png'}.")
    if as_json:
        print_json({**record.settings, **result, "path": str(folder / "mask.json")})


def _ratios(text: str) -> list[float]:
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise UserError(f"--ratios must be numbers such as 0.05,0.1,0.2, not {text!r}.") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--hold-at must be a number or mean, not {text!r}.") from None


def _target(
    task: Task,
    used: SoftPrompt,
    masked: SoftPrompt,
    masked_task: Task,
    file: Path | None,
    data_dir: Path | None,
    split: str,
    limit: int | None,
    seed: int,
) -> Target:
    """used: the prompt that is scored on the task. masked: the one whose neurons are masked."""
    from prompt_hub.evaluation.pairs import same_type
    from prompt_hub.neurons.masking import Target

    rows = o.rows_from_options(task, split, file, data_dir, limit, seed)
    if used is masked and (masked.metadata.task or task.name) == task.name:
        relation = "own"
    else:
        relation = "same type" if same_type(masked_task, task) else "other"
    name = task.name if used is masked else f"{task.name}, own prompt"
    return Target(name, used, task, rows, relation)


def _check_names(targets: Sequence[Target]) -> None:
    names = [target.name for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{twice!r} is named twice among --task, --on-task and --on-prompt. Name it once.")


def _show(result: dict[str, Any]) -> None:
    """A table a target."""
    share = result["active"] / result["neurons"]
    say(f"{result['active']} of {result['neurons']} neurons are active under the prompt alone ({share:.1%}).")
    for target in result["targets"]:
        unmasked = next(cell for cell in result["cells"] if cell["target"] == target)
        low, high = unmasked["ci95"]
        body: list[list[Any]] = [["none", "", f"{unmasked['score']:.3f}", f"{low:.3f} to {high:.3f}", "", ""]]
        for group in result["summary"]:
            if group["target"] == target:
                low, high = group["interval"]
                body.append([
                    group["choice"], f"{group['ratio']:.3g}", f"{group['mean']:.3f}",
                    f"{low:.3f} to {high:.3f}", len(group["scores"]), f"{group['active']:.0f}",
                ])  # fmt: skip
        columns = ["held", "share", unmasked["metric"], "95% interval", "draws", "active"]
        print_table(f"{target} ({unmasked['relation']}, n = {unmasked['n']})", columns, body)
        for message in unmasked["warnings"]:
            warn(f"{target}: {message}")
