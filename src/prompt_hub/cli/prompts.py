"""``prompt-hub prompts``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.cli.prompts_shared import publish, pull, push, search
from prompt_hub.cli.saving import check_free, check_new_folder, folders_named, save_where_free
from prompt_hub.errors import UserError, unknown_name

app = typer.Typer(no_args_is_help=True, help="Stored prompts: list, show, import, export, share.")
app.command("push")(push)
app.command("pull")(pull)
app.command("search")(search)
app.command("publish")(publish)


@app.command("ls")
def list_prompts(
    folder: Annotated[Path, typer.Argument(help="Folder to look in.")] = Path("."),
    as_json: o.JsonOption = False,
) -> None:
    """List the prompts below a folder."""
    from prompt_hub.prompts.store import find_prompts

    entries = find_prompts(folder)
    rows, found = [], []
    for entry in entries:
        if entry.metadata is None:
            warn(f"{entry.path}: {entry.error}")
            found.append({"path": str(entry.path), "error": entry.error})
            continue
        known = entry.metadata
        size = f"{known.prompt_len} x {known.hidden}"
        rows.append([entry.path, known.task or "-", known.backbone_name or "-", size, known.layout or "-"])
        found.append({"path": str(entry.path), **known.to_dict()})
    if as_json:
        print_json({"prompts": found})
    elif rows:
        print_table("Prompts", ["folder", "task", "backbone", "rows x width", "layout"], rows, stdout)
    else:
        say(f"No prompts below {folder}. Train one: prompt-hub train --help")


@app.command("show")
def show(
    prompt: Annotated[str, typer.Argument(help="Prompt folder, file of another format, or owner/name.")],
    as_json: o.JsonOption = False,
) -> None:
    """Show what is known about one prompt."""
    import json

    from prompt_hub.prompts.soft_prompt import SoftPrompt

    soft = SoftPrompt.from_pretrained(prompt)
    rows = soft.embeddings.norm(dim=1)
    data: dict[str, Any] = {
        **soft.metadata.to_dict(),
        "dead_rows": list(soft.metadata.dead_rows),
        "norms": {"frobenius": float(soft.embeddings.norm()), "row_mean": float(rows.mean())},
    }
    if as_json:
        print_json(data)
        return
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="task_prompt file, .npy, .npz, PEFT folder, or a folder of such.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the prompt folder(s) go.")],
    backbone: Annotated[str | None, typer.Option(help="The backbone they belong to.")] = None,
    family: Annotated[str | None, typer.Option(help="masked_lm, causal_lm or seq2seq_lm.")] = None,
    task: Annotated[str | None, typer.Option(help="The task they were trained on.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="The layout they were trained with, such as paper.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only this one of several.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Bring in prompts of other programs (no code in them is run).

    Examples:

      prompt-hub prompts import prompt.npy --output runs/imported --backbone roberta-base --family masked_lm

      prompt-hub prompts import task_prompt_emb --layout paper --output runs/paper
    """
    from prompt_hub.backbones.base import FAMILIES
    from prompt_hub.encoding.layouts import known_layouts
    from prompt_hub.prompts.formats import import_prompt, import_prompts

    if family is not None and family not in FAMILIES:
        raise unknown_name("family", family, FAMILIES)
    if layout is not None and layout not in known_layouts():
        raise unknown_name("layout", layout, known_layouts())
    known = {"backbone_name": backbone, "family": family, "task": task, "layout": layout}
    failures: dict[str, str] = {}
    if key is not None:
        prompts = {key: import_prompt(source, key=key, **known)}
    else:
        prompts = import_prompts(source, **known, failures=failures)
    written: list[dict[str, Any]] = []
    first: dict[str, str] = {}
    alone = len(prompts) + len(failures) == 1
    folders = dict.fromkeys(prompts, output) if alone else folders_named(prompts, output)
    for name, prompt in prompts.items():
        check_free(prompt, folders[name])
    for name, prompt in prompts.items():
        twin = first.setdefault(prompt.hash, name)
        entry = save_where_free(prompt, folders[name], "" if twin == name else twin)
        written.append(entry if twin == name else {**entry, "same_as": twin})
    for name, reason in failures.items():
        warn(f"{name}: {reason}")
    if as_json:
        print_json({"prompts": written, "failures": failures})
    if failures:
        raise UserError(
            f"{len(failures)} of {len(failures) + len(prompts)} files could not be read: "
            f"{', '.join(failures)}. The others were imported."
        )


@app.command("export")
def export(
    prompt: Annotated[str, typer.Argument(help="Prompt folder, or owner/name on the Hub.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File or folder to write.")],
    format: Annotated[str, typer.Option("--format", help="peft, npy or vllm.")] = "peft",
    as_json: o.JsonOption = False,
) -> None:
    """Write a prompt for another program."""
    from prompt_hub.prompts.formats import export_prompt
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    written = export_prompt(SoftPrompt.from_pretrained(prompt), format, output)
    say(f"Written to {written}.")
    if as_json:
        print_json({"path": str(written), "format": format})


@app.command("combine")
def combine(
    prompts: Annotated[list[str], typer.Argument(help="Prompt folders, files, or owner/name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the new prompt folder goes.")],
    weights: Annotated[
        str | None,
        typer.Option(help="One a prompt, with commas between; default: the average, of task vectors 1 each."),
    ] = None,
    task_vector: Annotated[
        bool, typer.Option("--task-vector", help="Add what training changed, not the prompts themselves.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(help="What task vectors are added to; default: the initial prompt of the first."),
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Make a prompt from several: an average, a weighted sum, or a sum of task vectors.

    Examples:

      prompt-hub prompts combine runs/imdb runs/sst2 --weights 0.5,0.5 -o runs/mean

      prompt-hub prompts combine runs/imdb runs/mnli --weights 1,-0.5 --task-vector -o runs/vectors
    """
    from prompt_hub.prompts.arithmetic import add_task_vectors, weighted_sum
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    if base is not None and not task_vector:
        raise UserError(
            "--base is what task vectors are added to: give --task-vector with it, or leave it out."
        )
    check_new_folder(output)
    numbers = None if weights is None else _numbers(weights)
    parents = [SoftPrompt.from_pretrained(place) for place in prompts]
    if task_vector:
        start = SoftPrompt.from_pretrained(base) if base is not None else None
        made = add_task_vectors(parents, numbers, start)
    else:
        made = weighted_sum(parents, numbers)
    made.save_pretrained(output)
    if made.train_rows is None:
        warn("One of the prompts does not say which rows it was trained on, so neither does the new one.")
    say(
        f"{made.metadata.describe()}, {made.prompt_len} rows, from {len(parents)} prompts, saved in {output}."
    )
    if as_json:
        print_json({"path": str(output), "hash": made.hash, "parent": made.metadata.parent})


def _numbers(given: str) -> list[float]:
    try:
        return [float(part) for part in given.split(",")]
    except ValueError:
        raise UserError(
            f"--weights {given!r} must be numbers with commas between, such as 0.5,0.5."
        ) from None
