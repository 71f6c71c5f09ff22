"""``prompt-hub prompts push``, ``pull``, ``search`` and ``publish``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.cli.saving import save_where_free
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.prompts.published import Index


def push(
    prompt: Annotated[str, typer.Argument(help="Prompt folder, or file of another format.")],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub; made if it is missing.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Of a new repository; default: the owner's.")
    ] = None,
    without_rows: Annotated[
        bool, typer.Option("--without-rows", help="Leave out the hashes of the training rows.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the model card.")] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Upload a prompt to the Hugging Face Hub, with a model card.

    The token is the one of `hf auth login`, or $HF_TOKEN.

    Examples:

      prompt-hub prompts push runs/sst2 me/sst2-smollm2 --dry-run

      prompt-hub prompts push runs/sst2 me/sst2-smollm2 --private
    """
    from prompt_hub.prompts.model_card import model_card
    from prompt_hub.prompts.on_the_hub import check_id
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    check_id(repo_id)
    soft = SoftPrompt.from_pretrained(prompt)
    if without_rows:
        soft.train_rows = None
    url = None
    if dry_run:
        if not as_json:
            typer.echo(model_card(soft.metadata, repo_id), nl=False)
    else:
        url = soft.push_to_hub(repo_id, private)
        say(f"{soft.metadata.describe()} is at {url}. Others get it with: prompt-hub prompts pull {repo_id}")
    if as_json:
        print_json({"repo_id": repo_id, "url": url, "hash": soft.hash, "dry_run": dry_run})


def pull(
    source: Annotated[
        str, typer.Argument(help="owner/name on the Hub, or a collection: https://..., or its folder.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the prompt folder(s) go; default runs/<name>."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Prompt(s) of a collection, with commas between; default: its only one."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All prompts of a collection.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Get a prompt from the Hub, or from a collection that a web server or folder holds.

    Examples:

      prompt-hub prompts pull me/sst2-smollm2

      prompt-hub prompts pull https://prompts.example.org/mood --name sst2,imdb --output runs
    """
    from prompt_hub.prompts.on_the_hub import HUB_ID
    from prompt_hub.prompts.published import is_collection, read_index
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    if is_collection(source):
        if revision is not None:
            raise UserError(f"A collection has no revisions. Leave --revision {revision} out.")
        written = _pull_from(read_index(source), name, all_, output)
    elif name is not None or all_:
        raise UserError(
            f"--name and --all choose from a collection, and {source!r} is none: that is https://... or a "
            "folder with an index.json (written by: prompt-hub prompts publish)."
        )
    elif not HUB_ID.fullmatch(source) or Path(source).exists():
        raise UserError(
            f"{source!r} is neither owner/name on the Hub nor a collection (https://..., or a folder with an "
            "index.json). A prompt folder on this disk needs no pulling."
        )
    else:
        folder = output if output is not None else Path("runs") / source.split("/")[1]
        written = [save_where_free(SoftPrompt.from_pretrained(source, revision=revision), folder)]
    if as_json:
        print_json({"source": source, "prompts": written})


def _pull_from(index: Index, name: str | None, all_: bool, output: Path | None) -> list[dict[str, Any]]:
    if name is not None and all_:
        raise UserError("Either --name or --all, not both.")
    names = list(index.items) if all_ or len(index.items) == 1 else []
    if name is not None:
        names = [part.strip() for part in name.split(",") if part.strip()]
    if not names:
        some = ", ".join(list(index.items)[:20]) or "none"
        raise UserError(
            f"{index.place} holds {len(index.items)} prompts: choose with --name, or --all. They are: {some}."
        )
    root = output if output is not None else Path("runs")
    single = output is not None and len(names) == 1 and not all_
    return [save_where_free(index.fetch(each), root if single else root / each) for each in names]


def search(
    query: Annotated[str | None, typer.Argument(help="Words of the name.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only prompts of this backbone.")] = None,
    task: Annotated[str | None, typer.Option(help="Only prompts of this task.")] = None,
    author: Annotated[str | None, typer.Option(help="Only this owner's, on the Hub.")] = None,
    place: Annotated[
        str | None, typer.Option("--in", help="A collection instead of the Hub: https://..., or its folder.")
    ] = None,
    peft: Annotated[bool, typer.Option("--peft", help="On the Hub also prompts that PEFT trained.")] = False,
    limit: Annotated[int, typer.Option(callback=o.at_least(1), help="At most so many.")] = 20,
    as_json: o.JsonOption = False,
) -> None:
    """Find prompts on the Hub, or in a collection.

    Examples:

      prompt-hub prompts search sentiment --backbone roberta-base

      prompt-hub prompts search --in https://prompts.example.org/mood --task sst2
    """
    from prompt_hub.prompts.on_the_hub import search_hub
    from prompt_hub.prompts.published import read_index

    if place is not None:
        if author is not None or peft:
            raise UserError("--author and --peft are for the Hub; leave them out with --in.")
        items = read_index(place).search(query, backbone, task)[:limit]
        found = [item.facts() for item in items]
        rows = [[one.name, one.task or "-", one.backbone or "-", f"{one.prompt_len} rows"] for one in items]
        columns = ["name", "task", "backbone", "size"]
    else:
        results = search_hub(query, backbone, author, limit, peft, task)
        found = [one.to_dict() for one in results]
        rows = [[one.repo_id, one.task or "-", one.backbone or "-", str(one.downloads)] for one in results]
        columns = ["repository", "task", "backbone", "downloads"]
    if as_json:
        print_json({"place": place or "hub", "prompts": found})
    elif rows:
        print_table("Prompts", columns, rows, stdout)
        first = rows[0][0] if place is None else f"{place} --name {rows[0][0]}"
        say(f"Get one: prompt-hub prompts pull {first}")
    else:
        say("Nothing found. Fewer words, another --backbone, or --peft for prompts of other programs.")


def publish(
    folder: Annotated[Path, typer.Argument(help="Folder with prompt folders in it.")],
    as_json: o.JsonOption = False,
) -> None:
    """Write the index.json that makes a folder of prompts a collection, for any web server to serve.

    Examples:

      prompt-hub prompts publish runs

      prompt-hub prompts search --in runs
    """
    from prompt_hub.prompts.published import INDEX_NAME, publish

    index, left_out = publish(folder)
    for place, reason in left_out.items():
        warn(f"{place} is left out: {reason}")
    say(
        f"{folder / INDEX_NAME} lists {len(index.items)} prompts. Put the folder on any web server; "
        "others get them with: prompt-hub prompts pull https://... --name NAME"
    )
    if as_json:
        prompts = [item.facts() for item in index.items.values()]
        print_json({"path": str(folder / INDEX_NAME), "prompts": prompts, "left_out": left_out})
