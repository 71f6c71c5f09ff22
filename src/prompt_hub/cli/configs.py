"""``prompt-hub configs``."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from prompt_hub.cli import options as o
from prompt_hub.cli import train as training
from prompt_hub.cli import training_options as t
from prompt_hub.cli.config_file import option_names
from prompt_hub.cli.output import print_json, say
from prompt_hub.errors import UserError, unknown_name

FORMATS = ("yaml", "json")


def configs(
    backbones: Annotated[str, typer.Option(help="Backbones, with commas between.")],
    tasks: Annotated[str, typer.Option(help="Tasks, with commas between.")],
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "42",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of train for all of them, such as prompt-len=100; repeatable."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where the prompts are to go.")] = Path("runs"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the files.")] = Path("configs"),
    format: Annotated[str, typer.Option("--format", help="yaml or json.")] = "yaml",
    as_json: o.JsonOption = False,
) -> None:
    """Write a file of training options for every backbone, task and seed; train --config takes them.

    Examples:

      prompt-hub configs --backbones roberta-base,roberta-large --tasks sst2,mnli --seeds 42,87,21
      --set prompt-len=100 --set lr=5e-4

      for file in configs/*/*.yaml; do prompt-hub train --config "$file" --resume; done
    """
    from prompt_hub.runs.records import write_json
    from prompt_hub.tasks import get_task

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    names, numbers = o.listed(backbones), t.seeds_from(seeds)
    chosen = [get_task(name).name for name in o.listed(tasks)]
    if not (names and chosen and numbers):
        raise UserError("Name at least one of each: --backbones, --tasks, --seeds.")
    common = _settings(settings or [])
    o.check_writable(output)
    written = []
    for backbone, task, seed in product(names, chosen, numbers):
        folder, name = _as_folder(backbone), _as_folder(task)
        place = runs / folder / f"{name}_{seed}"
        options = {"backbone": backbone, "task": task, "seed": seed, **common, "output": place.as_posix()}
        path = output / folder / f"{name}_{seed}.{format}"
        if format == "json":
            write_json(path, options)
        else:
            _write_yaml(path, options)
        written.append(str(path))
    say(f"{len(written)} files in {output}.")
    say(f"Next: prompt-hub train --config {written[0]}")
    if as_json:
        print_json({"output": str(output), "files": written})


def _settings(given: list[str]) -> dict[str, Any]:
    """``prompt-len=100`` as an option of train and its value, a number where it is one."""
    names = option_names(_train_parameters())
    found: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        key = name.strip().lstrip("-").replace("-", "_")
        if not sign or not value.strip():
            raise UserError(f"--set {one!r} must be OPTION=VALUE, such as prompt-len=100.")
        if key not in names:
            raise unknown_name("option of train", name.strip(), names)
        if names[key] in ("backbone", "task", "seed", "output"):
            raise UserError(
                f"--set {one!r}: the files differ in it. Use --backbones, --tasks, --seeds, --runs."
            )
        found[key] = _number(value.strip())
    return found


def _train_parameters() -> list[Any]:
    app = typer.Typer()
    app.command()(training.train)
    return list(typer.main.get_command(app).params)


def _number(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (int, float, bool)) else text


def _write_yaml(path: Path, options: dict[str, Any]) -> None:
    from prompt_hub.atomic import write_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, yaml.safe_dump(options, sort_keys=False).encode())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose another --output.") from None


def _as_folder(name: str) -> str:
    return name.strip("/.").replace("/", "--")
