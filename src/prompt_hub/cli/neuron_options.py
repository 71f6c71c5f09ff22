"""Options that the ``prompt-hub neurons`` commands share, and what they name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli.output import warn
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from prompt_hub.backbones import Backbone
    from prompt_hub.backbones.ffn import FFNSite
    from prompt_hub.neurons.capture import Positions
    from prompt_hub.prompts.soft_prompt import SoftPrompt

SiteOption = Annotated[
    str | None,
    typer.Option(
        help="Name the layers by hand: DOWN or DOWN,BEFORE with * for the number, such as "
        "'h.*.mlp.c_proj,h.*.mlp.c_fc'."
    ),
]
StackOption = Annotated[
    str | None, typer.Option(help="encoder or decoder; default: where the positions are (T5: decoder).")
]
ValueOption = Annotated[
    str,
    typer.Option(
        help="before the activation function, gate (what it gives), or after (what enters the map back; in "
        "gated models the gate times a second map)."
    ),
]
PositionsOption = Annotated[
    str, typer.Option(help="read (where the label is read), prompt (all its rows), or numbers such as 0,1,2.")
]


def parse_positions(text: str) -> Positions:
    """``read``, ``prompt`` or numbers."""
    if text in ("read", "prompt"):
        return text
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--positions must be read, prompt or numbers such as 0,1,2, not {text!r}.") from None


def check_file(path: Path, *endings: str) -> None:
    """Before long work: a file of this kind can be written there."""
    if path.suffix not in endings:
        raise UserError(f"--output {path} must end in {' or '.join(endings)}.")
    if path.is_dir():
        raise UserError(f"--output {path} is a folder. Name a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from None
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"Cannot write {path}: no permission. Choose a writable place.")


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Arrays as one .npz file, whole or not at all."""
    import io

    import numpy as np

    from prompt_hub.atomic import write_file

    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_file(path, stream.getvalue())


def load_all(places: Sequence[str]) -> list[SoftPrompt]:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    return [SoftPrompt.from_pretrained(place) for place in places]


def values_of(sites: Sequence[FFNSite]) -> tuple[str, ...]:
    """The values that these sites give."""
    if sites[0].before is None:
        return ("after",)
    return ("before", "after") if sites[0].activation is None else ("before", "gate", "after")


def capture_all(
    model: Backbone,
    prompts: Sequence[SoftPrompt],
    sites: Sequence[FFNSite],
    positions: Positions,
    value: str,
    layout: str | None,
    force: bool,
) -> list[Tensor]:
    """``[L, F]`` of each prompt alone."""
    from prompt_hub.neurons.stored import capture_stored

    arrays = []
    for prompt in prompts:
        found, warnings = capture_stored(
            model, prompt, layout=layout, force=force, positions=positions, values=(value,), sites=sites
        )
        for message in warnings:
            warn(message)
        arrays.append(found[value])
    return arrays


def short_names(places: Sequence[str]) -> list[str]:
    """The last part of each place, the whole where two would be alike."""
    last = [Path(place).name for place in places]
    return [
        name if last.count(name) == 1 else f"{place} ({number})"
        for number, (name, place) in enumerate(zip(last, places, strict=True), 1)
    ]
