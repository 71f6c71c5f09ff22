"""The walk through all steps; what each finds is stored when it is finished."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from prompt_hub.overview.page import REPORT_NAME, write_report
from prompt_hub.quickstart import settings
from prompt_hub.quickstart.commands import next_commands
from prompt_hub.quickstart.steps import STEPS
from prompt_hub.quickstart.tour import RESULTS_NAME, Tour
from prompt_hub.runs.records import environment, write_json


def run_quickstart(
    tour: Tour, show: Callable[[str, dict[str, Any]], None] = lambda name, result: None
) -> dict[str, Any]:
    """Walk through all steps of a tour that ``prepare`` made.

    ``show(name, result)`` is called when a step is finished. Prompts, figures, ``quickstart.json`` (the
    returned results) and ``report.html`` lie in the tour's folder; the same tour into the same
    folder keeps what is trained.
    """
    started = time.perf_counter()
    path = tour.folder / RESULTS_NAME
    results = tour.results
    results.update(status="running", **_asked(tour), command=list(sys.argv), environment=environment())
    write_json(path, results)
    for name, step in STEPS.items():
        results[name] = step(tour)
        write_json(path, results)
        if results[name] is not None:
            show(name, results[name])
    first = tour.stops[0]
    results["next"] = next_commands(
        tour.backbone, first.task, first.validation, tour.prompt_folder(first.task), tour.folder
    )
    results.update(status="done", seconds=round(time.perf_counter() - started, 1))
    write_json(path, results)
    write_report(tour.folder, tour.folder / REPORT_NAME)
    return results


def _asked(tour: Tour) -> dict[str, Any]:
    """Everything that decides the numbers, besides the versions of the libraries."""
    return {
        "backbone": tour.backbone.identity.to_dict(),
        "settings": {
            "prompt_len": settings.PROMPT_LEN,
            "steps": tour.steps,
            "train_batch": settings.TRAIN_BATCH,
            "hold_out": settings.HOLD_OUT,
            "seed": tour.seed,
        },
        "tasks": [
            {
                "name": stop.task.name,
                "type": stop.task.type,
                "n_train": len(stop.train),
                "n_validation": len(stop.validation),
                "train_fingerprint": stop.train.fingerprint,
                "validation_fingerprint": stop.validation.fingerprint,
            }
            for stop in tour.stops
        ],
    }
