"""A stored matrix as a document: Markdown, LaTeX, CSV or JSON, with what a reader has to know beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.reports.tables import latex_table, markdown_table
from prompt_hub.reports.tables import latex_text as escaped
from prompt_hub.transfer.plan import Plan
from prompt_hub.transfer.summaries import best_sources, summary
from prompt_hub.transfer.table import load_table
from prompt_hub.transfer.view import FAILED, LEGEND, NEGATIVE, OPEN, means_of, view_of

if TYPE_CHECKING:
    import pandas as pd


def markdown_text(folder: Path, relative: bool = False) -> str:
    over_seeds, by_seed = load_table(folder, over_seeds=True), load_table(folder)
    best = best_sources(over_seeds).to_dict("records")
    rows = [
        [
            row["target"],
            row["source"],
            row["source_type"],
            f"{row['score']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            "" if row["relative"] != row["relative"] else f"{row['relative']:.3f}",
            row["second"] or "",
            "" if row["lead"] != row["lead"] or row["lead"] is None else f"{row['lead']:.3f}",
        ]
        for row in best
    ]
    head = ["target", "best source", "its type", "score (95%)", "score / own score", "second", "lead"]
    parts = [
        headline(folder, over_seeds, relative),
        view_of(over_seeds, relative).markdown(),
        "\n".join(f"- {line}" for line in notes(over_seeds)),
        *(
            part
            for means in means_of(over_seeds, by_seed)
            for part in (f"{means.title}:", markdown_table(means.head, means.rows))
        ),
        "The best source for every target:",
        markdown_table(head, rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def latex_text(folder: Path, relative: bool = False) -> str:
    over_seeds, by_seed = load_table(folder, over_seeds=True), load_table(folder)
    parts = [
        *(f"% {line}" for line in (headline(folder, over_seeds, relative), *notes(over_seeds))),
        view_of(over_seeds, relative).latex(),
    ]
    for means in means_of(over_seeds, by_seed):
        rows = [[escaped(cell) for cell in row] for row in means.rows]
        parts += ["", f"% {means.title}", latex_table([escaped(name) for name in means.head], rows)]
    return "\n".join(parts) + "\n"


def csv_text(folder: Path) -> str:
    """The tidy table, one line a cell and seed."""
    return load_table(folder).to_csv(index=False)


def json_data(folder: Path) -> dict[str, Any]:
    """table: of every seed; over_seeds: means; summary and best_sources of the means; plan."""
    table, means = load_table(folder), load_table(folder, over_seeds=True)
    plan = Plan.load(folder)
    counts = table["status"].value_counts()
    return {
        "backbone": plan.backbone,
        "split": plan.split,
        "limit": plan.limit,
        "tasks": [target.name for target in plan.targets],
        "counts": {status: int(counts.get(status, 0)) for status in ("done", "failed", "open")},
        "table": _records(table),
        "over_seeds": _records(means),
        "summary": _records(summary(means)),
        "best_sources": _records(best_sources(means)),
    }


def headline(folder: Path, over_seeds: pd.DataFrame, relative: bool) -> str:
    plan = Plan.load(folder)
    what = "score / score of the target's own prompt" if relative else "scores"
    metrics = ", ".join(dict.fromkeys(over_seeds["metric"]))
    seeds = [seed for seed in plan.seeds if seed is not None]
    several = f", means over seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    rows = f"{plan.split} rows" + (f", at most {plan.limit} a task" if plan.limit else "")
    return (
        f"Prompts of {plan.backbone['name']} on tasks, without training: {what} in % ({metrics}; {rows}"
        f"{several})"
    )


def notes(over_seeds: pd.DataFrame) -> list[str]:
    """What the signs in the table mean, rows left out, and every error."""
    prompts = over_seeds[over_seeds["kind"] == "prompt"]
    counts = {
        NEGATIVE: int(prompts["negative"].fillna(False).sum()),
        FAILED: int((over_seeds["status"] == "failed").sum()),
        OPEN: int((over_seeds["status"] == "open").sum()),
    }
    lines = ["The task's own prompt is in brackets or bold."]
    lines += [f"{sign} {LEGEND[sign]} ({count})" for sign, count in counts.items() if count]
    removed = int(prompts["overlap_removed"].fillna(0).sum())
    if removed:
        lines.append(f"{removed} rows were left out because a prompt was trained on their text.")
    failed = over_seeds[over_seeds["status"] == "failed"]
    lines += [f"{row['source']} on {row['target']}: {row['error']}" for row in failed.to_dict("records")]
    return lines


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return list(json.loads(table.to_json(orient="records", double_precision=6)))
