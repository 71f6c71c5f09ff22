"""``prompt-hub quickstart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_evaluation, print_json, say
from prompt_hub.progress import set_quiet


def quickstart(
    backbone: Annotated[str, typer.Option(help="Hub id, local folder, .gguf file, or smollm2-135m.")] = (
        "smollm2-135m"
    ),
    output: Annotated[Path, typer.Option(help="Folder for the prompt, the figure and the numbers.")] = Path(
        "runs/quickstart"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 40,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Train a prompt on made-up film reviews and use it on kitchen-tool reviews: a minute or two."""
    from prompt_hub.quickstart import run_quickstart

    set_quiet(quiet)
    o.check_folder(output / "film", overwrite=(output / "quickstart.json").exists())
    say(f"Training a soft prompt for {backbone} on made-up film reviews ({steps} steps) ...")
    results = run_quickstart(backbone, output, steps=steps, seed=seed, device=device)
    print_evaluation({**results["film"], "diagnosis": results["diagnosis"]})
    print_evaluation(results["kitchen"])
    say(f"Figure: {results['figure']}    Prompt: {results['prompt']}")
    say("Next, with your own data:")
    say(f"  echo 'the soup is excellent .' | prompt-hub predict {results['prompt']}")
    say(f"  prompt-hub train --backbone {backbone} --train my.csv --text-a review --label stars")
    say("  prompt-hub eval runs/my --eval another.csv")
    if as_json:
        print_json(results)
