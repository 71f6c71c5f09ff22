"""Records as the commands write them, with numbers that are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BACKBONE = {
    "name": "mini-roberta", "revision": None, "family": "masked_lm", "model_type": "roberta", "hidden": 128,
    "embedding_hash": "a92cfa09b3a6a12a", "tokenizer_hash": "45329c0098fdfb0b",
}  # fmt: skip
ENVIRONMENT = {
    "python": "3.11",
    "packages": {"torch": "2.13"},
    "machine": "x86",
    "system": "Linux",
    "cpus": 2,
}


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def record(kind: str, settings: dict, result: dict, command: list[str] | None = None, **more: Any) -> dict:
    return {
        "kind": kind, "settings": settings, "result": result, "status": "done",
        "command": command or ["/somewhere/bin/prompt-hub", kind, "--output", "a folder"],
        "environment": ENVIRONMENT, "created": "2026-01-02T03:04:05+00:00", "finished": None,
        "record_version": 1, **more,
    }  # fmt: skip


def training(
    task: str = "sst2", score: float = 0.871, diagnosis: tuple[str, ...] = (), seed: int = 1, **more: Any
) -> dict:
    history = [{"loss": 0.9 - step / 100, "step": step} for step in (10, 20, 30)]
    history += [
        {"eval_loss": 0.8 - step / 100, "eval_accuracy": score - (30 - step) / 100, "step": step}
        for step in (10, 20, 30)
    ]
    result = {
        "task": task, "backbone": "mini-roberta", "primary_metric": "accuracy", "n": 200,
        "metrics": {"accuracy": score}, "ci95": {"accuracy": [score - 0.05, score + 0.04]},
        "floors": {"majority": {"accuracy": 0.505}, "no_prompt": {"accuracy": 0.53}},
        "data": {"split": "validation", "fingerprint": "f1", "source": "made up"},
        "seconds": 12.3, "steps": 30, "diagnosis": list(diagnosis), "warnings": [], "history": history,
    }  # fmt: skip
    return record("train", {"backbone": BACKBONE, "task": task, "seed": seed}, result, **more)


def tour(folder: Path, first: str = "film", second: str = "news") -> Path:
    """Two tasks of two types; the prompt of the first is worse than none on the second."""

    def pair(source: str, target: str, score: float, negative: bool, removed: int) -> dict:
        return {
            "source": source, "target": target, "same_type": False, "metric": "accuracy", "n": 200 - removed,
            "score": score, "ci95": [score - 0.06, score + 0.05], "own": 0.9, "own_ci95": [0.85, 0.95],
            "floors": {"majority": 0.51, "no_prompt": 0.62, "random_prompt": 0.55},
            "removed_overlap": removed, "gain_ci95": [-0.2, -0.1], "relative": score / 0.9,
            "above_majority": None, "negative": negative,
        }  # fmt: skip

    means = {"pairs": 2, "relative": 0.6, "relative_of_floors": {"majority": 0.5}, "pairs_above_majority": 0,
             "above_majority": None, "above_majority_of_floors": {}}  # fmt: skip
    floors = {"majority": 0.51, "no_prompt": 0.62, "random_prompt": 0.55}
    data = {
        "status": "done", "backbone": BACKBONE, "environment": ENVIRONMENT,
        "settings": {"prompt_len": 16, "steps": 30, "seed": 7},
        "tasks": [{"name": name, "type": kind, "n_train": 9, "n_validation": 200}
                  for name, kind in ((first, "sentiment"), (second, "nli"))],
        "training": {"tasks": {}},
        "transfer": {
            "tasks": [first, second], "types": ["sentiment", "nli"], "own": {first: 0.9, second: 0.9},
            "floors": {first: floors, second: floors},
            "pairs": [pair(first, second, 0.437, True, 0), pair(second, first, 0.641, False, 13)],
            "without_rows": [], "same_type": means, "different_type": means,
        },
        "warm_start": None,
    }  # fmt: skip
    return write(folder / "quickstart.json", data)
