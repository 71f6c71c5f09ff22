"""A stored matrix whose answers are made up: what a table says about answers that are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prompt_hub.evaluation.answers import Answers
from prompt_hub.runs.grid import Grid
from prompt_hub.tasks import get_task
from prompt_hub.transfer.plan import CELL, RANDOM, TRAIN, Plan, Source, Target

ROWS = 400
TYPES = {"sst2": "sentiment", "imdb": "sentiment", "rte": "nli", "qnli": "nli"}


def made_up_plan(tasks: tuple[str, ...] = ("sst2", "imdb", "rte"), seeds: tuple[int, ...] = (1,)) -> Plan:
    return Plan(
        backbone={"name": "m", "revision": None, "family": "causal_lm"},
        dtype="float32",
        layout="prompt-text",
        split="validation",
        limit=None,
        sources=tuple(
            Source(name, name, TYPES[name], seed, 4, f"p/{name}", {"prompt_hash": f"{name}{seed}"})
            for seed in seeds
            for name in tasks
        ),
        targets=tuple(map(made_up_target, tasks)),
    )


def made_up_target(name: str) -> Target:
    task = get_task(name)
    data = {"fingerprint": name, "source": "made up", "n": ROWS, "metric": "accuracy"}
    references = [float(row >= 160) for row in range(ROWS)]
    return Target(name, task.type, task.to_dict(), task.fingerprint(), data, references)


def right(*spans: tuple[int, int]) -> np.ndarray:
    """``[ROWS]``: 1 on the rows of the spans, 0 elsewhere."""
    scores = np.zeros(ROWS)
    for start, end in spans:
        scores[start:end] = 1
    return scores


def store(
    folder: Path,
    plan: Plan,
    scores: Mapping[tuple, np.ndarray],
    rows: Mapping[tuple, np.ndarray] | None = None,
    failing: Mapping[tuple, str] | None = None,
) -> None:
    """Fills the grid of ``plan``.

    scores: ``[ROWS]`` right or wrong by (source, target) or (source, target, seed); of a floor by
    ("no_prompt", target) and ("random_prompt", target). The first half is right where none are given. rows:
    those that a cell was scored on. failing: errors.
    """
    plan.save(folder, {})
    with Grid.open(folder) as grid:
        grid.add(plan.items())
        while (item := grid.claim("test")) is not None:
            work = item.work
            if item.kind == TRAIN:
                grid.finish(item.key, {"prompt_hash": "h"}, 1.0)
                continue
            source = work["source"] if item.kind == CELL else work["floor"]
            names = [(source, work["target"], work.get("seed")), (source, work["target"])]
            error = next((failing[name] for name in names if failing and name in failing), None)
            if error:
                grid.fail(item.key, error)
                continue
            given = next((scores[name] for name in names if name in scores), right((0, ROWS // 2)))
            kept = next((rows[name] for name in names if rows and name in rows), np.arange(ROWS))
            answers = Answers(ROWS, kept, given[kept])
            result = {
                "n": len(kept),
                "removed_overlap": ROWS - len(kept),
                "prompt_hash": f"{source}{work.get('seed')}",
                "answers": answers.to_dict(),
            }
            assert item.kind == CELL or source in ("no_prompt", RANDOM)
            grid.finish(item.key, result, 2.0)
