"""``prompt-hub data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet, track

if TYPE_CHECKING:
    from prompt_hub.tasks import Task
    from prompt_hub.tasks.download import Downloaded

app = typer.Typer(no_args_is_help=True, help="The rows of tasks.")


@app.callback()
def data() -> None:
    """The rows of tasks."""


@app.command("download")
def download(
    data_dir: Annotated[Path, typer.Option(help="Folder to fill: <task>/{train,validation}.jsonl.")],
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks, with commas between, or paper (its 17). Default: all on the Hub."),
    ] = None,
    splits: Annotated[str, typer.Option(help="Splits, with commas between.")] = "train,validation",
    mirror: Annotated[
        Path | None,
        typer.Option("--from", help="A copy of the Hub's data sets, <owner>/<name> below it."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fetch also what is there.")] = False,
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Fetch tasks' rows from the Hub into a folder that --data-dir takes everywhere. What is there is kept.

    Examples:

      prompt-hub data download --tasks sst2,rotten_tomatoes --data-dir data

      prompt-hub data download --tasks paper --data-dir data --from /mnt/hub-copy
    """
    from prompt_hub.tasks.download import download_split, downloadable
    from prompt_hub.tasks.sources import SPLITS

    set_quiet(quiet)
    wanted = o.listed(splits)
    unknown = [split for split in wanted if split not in SPLITS]
    if unknown or not wanted:
        raise UserError(f"--splits {splits!r} must name some of {', '.join(SPLITS)}, with commas between.")
    if mirror is not None and not mirror.is_dir():
        raise UserError(f"--from {mirror} is no folder. It must hold data sets as <owner>/<name>.")
    o.check_writable(data_dir)
    pieces = [(task, split) for task in _chosen(tasks) for split in downloadable(task, wanted)]
    done = [
        download_split(task, split, data_dir, mirror=mirror, overwrite=overwrite)
        for task, split in track(pieces, "Data", len(pieces))
    ]
    if as_json:
        print_json({"data_dir": str(data_dir), "splits": [_row(each) for each in done]})
    else:
        rows = [[each.task, each.split, each.status, _count(each)] for each in done]
        print_table(f"Rows in {data_dir}", ["task", "split", "", "rows"], rows, stdout)
    failed = [each for each in done if each.error]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(done)} splits could not be had. First: {failed[0].error}\nWhat was "
            "written is kept: the same command fetches the rest. Without a network: --from FOLDER."
        )
    say(f"Next: prompt-hub train --backbone smollm2-135m --task {done[0].task} --data-dir {data_dir}")


def _chosen(names: str | None) -> list[Task]:
    from prompt_hub.tasks import get_task, list_tasks

    if names is None:
        return [task for task in list_tasks() if task.hub is not None]
    if names == "paper":
        return [task for task in list_tasks() if task.paper]
    found = [get_task(name) for name in o.listed(names)]
    if not found:
        raise UserError("--tasks names none. Example: --tasks sst2,mnli (see: prompt-hub tasks ls).")
    for task in found:
        if task.generator:
            raise UserError(f"Task {task.name!r} needs no download: its rows are generated.")
        if task.hub is None:
            raise UserError(f"Task {task.name!r} has no place on the Hub: bring its rows yourself.")
    return found


def _count(each: Downloaded) -> str:
    if each.n is None:
        return ""
    return f"{each.n}" + (f" ({each.dropped} left out)" if each.dropped else "")


def _row(each: Downloaded) -> dict[str, object]:
    return {
        "task": each.task, "split": each.split, "status": each.status, "path": str(each.path), "n": each.n,
        "dropped": each.dropped, "fingerprint": each.fingerprint, "error": each.error,
    }  # fmt: skip
