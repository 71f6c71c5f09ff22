"""``prompt-hub indicators``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, print_table, say, stdout, warn
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    import pandas as pd

    from prompt_hub.prompts.soft_prompt import SoftPrompt

app = typer.Typer(no_args_is_help=True, help="Numbers that predict transfer, and how far they do.")

ROWS = ("live", "all")
PromptsOption = Annotated[
    Path, typer.Option("--prompts", help="Folder of prompts, or a file of several such as .npz.")
]
ByOption = Annotated[
    str | None, typer.Option(help="Indicators, such as c_avg,c_concat; default: all that need only prompts.")
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
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Compare every prompt with every other one.

    Example:

      prompt-hub indicators compare --prompts runs --by c_avg,c_concat
    """
    from prompt_hub.indicators import Context
    from prompt_hub.indicators import compare as run

    set_quiet(quiet)
    chosen = _prompts(prompts, without, family, layout)
    table = run(chosen, _names(by), context=Context(all_rows=_all_rows(rows)))
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
    prompts: PromptsOption,
    scores: Annotated[
        Path,
        typer.Option(help="Measured transfer: a CSV with targets in rows, or a folder of prompt-hub matrix."),
    ],
    by: ByOption = None,
    rows: RowsOption = "live",
    without: WithoutOption = None,
    family: FamilyOption = None,
    layout: StoredLayoutOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Also write every figure, with intervals and n, to this CSV.")
    ] = None,
    seed: o.SeedOption = 42,
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Hold indicators against measured transfer: rank correlations and regret.

    Example:

      prompt-hub indicators validate --prompts prompts.npz --scores zero_shot.csv
    """
    from prompt_hub.indicators import Context
    from prompt_hub.indicators import validate as run
    from prompt_hub.transfer.measured import measured_scores

    set_quiet(quiet)
    chosen = _prompts(prompts, without, family, layout)
    context = Context(all_rows=_all_rows(rows))
    table = run(chosen, measured_scores(scores), _names(by), context=context, seed=seed)
    if output is not None:
        _write(table, output, index=False)
    if as_json:
        print_json({"prompts": str(prompts), "scores": str(scores), "figures": table.to_dict("records")})
        return
    _print_correlations(table)
    _print_regret(table)


def _numbered(matrix: pd.DataFrame) -> str:
    """The matrix as text, its columns by number: names would make it too wide."""
    numbers = [str(number) for number in range(1, len(matrix.columns) + 1)]
    rows = [f"{number} {name}" for number, name in zip(numbers, matrix.index, strict=True)]
    shown = matrix.set_axis(rows, axis="index").set_axis(numbers, axis="columns")
    return str(shown.to_string(float_format=lambda value: f"{value:.4f}"))


def _print_correlations(table: pd.DataFrame) -> None:
    lines = []
    for (indicator, protocol), part in table[table["statistic"] == "spearman"].groupby(
        ["indicator", "protocol"], sort=False
    ):
        found = {row["with_self"]: row for row in part.to_dict("records")}
        cells = (_with_interval(found[with_self], 100, ".1f", ".0f") for with_self in (True, False))
        lines.append([indicator, protocol, *cells, found[False]["n"]])
    columns = ["indicator", "protocol", "with self (95%)", "without self (95%)", "pairs"]
    print_table("Spearman x 100 of indicator and measured score", columns, lines, stdout)
    sizes = table[table["statistic"] == "mean"]
    lines = [
        [indicator, *(_with_interval(row, 1, ".4f") for row in part.to_dict("records"))]
        for indicator, part in sizes.groupby("indicator", sort=False)
    ]
    print_table("Mean of the indicator", ["indicator", "same type (95%)", "other type (95%)"], lines, stdout)


def _print_regret(table: pd.DataFrame) -> None:
    regret = table[table["statistic"].str.startswith("regret")].to_dict("records")
    lines = [
        [
            row["indicator"],
            row["statistic"],
            _with_interval(row, 1, ".3g"),
            f"{row['chance']:.3g}",
            row["lists"],
        ]
        for row in regret
    ]
    columns = ["indicator", "figure", "lost (95%)", "by lot", "targets"]
    print_table("Score lost by choosing the source so, in units of the scores", columns, lines, stdout)


def _with_interval(row: Mapping[str, Any], factor: float, form: str, bounds: str | None = None) -> str:
    if math.isnan(row["value"]):
        return "-"
    low, high = (format(factor * row[name], bounds or form) for name in ("low", "high"))
    return f"{format(factor * row['value'], form)} ({low} to {high})"


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
    for name in _names(without) or []:
        if name not in found.prompts:
            raise unknown_name("prompt in --without", name, found.prompts)
        del found.prompts[name]
    if len(found.prompts) < 2:
        raise UserError(f"{place} holds {len(found.prompts)} usable prompt(s); two or more can be compared.")
    return found.prompts


def _names(listed: str | None) -> list[str] | None:
    return None if listed is None else [name.strip() for name in listed.split(",") if name.strip()]


def _all_rows(rows: str) -> bool:
    if rows not in ROWS:
        raise unknown_name("choice of --rows", rows, ROWS)
    return rows == "all"


def _write(table: pd.DataFrame, path: Path, index: bool = True) -> None:
    from prompt_hub.atomic import write_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, table.to_csv(index=index).encode())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose a writable place.") from None
    say(f"Written to {path}.")
