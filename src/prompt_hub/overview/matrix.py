"""A transfer matrix: its heat map in scores and in shares, its means, its best sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.evaluation.pairs import FLOORS
from prompt_hub.overview.found import Found, Records
from prompt_hub.overview.heat_map import Facts, heat_map
from prompt_hub.overview.notices import left_out, negative_transfer
from prompt_hub.overview.words import command_text, plural
from prompt_hub.reports.figures import FLOOR_NAMES
from prompt_hub.reports.html.blocks import Choice, Figure, Notice, Score, Section, Table, Text
from prompt_hub.runs.records import json_text
from prompt_hub.transfer.document import Document
from prompt_hub.transfer.plan import made_by
from prompt_hub.transfer.summaries import best_sources
from prompt_hub.transfer.verdicts import verdict_notes, verdict_rows
from prompt_hub.transfer.view import Means, View, view_of

if TYPE_CHECKING:
    import pandas as pd

CAPTION = {
    False: "Scores in %. Rows: where the prompt comes from; columns: where it is used, without training. "
    "Hover, tap or move with the arrow keys for interval, floors and n.",
    True: "Shares of the score of the target's own prompt, in %. Below the line what the floors have of it.",
}
MOST_CELLS = 6000
"""On a page, so that it stays below 6 MB; more sources are chosen from."""
MOST_NOTICES = 200
"""Of one kind."""
VIEWS = {False: "Scores", True: "Relative to own prompt"}


def matrix_section(found: Found, records: Records) -> Section:
    """Raises ``UserError`` where the grid beside the plan is missing or cannot be read."""
    folder = found.folder
    document = Document.of(folder)
    plan, place = document.plan, records.name(folder)
    means, note = readable(document.means, folder)
    rows = means.to_dict("records")
    section = Section(
        title=f"Transfer matrix: {place}",
        lead=document.headline + ".",
        place=str(found.path),
        facts=[
            ("Backbone", str(plan.backbone["name"])),
            ("Layout", plan.layout),
            ("Prompts", str(len(plan.sources))),
            ("Tasks", str(len(plan.targets))),
            ("Rows", f"{plan.split}" + (f", at most {plan.limit} a task" if plan.limit else "")),
            ("Numbers", plan.dtype),
        ],
        command=command_text(made_by(folder).get("command")),
        documents={
            "matrix.md": document.markdown,
            "matrix.tex": document.latex,
            "matrix.csv": document.csv,
            "matrix.json": lambda: json_text(document.data()),
        },
    )
    known = {(row["source"], row["target"]): row for row in rows}

    def facts(source: str, target: str) -> list[str]:
        row = known.get((source, target))
        return [] if row is None else cell_facts(row)

    views = {relative: view_of(means, relative) for relative in (False, True)}
    section.content.append(
        Figure(
            "transfer", "Every prompt on every task",
            both_views(views, facts),
            [cell_table(rows, note)],
            f"prompt-hub matrix show {folder} --relative --figure heat.png",
            {"transfer": views[False].draw, "transfer-relative": views[True].draw},
        )
    )  # fmt: skip
    section.content += [means_table(means, number) for number, means in enumerate(document.summaries, 1)]
    section.content.append(_best(document))
    if document.verdicts:
        head, body = verdict_rows(document.verdicts)
        section.content.append(Table("races", "The best source of each target, by races", head, body))
        section.content += [Text(line) for line in verdict_notes(document.verdicts)]
    if note:
        section.content.insert(0, Text(note))
    section.notices = matrix_notices(document.means, place)
    section.notices += [
        Notice("other", f"{name} was left out of {place}: {why}") for name, why in plan.left_out
    ]
    return section


def readable(means: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, str]:
    """Cells that a page has room for, and a line that says which they are; empty where all are there."""
    prompts = means[means["kind"] == "prompt"]
    every = list(dict.fromkeys(means["target"]))
    targets = every[: MOST_CELLS // 10]
    sources = prompts.drop_duplicates("source")
    room = max(1, MOST_CELLS // len(targets))
    if len(sources) <= room and len(targets) == len(every):
        return means, ""
    own = set(sources.loc[sources["source_task"].isin(targets), "source"])
    elsewhere = prompts[prompts["source_task"] != prompts["target"]].groupby("source")["score"].mean()
    order = elsewhere.reindex(sources["source"]).fillna(-math.inf).sort_values(ascending=False, kind="stable")
    chosen = sorted(order.index, key=lambda name: name not in own)[:room]
    shown = means[means["source"].isin([*chosen, *FLOORS]) & means["target"].isin(targets)]
    columns = (
        f" and the first {len(targets):,} of {len(every):,} targets" if len(targets) < len(every) else ""
    )
    return shown, (
        f"Drawn and listed are {len(chosen):,} of {len(sources):,} sources{columns}: the tasks' own prompts, "
        "then those with the highest mean score on other tasks. Means, best sources and warnings are of all. "
        f"All numbers: prompt-hub matrix show {folder} --format csv"
    )


def both_views(views: Mapping[bool, View], facts: Facts) -> Choice:
    """Heat maps of scores (False) and of shares (True) behind one switch."""
    maps = {VIEWS[each]: heat_map(view, facts, CAPTION[each]) for each, view in views.items()}
    return Choice("Scores or shares", maps)


def cell_facts(row: Mapping[str, Any]) -> list[str]:
    """What a tile says when it is asked."""
    floor = row["kind"] == "floor"
    source = FLOOR_NAMES[row["source"]] if floor else f"Prompt of {row['source']}"
    lines = [f"{source} on {row['target']}"]
    if row["status"] == "failed":
        return [*lines, f"failed: {row['error']}"]
    if _missing(row["score"]):
        return [*lines, "not computed yet"]
    interval = "" if _missing(row["low"]) else f" (95%: {row['low']:.3f} to {row['high']:.3f})"
    lines.append(f"{row['metric']} {row['score']:.3f}{interval}, n = {int(row['n'])}")
    if row["status"] == "partial":
        lines.append("scored on a part of the rows, in a race")
    if not _missing(row["relative"]):
        ends = "" if _missing(row["relative_low"]) else (
            f" ({100 * row['relative_low']:.0f} to {100 * row['relative_high']:.0f}%)"
        )  # fmt: skip
        lines.append(f"{100 * row['relative']:.0f}%{ends} of the own prompt's {row['own']:.3f}")
    floors = [f"{FLOOR_NAMES[name]} {row[name]:.3f}" for name in FLOORS if not _missing(row[name])]
    if floors and not floor:
        lines.append("same rows: " + ", ".join(floors))
    if not _missing(row["seeds"]) and row["seeds"] > 1:
        lines.append(f"mean over {int(row['seeds'])} seeds")
    if not floor and not _missing(row["overlap_removed"]) and row["overlap_removed"]:
        lines.append(f"{int(row['overlap_removed'])} rows left out: the prompt was trained on them")
    if row["negative"] is True:
        lines.append("surely below the backbone without a prompt: negative transfer")
    return lines


def cell_table(rows: Sequence[Mapping[str, Any]], note: str = "") -> Table:
    body = [
        [
            FLOOR_NAMES.get(row["source"], row["source"]) if row["kind"] == "floor" else row["source"],
            row["target"], row["metric"], _score(row, "score", "low", "high"),
            _score(row, "relative", "relative_low", "relative_high"),
            *(None if row["kind"] == "floor" else _plain(row[name]) for name in FLOORS),
            None if _missing(row["n"]) else int(row["n"]), row["status"],
        ]
        for row in rows
    ]  # fmt: skip
    head = ["prompt of", "used on", "metric", "score (95%)", "share of own (95%)",
            *(FLOOR_NAMES[name] for name in FLOORS), "n", "status"]  # fmt: skip
    return Table("cells", "The numbers of every cell", head, body, note, folded=True)


def means_table(means: Means, number: int) -> Table:
    return Table(f"means-{number}", means.title, means.head, means.rows)


def matrix_notices(means: pd.DataFrame, place: str) -> list[Notice]:
    """Negative transfer, overlap of data, failures and what is still open."""

    def negative(row: Mapping[str, Any]) -> Notice:
        n = int(row["n"])
        return negative_transfer(row["source"], row["target"], row["score"], row["no_prompt"], n, place)

    def overlap(row: Mapping[str, Any]) -> Notice:
        return left_out(int(row["overlap_removed"]), row["source"], row["target"], place)

    def failed(row: Mapping[str, Any]) -> Notice:
        return Notice("unfinished", f"{row['source']} on {row['target']} failed: {row['error']} ({place})")

    removed = (means["kind"] == "prompt") & (means["overlap_removed"].fillna(0) > 0)
    found = _first(means[means["negative"].fillna(False)], negative, place)
    found += _first(means[removed], overlap, place)
    found += _first(means[means["status"] == "failed"], failed, place)
    waiting = int((means["status"] == "open").sum())
    if waiting:
        found.append(
            Notice(
                "unfinished",
                f"{plural(waiting, 'cell')} of {place} not computed yet; the same command goes on.",
            )
        )
    return found


def _first(rows: pd.DataFrame, notice: Callable[[Mapping[str, Any]], Notice], place: str) -> list[Notice]:
    """As many as are read, and how many more there are."""
    found = [notice(row) for row in rows.head(MOST_NOTICES).to_dict("records")]
    more = len(rows) - len(found)
    if more:
        found.append(Notice(found[0].kind, f"{more:,} more of this kind in {place}."))
    return found


def _best(document: Document) -> Table:
    rows = [
        [row["target"], row["source"], row["source_type"], Score(row["score"], row["low"], row["high"]),
         _plain(row["relative"]), row["second"] or "", _plain(row["lead"])]
        for row in best_sources(document.means).to_dict("records")
    ]  # fmt: skip
    head = ["target", "best source", "its type", "score (95%)", "share of own", "second", "lead"]
    note = "The best of several is chosen by its score, so its score promises too much."
    return Table("best-sources", "The best source of another task", head, rows, note)


def _score(row: Mapping[str, Any], *names: str) -> Score:
    value, low, high = (_plain(row[name]) for name in names)
    return Score(value, low, high)


def _plain(value: Any) -> float | None:
    return None if _missing(value) else float(value)


def _missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value != value
