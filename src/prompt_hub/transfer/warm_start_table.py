"""The comparison of starts in one call, as a tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.backbones import load_backbone
from prompt_hub.errors import UserError
from prompt_hub.tasks import get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.transfer.starts import Source
from prompt_hub.transfer.warm_starts import EVALUATIONS, compare_starts

if TYPE_CHECKING:
    import pandas as pd


def warm_start(
    source: str | Path,
    task: str,
    args: PromptTrainingArguments | None = None,
    *,
    other: str | Path | None = None,
    backbone: str | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    keep_seen: bool = False,
    output: str | Path = "runs/warm-start",
) -> pd.DataFrame:
    """Train ``task`` cold and from the prompt ``source``; a row a run and kind of learning curve.

    other: a prompt of a task of another type, to compare with. args: of every run (also ``data_dir``,
    ``limit_train``, ``limit_eval``, ``device``); default 300 steps and a curve of 30 points. backbone: the
    source's where none is named. keep_seen: rows that a prompt was trained on stay in training. output: the
    folder of records and runs; the same call again trains nothing that is finished there. What is done, and
    what the columns mean, is in ``compare_starts`` and ``rows_of``. Raises ``UserError`` as the command
    ``warm-start`` does.
    """
    if args is None:
        args = PromptTrainingArguments(max_steps=300, evaluations=EVALUATIONS)
    warm = Source.read(str(source))
    name = backbone or warm.prompt.metadata.backbone_name
    if name is None:
        raise UserError("The source does not say which backbone it belongs to. Name it with backbone=.")
    revision = warm.prompt.metadata.backbone.get("revision") if backbone is None else args.backbone_revision
    target = get_task(task)
    rows = {
        split: load_split(target, split, data_dir=args.data_dir, limit=limit)
        for split, limit in (("train", args.limit_train), ("validation", args.limit_eval))
    }
    result = compare_starts(
        load_backbone(name, revision=revision, device=args.device, dtype=args.backbone_dtype),
        target,
        rows["train"],
        rows["validation"],
        args,
        Path(output),
        source=warm,
        other=Source.read(str(other)) if other is not None else None,
        seeds=seeds,
        keep_seen=keep_seen,
    )
    return as_table(result)


def as_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """A result of ``compare_starts`` as a table with the columns of ``rows_of``."""
    import pandas as pd

    return pd.DataFrame(rows_of(result))


def rows_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a run and curve (``score`` or ``loss`` on held-out rows).

    ``score`` with ``ci_low``, ``ci_high`` and ``n``: of the finished prompt on the validation rows, in
    ``metric``. For ``comparable`` (to the cold run's best result) and ``convergence``: the run's steps
    (missing where it did not get there), its speed-up over the cold run of its seed, and whether that is
    exact or a bound (``exact``, ``at least``, ``at most``, ``undefined``). Cold runs have their steps alone.
    """
    found = []
    warm = result["starts"]["warm"]["speed_up"]
    for run in result["runs"]:
        place = result["seeds"].index(run["seed"])
        own = result["starts"][run["start"]].get("speed_up")
        for curve in run["curves"]:
            row = {
                "task": result["task"],
                "source": result["source"]["task"],
                "start": run["start"],
                "seed": run["seed"],
                "metric": result["metric"],
                "score": run["score"],
                "ci_low": run["ci95"][0],
                "ci_high": run["ci95"][1],
                "n": result["n"],
                "trained_steps": run["steps"],
                "curve": curve,
            }
            for kind in ("comparable", "convergence"):
                one = (own or warm)[curve][kind]["by_seed"][place]
                row[f"{kind}_steps"] = one["steps"] if own else one["cold_steps"]
                row[f"{kind}_speed_up"] = one["ratio"] if own else None
                row[f"{kind}_bound"] = one["bound"] if own else None
            found.append({**row, "prompt": run["folder"]})
    return found
