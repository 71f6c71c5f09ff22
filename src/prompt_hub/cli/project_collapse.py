"""``prompt-hub project collapse``."""

from __future__ import annotations

import math
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn

if TYPE_CHECKING:
    from prompt_hub.transfer.cross_model.collapse import Comparison


def collapse(
    prompts: Annotated[
        list[Path], typer.Argument(help="Folders of prompts (the paper's too), or files such as .npz.")
    ],
    cosine: Annotated[float, typer.Option(help="From this cosine on two prompts are the same.")] = 0.9995,
    pairs: Annotated[bool, typer.Option("--pairs", help="Also print every pair.")] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Say which prompts of a set are the same vector: has a projector ignored its input?

    Example:

      prompt-hub project collapse task_prompt_emb
    """
    from prompt_hub.prompts.collection import load_prompts
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.transfer.cross_model.collapse import compare

    given: dict[str, SoftPrompt] = {}
    for place in prompts:
        found = load_prompts(place)
        for name, why in found.damaged.items():
            warn(f"{place}: {name} was left out: {why}")
        several = len(prompts) > 1
        given |= {str(place / name) if several else name: one for name, one in found.prompts.items()}
    result = compare(given, cosine)
    if pairs:
        print_table("Pairs", ["", "", "cosine", "relative distance"], _pair_rows(result), stdout)
    for group in result.groups:
        say(
            f"{len(group.names)} prompts are one vector (cosine at least {group.lowest_cosine:.6f}, relative "
            f"distance at most {group.largest_distance:.1e}): {', '.join(group.names)}."
        )
        if group.is_collapse:
            warn(
                f"{group.projected} of these are a projector's, for the tasks {', '.join(group.tasks)}: "
                "it ignored its input, and their scores are those of one prompt on several tasks."
            )
    alike = sum(len(group.names) for group in result.groups)
    say(f"{len(given) - alike} of {len(given)} prompts are like no other.")
    if as_json:
        groups = [{**asdict(group), "collapse": group.is_collapse} for group in result.groups]
        print_json({"prompts": result.names, "cosine": cosine, "groups": groups})


def _pair_rows(result: Comparison) -> list[list[str]]:
    rows = []
    for first, second in combinations(range(len(result.names)), 2):
        numbers = [float(result.cosine[first, second]), float(result.distance[first, second])]
        shown = ["other shape", ""] if math.isnan(numbers[0]) else [f"{numbers[0]:.6f}", f"{numbers[1]:.2e}"]
        rows.append([result.names[first], result.names[second], *shown])
    return rows
