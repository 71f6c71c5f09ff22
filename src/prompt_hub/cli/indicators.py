"""``prompt-hub indicators``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.progress import set_quiet
from prompt_hub.runs.records import json_text

if TYPE_CHECKING:
    import pandas as pd

    from prompt_hub.prompts.soft_prompt import SoftPrompt

app = typer.Typer(no_args_is_help=True, help="Numbers that predict transfer, and how far they do.")

ROWS = ("live", "all")
FORMATS = (".csv", ".md", ".json")
PromptsOption = Annotated[
    Path, typer.Option("--prompts", help="Folder of prompts, or a file of several such as .npz.")
]
ByOption = Annotated[
    str | None,
    typer.Option(help="Indicators, such as c_avg,on; or all. Default: those that need only prompts."),
]
RowsOption = Annotated[
    str,
    typer.Option(help="live: leave out prompt rows that a layout never reads; all: as the paper's code."),
]
WithoutOption = Annotated[str | None, typer.Option(help="Prompts to leave out, such as random,recastner.")]
FamilyOption = Annotated[
    str | None, typer.Option(help="masked_lm, causal_lm or seq2seq_lm, where a file does not say.")
]
StoredLayoutOption = Annotated[
    str | None, typer.Option("--layout", help="Such as paper, where a file does not say.")
]


@app.command("ls")
def list_indicators(as_json: o.JsonOption = False) -> None:
    """List the indicators and what they need."""
    from prompt_hub.indicators.registry import INDICATORS

    described: list[dict[str, Any]] = [
        {
            "name": each.name,
            "title": each.title,
            "formula": each.formula,
            "needs": [str(need.name).lower().replace("_", " ") for need in each.needs],
            "higher_is_similar": each.higher_is_similar,
            "leaves_out_dead_rows": each.reads_dead_rows,
        }
        for each in INDICATORS.values()
    ]
    if as_json:
        print_json({"indicators": described})
        return
    rows = [[each["name"], each["formula"], ", ".join(each["needs"])] for each in described]
    print_table("Indicators", ["name", "formula", "needs, besides source prompts"], rows, stdout)


@app.command("compare")
def compare(
    prompts: PromptsOption,
    by: ByOption = None,
    rows: RowsOption = "live",
    without: WithoutOption = None,
    family: FamilyOption = None,
    layout: StoredLayoutOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Also write a CSV an indicator into this folder, targets in rows.")
    ] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Compare every prompt with every other one.

    Example:

      prompt-hub indicators compare --prompts runs --by c_avg,c_concat
    """
    from prompt_hub.indicators import Context, Needs
    from prompt_hub.indicators import compare as run
    from prompt_hub.indicators.registry import get_indicators

    set_quiet(quiet)
    wanted = get_indicators(_names(by))
    for each in wanted:
        if Needs.TARGET_ROWS in each.needs:
            raise UserError(
                f"Indicator {each.name!r} needs labelled rows of every target, which compare has not. Use "
                "prompt-hub rank, or prompt-hub indicators validate."
            )
    chosen = _prompts(prompts, without, family, layout)
    model = None
    if any(Needs.BACKBONE in each.needs for each in wanted):
        model = o.backbone_of(next(iter(chosen.values())), backbone, revision, device, dtype)
    table = run(chosen, _names(by), context=Context(model, all_rows=_all_rows(rows)))
    for name, part in table.groupby("indicator", sort=False):
        matrix = part.pivot_table(index="target", columns="source", values="value", sort=False)
        if output is not None:
            _write(matrix, output / f"{name}.csv")
        if not as_json:
            typer.echo(f"{name}, targets in rows:\n{_numbered(matrix)}\n")
    if as_json:
        print_json({"pairs": table.to_dict("records")})


@app.command("validate")
def validate(
    scores: Annotated[
        Path,
        typer.Option(
            "--matrix",
            "--scores",
            help="Measured transfer: a folder of prompt-hub matrix, or a CSV with targets in rows.",
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="Folder of prompts, or a file of several. Default: the matrix' own."),
    ] = None,
    by: ByOption = None,
    rows: RowsOption = "live",
    without: WithoutOption = None,
    family: FamilyOption = None,
    layout: StoredLayoutOption = None,
    data_dir: o.DataDirOption = None,
    limit: Annotated[
        int,
        typer.Option(
            callback=o.at_least(1), help="Labelled training rows a target, for indicators that need some."
        ),
    ] = 200,
    output: Annotated[
        Path | None,
        typer.Option(help="Also write every figure, with intervals and n, to this file: .csv, .md or .json."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Also draw pairs.png and agreement.png into this folder.")
    ] = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    batch_size: o.EvalBatchOption = 32,
    seed: o.SeedOption = 42,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Hold indicators against measured transfer: rank correlations and regret.

    Examples:

      prompt-hub indicators validate --matrix runs/matrix --by all --figures figures

      prompt-hub indicators validate --prompts prompts.npz --scores zero_shot.csv
    """
    from prompt_hub.indicators import Context, Needs
    from prompt_hub.indicators import validate as run
    from prompt_hub.indicators.document import left_out_lines, markdown_text, sections
    from prompt_hub.indicators.registry import get_indicators
    from prompt_hub.transfer.known_targets import known_targets, prompts_of
    from prompt_hub.transfer.measured import measured_scores

    set_quiet(quiet)
    chosen = get_indicators(_names(by))
    needs = Needs(0)
    for each in chosen:
        needs |= each.needs
    if output is not None:
        _check_output(output, scores)
    if prompts is None and not scores.is_dir():
        raise UserError(f"{scores} holds scores only. Name the prompts they are of: --prompts.")
    measured = measured_scores(scores)
    usable = (
        _without(prompts_of(scores), without, scores)
        if prompts is None
        else _prompts(prompts, without, family, layout)
    )
    model, targets = None, None
    if Needs.BACKBONE in needs:
        model = o.backbone_of(next(iter(usable.values())), backbone, revision, device, dtype)
    if Needs.TARGET_ROWS in needs:
        known = known_targets(scores, list(measured.index), usable, data_dir=data_dir, limit=limit, seed=seed)
        targets = known.by_task
        for message in known.warnings:
            warn(message)
    context = Context(model, all_rows=_all_rows(rows), batch_size=batch_size)
    table = run(usable, measured, _names(by), context=context, targets=targets, seed=seed)
    data = {
        "prompts": str(prompts or scores),
        "scores": str(scores),
        "command": list(sys.argv),
        "figures": table.to_dict("records"),
        **table.attrs,
    }
    headline = f"Indicators of {len(usable)} prompts in {prompts or scores} against the scores in {scores}"
    if output is not None:
        texts = {
            ".csv": lambda: table.to_csv(index=False),
            ".md": lambda: markdown_text(table, headline),
            ".json": lambda: json_text(data),
        }
        _write_text(texts[output.suffix](), output)
    if figures is not None:
        _draw(table, figures)
    for line in left_out_lines(table):
        warn(line)
    if as_json:
        print_json(data)
        return
    for section in sections(table):
        print_table(section.title, section.head, section.rows, stdout)


def _check_output(output: Path, scores: Path) -> None:
    from prompt_hub.reading import parse_json, read_regular

    if output.suffix not in FORMATS:
        raise UserError(f"--output {output} must end in {', '.join(FORMATS)}.")
    if not output.exists():
        return
    if scores.exists() and output.samefile(scores):
        raise UserError(f"--output {output} is the file of the scores. Name another one.")
    if output.suffix != ".json":
        return
    try:
        found = parse_json(read_regular(output).decode())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not {"scores", "figures"} <= set(found):
        raise UserError(f"{output} is there already and no validation wrote it. Name another --output.")


def _draw(table: pd.DataFrame, folder: Path) -> None:
    from prompt_hub.reports.indicator_figures import draw_agreement, draw_pairs

    try:
        draw_pairs(table.attrs["pairs"], folder / "pairs.png")
        draw_agreement(table.to_dict("records"), folder / "agreement.png")
    except OSError as error:
        raise UserError(f"Cannot draw into {folder}: {error.strerror or error}. Name a folder.") from None
    say(f"Drawn: {folder / 'pairs.png'}, {folder / 'agreement.png'}.")


def _numbered(matrix: pd.DataFrame) -> str:
    """The matrix as text, its columns by number: names would make it too wide."""
    numbers = [str(number) for number in range(1, len(matrix.columns) + 1)]
    rows = [f"{number} {name}" for number, name in zip(numbers, matrix.index, strict=True)]
    shown = matrix.set_axis(rows, axis="index").set_axis(numbers, axis="columns")
    return str(shown.to_string(float_format=lambda value: f"{value:.4f}"))


def _prompts(
    place: Path, without: str | None, family: str | None, layout: str | None
) -> dict[str, SoftPrompt]:
    from prompt_hub.backbones.base import FAMILIES
    from prompt_hub.encoding.layouts import known_layouts
    from prompt_hub.prompts.collection import load_prompts

    for kind, name, allowed in (("family", family, FAMILIES), ("layout", layout, known_layouts())):
        if name is not None and name not in allowed:
            raise unknown_name(kind, name, allowed)
    found = load_prompts(place, family=family, layout=layout)
    for name, reason in found.damaged.items():
        warn(f"{name} was left out: {reason}")
    return _without(found.prompts, without, place)


def _without(prompts: dict[str, SoftPrompt], names: str | None, place: Path) -> dict[str, SoftPrompt]:
    for name in _names(names) or []:
        if name not in prompts:
            raise unknown_name("prompt in --without", name, prompts)
        del prompts[name]
    if len(prompts) < 2:
        raise UserError(f"{place} holds {len(prompts)} usable prompt(s); two or more can be compared.")
    return prompts


def _names(given: str | None) -> list[str] | None:
    return None if given is None else o.listed(given)


def _all_rows(rows: str) -> bool:
    if rows not in ROWS:
        raise unknown_name("choice of --rows", rows, ROWS)
    return rows == "all"


def _write(table: pd.DataFrame, path: Path) -> None:
    _write_text(table.to_csv(), path)


def _write_text(text: str, path: Path) -> None:
    from prompt_hub.atomic import write_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose a writable place.") from None
    say(f"Written to {path}.")
