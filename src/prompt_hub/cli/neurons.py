"""``prompt-hub neurons``."""

from __future__ import annotations

from typing import Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, stdout
from prompt_hub.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Activated neurons: find, capture, compare, mask, plot.")

SiteOption = Annotated[
    str | None,
    typer.Option(
        help="Name the layers by hand: DOWN or DOWN,BEFORE with * for the number, such as "
        "'h.*.mlp.c_proj,h.*.mlp.c_fc'."
    ),
]


@app.command("sites")
def sites(
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    site: SiteOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
) -> None:
    """List the feed-forward layers of a backbone, found by what flows through it."""
    from prompt_hub.backbones import load_backbone
    from prompt_hub.backbones.ffn import find_sites

    if backbone is None:
        raise UserError("Name the backbone with --backbone, such as mini-roberta.")
    model = load_backbone(backbone, revision=revision, device=device, dtype=dtype)
    found = [each.to_dict() for each in find_sites(model, site)]
    if as_json:
        print_json({"backbone": model.name, "sites": found})
        return
    gates = {True: "yes", False: "no", None: "unknown"}
    rows = [
        [each["stack"], each["layer"], each["width"], each["activation"], gates[each["gated"]],
         each["before"] or "-", each["down"]]
        for each in found
    ]  # fmt: skip
    columns = ["stack", "layer", "neurons", "activation", "gated", "before the activation", "neurons enter"]
    print_table(f"Feed-forward layers of {model.describe()}", columns, rows, stdout)
