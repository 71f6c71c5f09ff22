"""``prompt-hub neurons``."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import neuron_options as n
from prompt_hub.cli import options as o
from prompt_hub.cli.neurons_mask import mask
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.backbones import Backbone
    from prompt_hub.backbones.ffn import FFNSite
    from prompt_hub.prompts.soft_prompt import SoftPrompt

app = typer.Typer(no_args_is_help=True, help="Activated neurons: find, capture, compare, mask, plot.")
app.command("mask")(mask)


@app.command("sites")
def sites(
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    site: n.SiteOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
) -> None:
    """List the feed-forward layers of a backbone, found by what flows through it."""
    from prompt_hub.backbones import load_backbone
    from prompt_hub.backbones.ffn import find_sites, starred

    if backbone is None:
        raise UserError("Name the backbone with --backbone, such as mini-roberta.")
    model = load_backbone(backbone, revision=revision, device=device, dtype=dtype)
    found = [each.to_dict() for each in find_sites(model, site)]
    if as_json:
        print_json({"backbone": model.name, "sites": found})
        return
    gates = {True: "gated", False: "", None: "gate unknown"}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for each in found:
        names = [starred(each[name] or "-") for name in ("before", "down")]
        gate = gates[each["gated"]]
        groups.setdefault(
            (each["stack"], each["width"], f"{each['activation']} {gate}".strip(), *names), []
        ).append(each["layer"])
    for (stack, width, function, before, down), layers in groups.items():
        print_table(
            f"{stack}: {len(layers)} layers of {width} neurons, {function}",
            ["", "linear map"],
            [["before the activation", before], ["neurons enter", down]],
            stdout,
        )


@app.command("capture")
def capture(
    prompt: Annotated[str, typer.Argument(help="Prompt folder, or owner/name on the Hub.")],
    task: Annotated[
        str | None, typer.Option("--task", help="Look at the rows of this task, not at the prompt alone.")
    ] = None,
    data_dir: o.DataDirOption = None,
    split: Annotated[str, typer.Option(help="With --task: validation, test or train.")] = "validation",
    limit: Annotated[
        int | None, typer.Option(callback=o.at_least(1), help="With --task: at most so many rows.")
    ] = None,
    skill: Annotated[
        bool, typer.Option(help="With --task: also how well each neuron tells the classes apart.")
    ] = False,
    value: n.ValueOption = "after",
    positions: n.PositionsOption = "read",
    stack: n.StackOption = None,
    site: n.SiteOption = None,
    output: Annotated[Path | None, typer.Option(help="Store the arrays in this .npz file.")] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    batch_size: o.EvalBatchOption = 32,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """The neurons of a prompt, layers by neurons: alone, or over a task's rows.

    Examples:

      prompt-hub neurons capture runs/sst2 --output sst2.npz

      prompt-hub neurons capture runs/sst2 --task sst2 --data-dir data --skill
    """
    from prompt_hub.evaluation.stored import fitting_encoder
    from prompt_hub.neurons.capture import sites_for
    from prompt_hub.neurons.over_rows import capture_rows, predictivity
    from prompt_hub.neurons.stored import capture_stored

    set_quiet(quiet)
    where = n.parse_positions(positions)
    if skill and task is None:
        raise UserError("--skill asks how neurons tell a task's classes apart: name it with --task.")
    if output is not None:
        n.check_file(output, ".npz")
    soft = n.load_all([prompt])[0]
    model = o.backbone_of(soft, backbone, revision, device, dtype)
    layers = sites_for(model, where, stack, site)
    arrays: dict[str, Any] = {}
    if task is None:
        values = n.values_of(layers)
        found, warnings = capture_stored(
            model, soft, layout=layout, force=force, positions=where, values=values, sites=layers
        )
        arrays = {name: found[name].numpy() for name in values}
        shown = found[value]
        columns = {"active": (shown > 0).float().mean(1), "mean": shown.mean(1), "highest": shown.amax(1)}
    else:
        chosen = o.task_from_options(task, None, o.Columns())
        rows = o.rows_from_options(chosen, split, None, data_dir, limit, seed)
        encoder, warnings = fitting_encoder(model, soft, chosen, layout, force)
        about: dict[str, Any] = {"value": value, "sites": layers, "batch_size": batch_size}
        over = capture_rows(encoder, soft.embeddings, rows, positions=where, **about)
        arrays = {"mean": over.mean.numpy(), "fires": over.fires.numpy()}
        columns = {"fires": over.fires.mean(1), "mean": over.mean.mean(1), "highest": over.mean.amax(1)}
        if skill:
            train = o.rows_from_options(chosen, "train", None, data_dir, limit, seed)
            told = predictivity(encoder, soft.embeddings, train, rows, **about)
            arrays["predictivity"] = told.numpy()
            columns["best predictivity"] = told.amax(1)
    for message in warnings:
        warn(message)
    data = {
        "prompt": prompt, "prompt_hash": soft.hash, "backbone": model.name, "task": task, "value": value,
        "stack": layers[0].stack, "positions": positions, "shape": list(next(iter(arrays.values())).shape),
        "layers": {name: column.tolist() for name, column in columns.items()},
    }  # fmt: skip
    if output is not None:
        n.save_arrays(output, arrays)
        say(f"{', '.join(arrays)} stored in {output}.")
        data["path"] = str(output)
    if as_json:
        print_json(data)
        return
    body = [
        [layer, *(f"{float(column[layer]):.3f}" for column in columns.values())]
        for layer in range(len(layers))
    ]
    print_table(f"{value} at {positions}, {layers[0].stack}", ["layer", *columns], body, stdout)


@app.command("overlap")
def overlap(
    prompts: Annotated[list[str], typer.Argument(help="Two or more prompts of one backbone.")],
    measure: Annotated[
        str, typer.Option(help="all, or a list of on,jaccard,top_k,cosine,correlation.")
    ] = "all",
    k: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Neurons of top_k (in each layer or window too).")
    ] = 100,
    skill: Annotated[
        bool,
        typer.Option(
            help="Also ON weighted by how well each neuron tells the classes of the prompts' own tasks apart "
            "(needs their rows)."
        ),
    ] = False,
    data_dir: o.DataDirOption = None,
    limit: Annotated[
        int | None, typer.Option(callback=o.at_least(1), help="With --skill: at most so many rows.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Also store a record (.json): overlaps by layer, and a map of the neurons."),
    ] = None,
    value: n.ValueOption = "after",
    positions: n.PositionsOption = "read",
    stack: n.StackOption = None,
    site: n.SiteOption = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    batch_size: o.EvalBatchOption = 32,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """How alike the neurons of prompts are, pair by pair: ON of the paper, and other measures.

    Example: prompt-hub neurons overlap runs/sst2 runs/rotten_tomatoes
    """
    from prompt_hub.neurons import overlap as measures
    from prompt_hub.neurons.capture import sites_for
    from prompt_hub.neurons.overlap import overlap_record
    from prompt_hub.runs.records import Record, check_record_path

    set_quiet(quiet)
    if len(prompts) < 2:
        raise UserError("Name two prompts or more.")
    names = list(measures.MEASURES) if measure == "all" else [part.strip() for part in measure.split(",")]
    for name in names:
        if name not in measures.MEASURES:
            raise UserError(f"Unknown measure {name!r}. Known: all, {', '.join(measures.MEASURES)}.")
    where = n.parse_positions(positions)
    if output is not None:
        n.check_file(output, ".json")
        check_record_path(output, "neurons overlap")
    loaded = n.load_all(prompts)
    model = o.backbone_of(loaded[0], backbone, revision, device, dtype)
    layers = sites_for(model, where, stack, site)
    arrays = n.capture_all(model, loaded, layers, where, value, layout, force)
    weights = (
        [_predictivity(model, soft, place, layers, value, layout, force, data_dir, limit, seed, batch_size)
         for soft, place in zip(loaded, prompts, strict=True)] if skill else []
    )  # fmt: skip
    pairs: list[dict[str, Any]] = []
    for first, second in combinations(range(len(prompts)), 2):
        a, b = arrays[first], arrays[second]
        found: dict[str, Any] = {
            name: {
                "all": measures.overlap(a, b, name, k=k),
                "by_layer": measures.overlap_by_layer(a, b, name, k=min(k, a.shape[1])),
                "by_window": measures.overlap_by_window(a, b, name, k=min(k, a.shape[1])),
            }
            for name in names
        }
        if skill:
            weighted: dict[str, Any] = {"weights": measures.skill_weights(weights[first], weights[second])}
            found["skill_on"] = {
                "all": measures.overlap(a, b, "on", **weighted),
                "by_layer": measures.overlap_by_layer(a, b, "on", **weighted),
                "by_window": measures.overlap_by_window(a, b, "on", **weighted),
            }
        pairs.append({"first": prompts[first], "second": prompts[second], "measures": found})
    result = {
        "backbone": model.name, "value": value, "stack": layers[0].stack, "positions": positions,
        "prompts": [{"prompt": place, "hash": soft.hash, "active": float((array > 0).float().mean())}
                    for place, soft, array in zip(prompts, loaded, arrays, strict=True)],
        "pairs": pairs,
    }  # fmt: skip
    if output is not None:
        settings = {"prompts": prompts, "backbone": model.identity.to_dict(), "measure": measure}
        names_of = dict(zip(prompts, n.short_names(prompts), strict=True))
        Record("neurons overlap", settings).finish(output, overlap_record(result, names_of, arrays))
        say(f"Record stored in {output}.")
    if as_json:
        print_json(result)
        return
    shown = [*names, *(["skill_on"] if skill else [])]
    body = [
        [pair["first"], pair["second"], *(f"{pair['measures'][name]['all']:.3f}" for name in shown)]
        for pair in pairs
    ]
    print_table(f"Neurons of {model.name}, all layers", ["prompt", "prompt", *shown], body, stdout)


def _predictivity(
    model: Backbone,
    soft: SoftPrompt,
    place: str,
    layers: list[FFNSite],
    value: str,
    layout: str | None,
    force: bool,
    data_dir: Path | None,
    limit: int | None,
    seed: int,
    batch_size: int,
) -> Any:
    """Of the prompt's own task, whose training rows give the thresholds and validation rows the accuracy."""
    from prompt_hub.evaluation.stored import fitting_encoder
    from prompt_hub.neurons.over_rows import predictivity

    _, task = o.stored_prompt_and_task(place, None, None, o.Columns())
    train, test = (
        o.rows_from_options(task, split, None, data_dir, limit, seed) for split in ("train", "validation")
    )
    encoder, _ = fitting_encoder(model, soft, task, layout, force)
    return predictivity(
        encoder, soft.embeddings, train, test, value=value, sites=layers, batch_size=batch_size
    )


@app.command("plot")
def plot(
    prompts: Annotated[list[str], typer.Argument(help="One prompt or more, of one backbone.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The figure: .png, .pdf or .svg.")],
    value: n.ValueOption = "after",
    positions: n.PositionsOption = "read",
    stack: n.StackOption = None,
    site: n.SiteOption = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
) -> None:
    """Draw neurons: layers by neurons, and the overlap with the first prompt by layer.

    Example: prompt-hub neurons plot runs/sst2 runs/rotten_tomatoes --output neurons.png
    """
    from prompt_hub.neurons.capture import sites_for
    from prompt_hub.neurons.overlap import overlap_by_layer
    from prompt_hub.reports.neuron_figures import draw_neurons

    n.check_file(output, ".png", ".pdf", ".svg")
    where = n.parse_positions(positions)
    loaded = n.load_all(prompts)
    model = o.backbone_of(loaded[0], backbone, revision, device, dtype)
    arrays = n.capture_all(model, loaded, sites_for(model, where, stack, site), where, value, layout, force)
    names = n.short_names(prompts)
    overlaps = {
        name: overlap_by_layer(arrays[0], array) for name, array in zip(names[1:], arrays[1:], strict=True)
    }
    draw_neurons(dict(zip(names, arrays, strict=True)), overlaps, output, what=f"value {value!r}")
    say(f"Drawn in {output}.")
    if as_json:
        print_json({"path": str(output), "prompts": prompts, "on_by_layer": overlaps})
