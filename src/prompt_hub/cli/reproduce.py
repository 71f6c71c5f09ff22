"""``prompt-hub reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout
from prompt_hub.errors import UserError


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(
            help="zero-shot, warm-start, projector, indicators, neurons, or a recipe's .yaml file."
        ),
    ] = None,
    scale: Annotated[
        str, typer.Option(help="mini (embedded, minutes), smollm (an hour or so) or paper (GPU, Hub).")
    ] = "mini",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default runs/reproduce/<scale>.")
    ] = None,
    data_dir: o.DataDirOption = None,
    device: o.DeviceOption = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands, and stop.")] = False,
    as_json: o.JsonOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show what a command says only if it fails.")
    ] = False,
) -> None:
    """Run an experiment of the paper: its commands, one after another. Without a name: list them.

    The same command again goes on where it was interrupted. Recipes that need the same matrix share it.

    Examples:

      prompt-hub reproduce zero-shot --scale mini

      prompt-hub reproduce warm-start --scale smollm --data-dir data --dry-run
    """
    from prompt_hub.experiments import commands, load_recipe, recipe_names, run_commands
    from prompt_hub.experiments.recipe import scale_about
    from prompt_hub.experiments.run import shown

    if name is None:
        recipes = [load_recipe(each) for each in recipe_names()]
        if as_json:
            print_json({"recipes": [{"name": r.name, "title": r.title, "claim": r.claim} for r in recipes]})
            return
        print_table("Experiments", ["name", "claim"], [[r.name, r.claim] for r in recipes], stdout)
        return
    recipe = load_recipe(name)
    about = scale_about(scale)
    folder = output if output is not None else Path("runs") / "reproduce" / scale
    if folder.is_file():
        raise UserError(f"--output {folder} is a file. Name a folder.")
    given = {
        "out": str(folder),
        "data": {} if data_dir is None else {"data-dir": str(data_dir)},
        "device": {} if device == "auto" else {"device": device},
    }
    steps = commands(recipe, scale, given)
    asked = {"recipe": recipe.name, "scale": scale, "output": str(folder)}
    if dry_run:
        if as_json:
            print_json({**asked, "commands": [shown(step) for step in steps]})
            return
        for step in steps:
            typer.echo(shown(step))
        return
    o.check_writable(folder)
    say(f"{recipe.title}. {recipe.claim}")
    say(f"Scale {scale}: {about}. {len(steps)} commands.")

    def note(number: int, command: str, earlier: bool) -> None:
        say(f"[{number + 1}/{len(steps)}] {'Done before: ' if earlier else ''}{command}")

    done = run_commands(recipe.name, scale, steps, folder / f"{recipe.name}.json", quiet=quiet, note=note)
    say(f"Results in {folder} ({sum(step.seconds for step in done):.0f} s in all).")
    if as_json:
        steps_done = [{"command": s.command, "seconds": s.seconds, "earlier": s.earlier} for s in done]
        print_json({**asked, "steps": steps_done})
