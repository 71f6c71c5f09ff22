"""From a folder to the page of its records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prompt_hub.atomic import write_file
from prompt_hub.errors import UserError
from prompt_hub.overview.cross_model import distilled_section, map_section, projected_section
from prompt_hub.overview.evaluations import evaluation_section
from prompt_hub.overview.found import Found, Records, find_records
from prompt_hub.overview.indicators import indicator_section
from prompt_hub.overview.masking import masking_section
from prompt_hub.overview.material import environments, material_tables
from prompt_hub.overview.matrix import matrix_section
from prompt_hub.overview.overlap import overlap_section
from prompt_hub.overview.tour import tour_sections
from prompt_hub.overview.training import independent_runs, training_section
from prompt_hub.overview.warm_start import warm_start_section
from prompt_hub.overview.words import plural
from prompt_hub.reading import open_regular
from prompt_hub.reports.html.blocks import Notice, Page, Section
from prompt_hub.reports.html.page import page_html
from prompt_hub.runs.records import now, package_versions

REPORT_NAME = "report.html"
"""In the folder that it reports on, where nothing else is asked for."""
_MARK, _HEAD_BYTES = b"Prompt Hub report</title>", 4096
"""What the start of a report holds."""

_COUNTED = {
    "train": ("training run", "training runs"),
    "tour": ("tour", "tours"),
    "matrix": ("transfer matrix", "transfer matrices"),
    "warm_start": ("warm-start comparison", "warm-start comparisons"),
    "validation": ("validation of indicators", "validations of indicators"),
    "neurons overlap": ("comparison of neurons", "comparisons of neurons"),
    "neurons mask": ("masking study", "masking studies"),
    "map": ("map to another backbone", "maps to other backbones"),
    "projected": ("projected prompt", "projected prompts"),
    "distil": ("distillation", "distillations"),
    "eval": ("evaluation", "evaluations"),
}
"""What the head of the page counts, by kind of record."""


def write_report(folder: Path, output: Path) -> Page:
    """The page of everything below ``folder``, written to the file ``output``.

    Raises ``UserError`` where there is nothing to report on, the file cannot be written, or one that is no
    report would be replaced.
    """
    _check_free(output)
    page, html = _report(folder)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # A text with half a character (a lone surrogate of JSON) must not stop the rest.
        write_file(output, html.encode(errors="replace"))
    except OSError as error:
        raise UserError(f"Cannot write {output}: {error.strerror or error}. Name another --output.") from None
    return page


def _check_free(output: Path) -> None:
    if not os.path.lexists(output):
        return
    try:
        with open_regular(output) as file:
            is_report = _MARK in file.read(_HEAD_BYTES)
    except OSError:
        is_report = False
    if not is_report:
        raise UserError(f"{output} is there already and is no report of Prompt Hub. Name another --output.")


def report_page(folder: Path) -> Page:
    """What lies below ``folder`` as a page; records that cannot be shown are named on it."""
    return _report(folder)[0]


def _report(folder: Path) -> tuple[Page, str]:
    records = find_records(folder)
    if not records.by_kind and not records.damaged:
        raise UserError(
            f"There are no records below {folder}. They are made by prompt-hub quickstart, train, matrix, "
            "warm-start and others; name the folder that holds their output."
        )
    try:
        return _shown(records)
    except Exception:  # of a record of another version, or one that was edited, anything may be missing
        _drop_unreadable(records)
    try:
        return _shown(records)
    except Exception as error:
        raise UserError(
            f"The records below {folder} cannot be shown together ({_reason(error)}). Report on parts of it."
        ) from error


def _drop_unreadable(records: Records) -> None:
    """Shows every record by itself, and leaves out those with which that fails."""
    for kind, several in records.by_kind.items():
        for found in list(several):
            try:
                _shown(Records(records.root, {kind: [found]}))
            except Exception as error:
                records.drop(found, _reason(error))


def _shown(records: Records) -> tuple[Page, str]:
    sections = list(_sections(records))
    if records.damaged:
        sections.append(_damaged(records))
    counts = {kind: len(records.of(kind)) for kind in _COUNTED} | {"train": len(independent_runs(records))}
    page = Page(
        title=records.root.resolve().name,
        subtitle=f"Made {now()[:16].replace('T', ', ')} UTC from {plural(records.count, 'record')}",
        sections=sections,
        summary=[(count, _COUNTED[kind][count > 1]) for kind, count in counts.items() if count],
        tables=material_tables(records),
        footer=[
            *environments(records),
            f"Made by Prompt Hub {package_versions().get('prompt-hub', '')}: "
            f"prompt-hub report {records.root}",
        ],
    )
    return page, page_html(page)


def _sections(records: Records) -> Iterator[Section]:
    training = training_section(records)
    if training is not None:
        yield training
    for kind, read in _READERS.items():
        for found in records.of(kind):
            yield from read(found, records)
    if records.of("eval"):
        yield evaluation_section(records.of("eval"), records)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _damaged(records: Records) -> Section:
    names = {records.name(path): why for path, why in records.damaged.items()}
    return Section(
        title="Records that could not be read",
        lead="They were left out. Make them again, or use the version of Prompt Hub that wrote them.",
        notices=[Notice("damaged", f"{name}: {why}") for name, why in names.items()],
    )


_READERS: Mapping[str, Callable[[Found, Records], list[Section]]] = {
    "tour": tour_sections,
    "matrix": lambda found, records: [matrix_section(found, records)],
    "warm_start": lambda found, records: [warm_start_section(found, records)],
    "validation": lambda found, records: [indicator_section(found, records)],
    "neurons overlap": lambda found, records: [overlap_section(found, records)],
    "neurons mask": lambda found, records: [masking_section(found, records)],
    "map": lambda found, records: [map_section(found, records)],
    "projected": lambda found, records: [projected_section(found, records)],
    "distil": lambda found, records: [distilled_section(found, records)],
}
"""In the order of the page."""
