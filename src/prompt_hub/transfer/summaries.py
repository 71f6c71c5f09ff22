"""What a transfer table says: means over pairs of tasks, and the best source for every target."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from prompt_hub.evaluation.pairs import FLOORS, Pair, interval_over_tasks, summarise

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"same type": True, "other type": False, "unknown type": None}


def summary(table: pd.DataFrame, intervals: bool = True) -> pd.DataFrame:
    """Means over the pairs of a source and another target, of one type, of two, and of unknown ones.

    Three rows a seed; a table with ``over_seeds`` gives three in all. pairs: how many; their target has a
    prompt of its own. score: mean score. relative: mean of score / own; relative_low, relative_high: 95%
    interval when other tasks of these types could have been taken; relative_majority, relative_no_prompt,
    relative_random_prompt: what the floors have of it. above_majority: mean of (score - majority) /
    (own - majority) over the pairs_above_majority whose target's own prompt is surely above the majority
    class, with the same companions. negative: pairs surely below the backbone without a prompt. intervals:
    without, those are None.
    """
    import pandas as pd

    foreign = foreign_cells(table)
    types = dict(zip(table["target"], table["target_type"], strict=True))
    types |= dict(zip(foreign["source"], foreign["source_type"], strict=True))
    rows = []
    for seed, cells in foreign.groupby("seed", dropna=False, sort=True):
        records = cells[_OF_A_PAIR].astype({"n": int, "overlap_removed": int}).to_dict("records")
        for name, alike in GROUPS.items():
            pairs = [pair_of(row) for row in records if row["same_type"] is alike]
            rows.append({"group": name, "seed": seed, **_means(pairs, types, intervals)})
    columns = ["group", "seed", *(_means([], {}, False))]
    found = pd.DataFrame(rows, columns=columns)
    found["seed"] = found["seed"].astype("Int64")
    return found


_OF_A_PAIR = [
    "source", "target", "same_type", "metric", "n", "score", "low", "high", "own", "own_low", "own_high",
    *FLOORS, "overlap_removed", "gain_low", "gain_high",
]  # fmt: skip


def foreign_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Finished cells of a prompt on another task than its own, where the target has a prompt of its own."""
    done = table[(table["kind"] == "prompt") & (table["status"] == "done")]
    return done[(done["source_task"] != done["target"]) & done["own"].notna()]


def pair_of(row: dict[str, Any]) -> Pair:
    """A row of the table as a ``Pair``."""
    known = {name: row[name] for name in FLOORS if row[name] == row[name]}
    has_gain = row["gain_low"] == row["gain_low"]
    return Pair(
        source=row["source"],
        target=row["target"],
        same_type=row["same_type"] is True,
        metric=row["metric"],
        n=int(row["n"]),
        score=row["score"],
        ci95=[row["low"], row["high"]],
        own=row["own"],
        own_ci95=[row["own_low"], row["own_high"]],
        floors=known,
        removed_overlap=int(row["overlap_removed"]),
        gain_ci95=[row["gain_low"], row["gain_high"]] if has_gain else None,
    )


def best_sources(table: pd.DataFrame) -> pd.DataFrame:
    """The prompt of another task that does best on each target (and seed), and the one that comes second.

    lead: by how much the first is above the second, None without a second. A lead within the intervals is
    no finding.
    """
    import pandas as pd

    done = table[(table["kind"] == "prompt") & (table["status"] == "done")]
    foreign = done[done["source_task"] != done["target"]]
    rows = []
    for (target, seed), cells in foreign.groupby(["target", "seed"], dropna=False, sort=False):
        ranked = cells.sort_values("score", ascending=False, kind="stable").head(2).to_dict("records")
        best, second = ranked[0], ranked[1] if len(ranked) > 1 else None
        rows.append(
            {
                "target": target,
                "seed": seed,
                **{name: best[name] for name in _OF_THE_BEST},
                "second": second["source"] if second else None,
                "lead": best["score"] - second["score"] if second else None,
                "of": len(cells),
            }
        )
    found = pd.DataFrame(rows, columns=["target", "seed", *_OF_THE_BEST, "second", "lead", "of"])
    found["seed"] = found["seed"].astype("Int64")
    return found


_OF_THE_BEST = (
    "source", "source_type", "same_type", "metric", "n", "score", "low", "high", "relative", "negative",
)  # fmt: skip


def _means(pairs: list[Pair], types: dict[str, str], intervals: bool) -> dict[str, Any]:
    found = summarise(pairs)

    def with_interval(figure: str) -> dict[str, Any]:
        low, high = (interval_over_tasks(pairs, figure, types) if intervals else None) or (None, None)
        floors = found[f"{figure}_of_floors"]
        return {
            figure: found[figure],
            f"{figure}_low": low,
            f"{figure}_high": high,
            **{f"{figure}_{name}": floors[name] for name in FLOORS if name in floors},
        }

    return {
        "pairs": found["pairs"],
        "score": fmean(pair.score for pair in pairs) if pairs else None,
        **with_interval("relative"),
        "pairs_above_majority": found["pairs_above_majority"],
        **with_interval("above_majority"),
        "negative": found["negative"],
    }
