"""``prompt-hub project``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.controls_table import print_controls
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.cli.project_collapse import collapse
from prompt_hub.cli.project_distil import distil
from prompt_hub.cli.project_train import train
from prompt_hub.cli.saving import check_new_folder
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.transfer.cross_model.base import CrossModelMap

app = typer.Typer(no_args_is_help=True, help="Prompts of one backbone brought to another one.")
app.command("train")(train)
app.command("distil")(distil)
app.command("collapse")(collapse)

SourceOption = Annotated[str, typer.Option("--source-backbone", help="The backbone that the prompts are of.")]
MapArgument = Annotated[Path, typer.Argument(help="Folder of a map.")]
LengthOption = Annotated[
    int | None,
    typer.Option(
        help="Rows of the new prompt, evenly spaced over what the map gives (left out, or standing twice); "
        "default: what the map gives."
    ),
]


@app.command("fit")
def fit(
    source_backbone: SourceOption,
    target_backbone: Annotated[str, typer.Option(help="The backbone that they are to be for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the map's folder goes.")],
    method: Annotated[
        str,
        typer.Option(help="nearest, least-squares, ridge, procrustes, combination or relative."),
    ] = "procrustes",
    scale: Annotated[
        str,
        typer.Option(
            help="Norm of the result: relative (as large beside the target's tokens as the prompt beside the "
            "source's), tokens (every row as a token), none (as the method gives it)."
        ),
    ] = "relative",
    max_tokens: Annotated[
        int,
        typer.Option(
            callback=o.at_least(1),
            help="At most so many shared tokens, the first of the source's vocabulary.",
        ),
    ] = 8192,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
) -> None:
    """Fit a map from the tokens that both vocabularies share, without training.

    Example:

      prompt-hub project fit --source-backbone mini-bert --target-backbone mini-gpt2 -o runs/map
    """
    from prompt_hub.backbones import load_backbone
    from prompt_hub.transfer.cross_model.base import MAP_NAME, check_scale, method_named
    from prompt_hub.transfer.cross_model.fit import fit_map

    method_named(method)
    check_scale(scale)
    if (output / MAP_NAME).exists():
        raise UserError(f"{output} already holds a map. Choose another --output.")
    o.check_result_folder(output, MAP_NAME, "a map")
    source = load_backbone(source_backbone, device=device, dtype=dtype)
    target = load_backbone(target_backbone, device=device, dtype=dtype)
    made = fit_map(source, target, method, scale=scale, max_tokens=max_tokens, seed=seed)
    made.save_pretrained(output)
    _print_check(made)
    say(
        f"{made.describe()}, from {made.tokens['used']:,} of {made.tokens['shared']:,} shared tokens, "
        f"{made.bytes / 2**20:.1f} MB, saved in {output}."
    )
    if as_json:
        print_json({"path": str(output), **made.to_dict()})


@app.command("apply")
def apply(
    map_folder: MapArgument,
    prompt: Annotated[str, typer.Argument(help="Prompt of the map's source: folder, file, or owner/name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the new prompt folder goes.")],
    target_backbone: Annotated[
        str | None, typer.Option(help="Refuse the map if it is not for this backbone.")
    ] = None,
    target_length: LengthOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Bring a prompt to the map's target backbone.

    Example:

      prompt-hub project apply runs/map runs/sst2 -o runs/sst2-projected
    """
    from prompt_hub.backbones import load_backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.transfer.cross_model.base import CrossModelMap
    from prompt_hub.transfer.cross_model.lengths import check_length, resized

    check_new_folder(output)
    if target_length is not None:
        check_length(target_length)
    found = CrossModelMap.from_pretrained(map_folder)
    given = SoftPrompt.from_pretrained(prompt)
    if target_backbone is not None:
        found.check_target(load_backbone(target_backbone).identity)
    notes = [*found.warnings, *found.check_source(given)]
    if given.train_rows is None:
        notes.append("The prompt does not say which rows it was trained on, so neither does the new one.")
    made = found.apply(given)
    if target_length is not None:
        made = resized(made, target_length)
    made.save_pretrained(output)
    for note in notes:
        warn(note)
    say(f"{made.metadata.describe()}, {made.prompt_len} rows, by a {found.describe()}, saved in {output}.")
    if as_json:
        parent = made.metadata.parent
        print_json({"path": str(output), "hash": made.hash, "parent": parent, "warnings": notes})


@app.command("eval")
def evaluate(
    map_folder: MapArgument,
    prompt: Annotated[str, typer.Argument(help="Prompt of the map's source: folder, file, or owner/name.")],
    task: o.TaskOption = None,
    eval_file: Annotated[
        Path | None, typer.Option("--eval", help="Your rows.", rich_help_panel=o.DATA)
    ] = None,
    data_dir: o.DataDirOption = None,
    split: Annotated[str, typer.Option(help="validation, test or train.")] = "validation",
    limit_eval: Annotated[
        int | None, typer.Option(callback=o.at_least(1), help="At most so many rows.")
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(help="Prompt of the source for another task, as a control; may be repeated."),
    ] = None,
    own: Annotated[str | None, typer.Option(help="Prompt trained on the target, for comparison.")] = None,
    target_length: LengthOption = None,
    batch_size: o.EvalBatchOption = 32,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Score a projected prompt on the target, beside the controls that tell whether the source matters.

    Example:

      prompt-hub project eval runs/map runs/film --other runs/news --own runs/film-on-target
    """
    from prompt_hub.backbones import load_backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.transfer.cross_model.base import CrossModelMap
    from prompt_hub.transfer.cross_model.controls import evaluate_projected, other_sources
    from prompt_hub.transfer.cross_model.lengths import check_length

    set_quiet(quiet)
    if target_length is not None:
        check_length(target_length)
    found = CrossModelMap.from_pretrained(map_folder)
    given, chosen = o.stored_prompt_and_task(prompt, task, eval_file, o.Columns(), "--eval")
    found.check_source(given)
    others = other_sources(other or [], given)
    trained = SoftPrompt.from_pretrained(own) if own is not None else None
    rows = o.rows_from_options(chosen, split, eval_file, data_dir, limit_eval, seed)
    backbone = load_backbone(found.target.name, revision=found.target.revision, device=device, dtype=dtype)
    result = evaluate_projected(
        found,
        given,
        backbone,
        chosen,
        rows,
        others=others,
        own=trained,
        target_length=target_length,
        batch_size=batch_size,
        seed=seed,
    )
    print_controls(result, found.warnings)
    if as_json:
        about = {"map": found.hash, "method": found.method, "prompt_hash": given.hash}
        print_json({**about, "command": list(sys.argv), **result.to_dict()})


@app.command("ls")
def list_maps(
    folder: Annotated[Path, typer.Argument(help="Folder to look in.")] = Path("."),
    as_json: o.JsonOption = False,
) -> None:
    """List the maps below a folder."""
    from prompt_hub.transfer.cross_model.base import find_maps

    rows: list[list[Any]] = []
    listed: list[dict[str, Any]] = []
    for place, found in find_maps(folder).items():
        if isinstance(found, str):
            warn(f"{place}: {found}")
            listed.append({"path": str(place), "error": found})
            continue
        sides = [found.source.name, found.target.name]
        rows.append([place, *sides, found.method, f"{found.bytes / 2**20:.1f} MB"])
        listed.append({"path": str(place), **found.to_dict()})
    if as_json:
        print_json({"maps": listed})
    elif rows:
        print_table("Maps", ["folder", "from", "to", "method", "size"], rows, stdout)
    else:
        say(f"No maps below {folder}. Make one: prompt-hub project fit --help")


@app.command("show")
def show(map_folder: MapArgument, as_json: o.JsonOption = False) -> None:
    """Show what is known about one map."""
    import json

    from prompt_hub.transfer.cross_model.base import CrossModelMap

    found = CrossModelMap.from_pretrained(map_folder).to_dict()
    if as_json:
        print_json(found)
    else:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _print_check(made: CrossModelMap) -> None:
    """How the map carries tokens that were held out, its controls below."""
    if made.metrics:
        own = made.metrics["held_out_tokens"]
        named = {"the map": own, "tokens paired at random": made.controls["shuffled_pairs"]}
        named["mean token, whatever the input"] = made.controls["mean_token"]
        rows = [[name, f"{one['cosine']:.3f}", f"{one['top1']:.3f}"] for name, one in named.items()]
        print_table(f"Held-out tokens (n = {own['n']})", ["", "cosine", "nearest is right"], rows)
        low, high = own["above_controls"]["ci95"]
        mean = own["above_controls"]["mean"]
        say(f"Cosine above the better control: {mean:.3f} (95% interval {low:.3f} to {high:.3f}).")
    for note in made.warnings:
        warn(note)
