"""``prompt-hub report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, say, warn
from prompt_hub.errors import UserError


def report(
    folder: Annotated[Path, typer.Argument(help="Folder with results, at any depth.")] = Path("runs"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The HTML file; default: report.html in the folder.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Also write figures (.png, .svg, .pdf) and tables (.md, .tex, .csv, .json) into this folder."
        ),
    ] = None,
    as_json: o.JsonOption = False,
) -> None:
    """Write one HTML page of everything that was recorded below a folder.

    It needs no network and no other file: it can be sent by mail. Examples:

      prompt-hub report runs/quickstart

      prompt-hub report runs -o report.html --export paper
    """
    from prompt_hub.overview.page import REPORT_NAME, write_report

    path = output if output is not None else folder / REPORT_NAME
    if path.is_dir():
        raise UserError(f"--output {path} is a folder. Name a file, such as {path / 'report.html'}.")
    page = write_report(folder, path)
    for section in page.sections:
        for notice in section.notices:
            if notice.kind == "damaged":
                warn(notice.text)
    count = len(page.sections)
    say(f"Report of {count} section{'s' if count > 1 else ''} in {path}. Open it in a browser.")
    files: list[Path] = []
    if export is not None:
        from prompt_hub.overview.export import export as write_files

        files = write_files(page, export)
        say(f"{len(files)} figures and tables in {export}.")
    if as_json:
        sections = [
            {"title": each.title, "record": each.place, "notices": [vars(one) for one in each.notices]}
            for each in page.sections
        ]
        print_json({"path": str(path), "sections": sections, "exported": list(map(str, files))})
