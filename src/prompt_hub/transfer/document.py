"""A stored matrix as a document: Markdown, LaTeX, CSV or JSON, with what a reader has to know beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.reports.tables import latex_comment, latex_table, latex_text, markdown_table
from prompt_hub.transfer.plan import Plan
from prompt_hub.transfer.summaries import best_sources, summary
from prompt_hub.transfer.table import load_tables
from prompt_hub.transfer.verdicts import RaceVerdict, load_verdicts, verdict_notes, verdict_rows
from prompt_hub.transfer.view import (
    FAILED,
    LEGEND,
    NEGATIVE,
    OPEN,
    PARTIAL,
    Means,
    View,
    means_of,
    number,
    view_of,
)

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("done", "partial", "failed", "open")


@dataclass(frozen=True)
class Document:
    """table: of every seed. means: over the seeds. verdicts: of races, if it was raced. relative: shares of
    the own prompt's score, not scores."""

    plan: Plan
    table: pd.DataFrame
    means: pd.DataFrame
    verdicts: list[RaceVerdict]
    relative: bool = False

    @classmethod
    def of(cls, folder: Path, relative: bool = False) -> Document:
        plan = Plan.load(folder)
        return cls(plan, *load_tables(folder, plan), load_verdicts(folder), relative)

    @property
    def view(self) -> View:
        return view_of(self.means, self.relative)

    @property
    def summaries(self) -> list[Means]:
        return means_of(self.means, self.table)

    @property
    def headline(self) -> str:
        plan = self.plan
        what = "score / score of the target's own prompt" if self.relative else "scores"
        metrics = ", ".join(dict.fromkeys(self.means["metric"]))
        seeds = [seed for seed in plan.seeds if seed is not None]
        several = f", means over seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
        rows = f"{plan.split} rows" + (f", at most {plan.limit} a task" if plan.limit else "")
        return (
            f"Prompts of {plan.backbone['name']} on tasks, without training: {what} in % ({metrics}; {rows}"
            f"{several})"
        )

    @property
    def notes(self) -> list[str]:
        """What the signs in the table mean, rows left out, and every error."""
        prompts = self.means[self.means["kind"] == "prompt"]
        counts = {
            NEGATIVE: int(prompts["negative"].fillna(False).sum()),
            FAILED: int((self.means["status"] == "failed").sum()),
            OPEN: int((self.means["status"] == "open").sum()),
            PARTIAL: int((self.means["status"] == "partial").sum()),
        }
        lines = ["The task's own prompt is in brackets or bold."]
        lines += [f"{sign} {LEGEND[sign]} ({count})" for sign, count in counts.items() if count]
        removed = int(prompts["overlap_removed"].fillna(0).sum())
        if removed:
            lines.append(f"{removed} rows were left out because a prompt was trained on their text.")
        failed = self.means[self.means["status"] == "failed"].to_dict("records")
        return lines + [f"{row['source']} on {row['target']}: {row['error']}" for row in failed]

    # -- formats ---------------------------------------------------------------------------------

    def markdown(self) -> str:
        parts = [self.headline, self.view.markdown(), "\n".join(f"- {line}" for line in self.notes)]
        for means in self.summaries:
            parts += [f"{means.title}:", markdown_table(means.head, means.rows)]
        head = ["target", "best source", "its type", "score (95%)", "score / own score", "second", "lead"]
        rows = [
            [
                row["target"], row["source"], row["source_type"],
                f"{row['score']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                number(row["relative"]), row["second"] or "", number(row["lead"]),
            ]
            for row in best_sources(self.means).to_dict("records")
        ]  # fmt: skip
        if rows:
            parts += ["The best source for every target:", markdown_table(head, rows)]
        if self.verdicts:
            notes = "\n".join(f"- {line}" for line in verdict_notes(self.verdicts))
            parts += ["The best source for every target, by races:"]
            parts += [markdown_table(*verdict_rows(self.verdicts)), notes]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        parts = [*(latex_comment(line) for line in (self.headline, *self.notes)), self.view.latex()]
        for means in self.summaries:
            rows = [[latex_text(cell) for cell in row] for row in means.rows]
            head = [latex_text(name) for name in means.head]
            parts += ["", latex_comment(means.title), latex_table(head, rows)]
        return "\n".join(parts) + "\n"

    def csv(self) -> str:
        """The tidy table, one line a cell and seed."""
        return self.table.to_csv(index=False)

    def data(self) -> dict[str, Any]:
        """Plain data: the table of every seed, its means, their summary, best sources and races."""
        counts = self.table["status"].value_counts()
        return {
            "backbone": self.plan.backbone,
            "split": self.plan.split,
            "limit": self.plan.limit,
            "tasks": [target.name for target in self.plan.targets],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.plan.left_out],
            "counts": {status: int(counts.get(status, 0)) for status in STATUSES},
            "table": _records(self.table),
            "over_seeds": _records(self.means),
            "summary": _records(summary(self.means)),
            "best_sources": _records(best_sources(self.means)),
            "races": [{**asdict(each), "verdict": each.in_words} for each in self.verdicts],
        }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return list(json.loads(table.to_json(orient="records", double_precision=6)))
