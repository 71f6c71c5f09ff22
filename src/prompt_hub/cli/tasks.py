"""``prompt-hub tasks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout
from prompt_hub.errors import UserError

app = typer.Typer(no_args_is_help=True, help="The tasks that are known, and your own.")


@app.command("ls")
def list_tasks(as_json: o.JsonOption = False) -> None:
    """List the tasks."""
    from prompt_hub.tasks import list_tasks as registered

    tasks = registered()
    if as_json:
        keys = ("name", "type", "kind", "description")
        print_json(
            {
                "tasks": [
                    {
                        **{key: getattr(task, key) for key in keys},
                        "classes": task.classes,
                        "metrics": task.metrics,
                        "paper": task.paper,
                        "aliases": task.aliases,
                        "generated": bool(task.generator),
                    }
                    for task in tasks
                ]
            }
        )
        return
    rows = [[task.name, task.type, ", ".join(task.classes) or task.kind, task.description] for task in tasks]
    print_table("Tasks", ["name", "type", "classes", "what it asks"], rows, stdout)


@app.command("show")
def show(
    task: Annotated[str, typer.Argument(help="Name, alias or YAML file.")], as_json: o.JsonOption = False
) -> None:
    """Show one task as data: a YAML file of your own has the same form."""
    import yaml

    from prompt_hub.tasks import get_task

    found = get_task(task)
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(yaml.safe_dump(found.to_dict(), sort_keys=False, allow_unicode=True), nl=False)


@app.command("validate")
def validate(
    file: Annotated[Path, typer.Argument(help="A task file in YAML.")], as_json: o.JsonOption = False
) -> None:
    """Say everything that is wrong with a task file."""
    from prompt_hub.tasks import load_task_file
    from prompt_hub.tasks.registry import task_file_problems

    problems = task_file_problems(file)
    if as_json:
        print_json({"file": str(file), "valid": not problems, "problems": problems})
    if problems:
        raise UserError(f"{file} is not a valid task:\n" + "\n".join(f"- {problem}" for problem in problems))
    say(f"{file} is a valid task: {load_task_file(file).name}.")
