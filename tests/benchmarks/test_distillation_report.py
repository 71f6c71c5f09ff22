"""The tables of the distillation benchmark say what its files hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from prompt_hub.errors import UserError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import distillation_report

    yield distillation_report.report
    sys.modules.pop("distillation_report")


def store(folder: Path, seed: int, score: float, start: float) -> None:
    names = (
        "another task's prompt, distilled", "gaussian source, distilled",
        "source without its prompt, distilled", "source with labels shuffled, distilled", "untrained start",
        "random prompt", "no prompt", "the source on its own backbone", "target's own prompt",
    )  # fmt: skip
    controls = [{"name": name, "score": start, "gain": score - start} for name in names]
    cell = {
        "asked": {"source": "a", "target": "b", "task": "film", "seed": seed, "steps": 9, "train_steps": 8},
        "table": {
            "n": 50, "metrics": {"accuracy": score}, "primary_metric": "accuracy", "controls": controls,
            "majority": 0.5, "source_matters": seed == 1,
        },
        "matches": {"shift": score + 0.1, "centred-shift": score},
        "starts": {name: {"before": start, "after": score} for name in ("text", "map")},
        "seconds": 60.0,
    }  # fmt: skip
    (folder / "cells").mkdir(exist_ok=True)
    (folder / "cells" / f"film-{seed}.json").write_text(json.dumps(cell))


def test_means_and_intervals_over_the_seeds(report, tmp_path):
    store(tmp_path, 1, 0.8, 0.5)
    store(tmp_path, 2, 0.9, 0.5)
    text = report(tmp_path)
    # Student's t with one degree of freedom is 12.706; half the difference is 0.05.
    assert "| distilled | 0.850 (0.215 to 1.485) |" in text
    assert "| untrained start | 0.500 |" in text
    assert "| untrained start | +0.350 (-0.285 to +0.985) |" in text
    assert "| difference, `shift` less `answers` | 0.100 |" in text
    assert "In 1 of 2 tables" in text and "seeds 1, 2" in text and "2 minutes" in text


def test_an_empty_folder_is_named(report, tmp_path):
    with pytest.raises(UserError, match="holds no results"):
        report(tmp_path)
