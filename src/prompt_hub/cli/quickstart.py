"""``prompt-hub quickstart``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, warn
from prompt_hub.progress import set_quiet
from prompt_hub.quickstart import settings

FLOORS = {"no_prompt": "no prompt", "random_prompt": "random", "majority": "majority"}


def quickstart(
    backbone: Annotated[
        str, typer.Option(help="Embedded backbone, Hub id, local folder, .gguf file, or smollm2-135m.")
    ] = settings.BACKBONE,
    tasks: Annotated[str, typer.Option(help="Tasks, with commas between (see: prompt-hub tasks ls).")] = (
        ",".join(settings.TASKS)
    ),
    data_dir: o.DataDirOption = None,
    steps: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Training steps a task.")
    ] = settings.STEPS,
    output: Annotated[Path, typer.Option(help="Folder for prompts, figures and numbers.")] = Path(
        "runs/quickstart"
    ),
    seed: o.SeedOption = settings.SEED,
    device: o.DeviceOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """A tour in minutes: train prompts, use them on other tasks, start from one of them.

    The same command again keeps the prompts that are finished.

    Examples:

      prompt-hub quickstart

      prompt-hub quickstart --backbone smollm2-135m --tasks sst2,rte --data-dir data
    """
    from prompt_hub.overview.page import REPORT_NAME
    from prompt_hub.quickstart.run import run_quickstart
    from prompt_hub.quickstart.tour import prepare

    set_quiet(quiet)
    tour = prepare(
        backbone,
        o.listed(tasks),
        output,
        steps=steps,
        seed=seed,
        device=device,
        data_dir=data_dir,
        say=(lambda line: None) if quiet else say,
    )
    say(f"Soft prompts of {settings.PROMPT_LEN} rows for {backbone} on {len(tour.stops)} tasks ...")
    results = run_quickstart(tour, show=lambda name, result: PRINTERS[name](result))
    for name, needed in {"transfer": "two tasks", "warm_start": "two tasks of one type"}.items():
        if results[name] is None:
            say(f"No {name.replace('_', ' ')}: it needs {needed}.")
    say(f"Numbers, figures and prompts are in {output} ({results['seconds']:.0f} s).")
    say(f"All of it on one page, to open in a browser: {output / REPORT_NAME}")
    say("Next, with a file of your own in the place of example.csv:")
    for command in results["next"]:
        say(f"  {command}")
    if as_json:
        print_json(results)


def print_training(result: Mapping[str, Any]) -> None:
    tasks = result["tasks"]
    metrics = {found["primary_metric"] for found in tasks.values()}
    counts = {found["n"] for found in tasks.values()}
    alike = len(metrics) == len(counts) == 1
    rows = []
    for name, found in tasks.items():
        metric = found["primary_metric"]
        floors = [_number(found["floors"].get(floor, {}).get(metric)) for floor in FLOORS]
        which = [_short(name)] if alike else [_short(name), found["n"], metric]
        rows.append([*which, _with_interval(found["metrics"][metric], found["ci95"][metric]), *floors])
    columns = ["trained prompt (95%)", *FLOORS.values()]
    if alike:
        title = f"Trained prompts: {metrics.pop()} on the validation rows (n = {counts.pop()})"
        print_table(title, ["task", *columns], rows)
    else:
        print_table("Trained prompts on the validation rows", ["task", "n", "metric", *columns], rows)
    doubtful = [_short(name) for name, found in tasks.items() if found["diagnosis"]]
    if doubtful:
        warn(
            f"Not surely better than the floors, or only one answer: {', '.join(doubtful)}. More --steps may "
            "help; quickstart.json holds the diagnosis of each."
        )


def print_transfer(result: Mapping[str, Any]) -> None:
    tasks = result["tasks"]
    pairs = {(pair["source"], pair["target"]): pair for pair in result["pairs"]}

    def cell(source: str, target: str) -> str:
        if source == target:
            return f"[{100 * result['own'][source]:.0f}]"
        pair = pairs.get((source, target))
        return "" if pair is None else f"{100 * pair['score']:.0f}{'*' if pair['negative'] else ''}"

    rows = [
        [f"{number} {_short(source)}", *(cell(source, target) for target in tasks)]
        for number, source in enumerate(tasks, 1)
    ]
    for name, title in FLOORS.items():
        floors = (result["floors"][target].get(name) for target in tasks)
        rows.append([title, *("" if floor is None else f"{100 * floor:.0f}" for floor in floors)])
    numbers = [str(number) for number in range(1, len(tasks) + 1)]
    print_table("Prompts on tasks, without training (scores in %)", ["prompt of", *numbers], rows)
    say("[the task's own prompt]; * below the backbone without a prompt (negative transfer)")
    _print_means(result, "Mean of score / own score", "relative", "pairs", FLOORS)
    gains = {name: title for name, title in FLOORS.items() if name != "majority"}
    title = "Mean of (score - majority) / (own score - majority)"
    _print_means(result, title, "above_majority", "pairs_above_majority", gains)
    say("There only targets count whose own prompt is above the majority class with its whole 95% interval.")
    removed = sum(pair["removed_overlap"] for pair in result["pairs"])
    if removed or result["without_rows"]:
        say(
            f"{removed} rows were left out because a prompt was trained on their text; "
            f"{len(result['without_rows'])} pairs had no row left."
        )


def _print_means(
    result: Mapping[str, Any], title: str, figure: str, count: str, floors: Mapping[str, str]
) -> None:
    rows = []
    for kind, name in {"same_type": "same type", "different_type": "other type"}.items():
        found = result[kind]
        beside = (_number(found[f"{figure}_of_floors"][floor]) for floor in floors)
        rows.append([name, found[count], _number(found[figure]), *beside])
    print_table(title, ["from a task of", "pairs", "prompt", *floors.values()], rows)


def print_starts(result: Mapping[str, Any]) -> None:
    source, target, full = result["source"], result["target"], result["full"]
    rows = [["0", "", _number(result["zero_shot"])]] if result["zero_shot"] is not None else []
    for points in zip(result["scores"]["scratch"], result["scores"]["warm"], strict=True):
        cells = [_with_interval(point["score"], point["ci95"]) for point in points]
        rows.append([str(points[0]["steps"]), *cells])
    print_table(
        f"Warm start: {result['metric']} on {_short(target)} after few steps (n = {result['n']})",
        ["steps", "from scratch (95%)", f"from the prompt of {_short(source)} (95%)"],
        rows,
    )
    say(
        f"The own prompt of {_short(target)} reached {full['score']:.3f} in {full['steps']} steps. One pair, "
        "one seed: an example of how it is done, no finding."
    )


def _short(task: str) -> str:
    return task.removeprefix("mini/")


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


PRINTERS = {"training": print_training, "transfer": print_transfer, "warm_start": print_starts}
