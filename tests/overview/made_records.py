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


def warm_start(**more: Any) -> dict:
    """Two starts of two seeds: the warm one is at 0.8 from the first evaluation on."""

    def run(start: str, seed: int, values: list[float]) -> dict:
        curves = {
            "score": {"steps": [0, 5, 10], "values": values},
            "loss": {"steps": [0, 5, 10], "values": [-0.9, -0.5, -0.2]},
        }
        return {
            "start": start,
            "label": f"{start} label",
            "seed": seed,
            "folder": f"runs/{start}",
            "steps": 10,
            "score": values[-1],
            "ci95": [0.7, 0.9],
            "floors": {},
            "diagnosis": [],
            "curves": curves,
        }

    runs = [
        run("cold", 1, [0.5, 0.6, 0.8]),
        run("cold", 2, [0.5, 0.7, 0.75]),
        run("warm", 1, [0.79, 0.8, 0.8]),
        run("warm", 2, [0.81, 0.8, 0.85]),
    ]
    runs[1]["diagnosis"] = ["The prompt hardly moved."]
    bound = {
        "mean": 2.5,
        "bound": "at least",
        "ci95": None,
        "counts": {"exact": 1, "at least": 1, "at most": 0, "undefined": 0},
    }
    starts = {
        "cold": {"label": "cold label", "score": {"mean": 0.775, "ci95": [0.7, 0.85]}},
        "warm": {
            "label": "warm label",
            "score": {"mean": 0.825, "ci95": None},
            "gain": {"mean": 0.05, "ci95": [-0.01, 0.11]},
            "speed_up": {"score": {"comparable": bound, "convergence": bound}},
        },
    }
    result = {
        "task": "sst2",
        "task_type": "sentiment",
        "backbone": "mini-roberta",
        "metric": "accuracy",
        "n": 100,
        "n_train": 300,
        "n_held_out": 30,
        "seeds": [1, 2],
        "starts": starts,
        "runs": runs,
        "warnings": ["a word"],
        "source": {"place": "p", "task": "imdb"},
        "other": None,
        "floors": {"majority": 0.51},
        "removed_overlap": {"train": 7, "validation": 0},
    }
    return record("warm_start", {"task": "sst2"}, result, **more)


def masking(ratios: tuple[float, ...] = (0.1, 0.2)) -> dict:
    def cell(choice: str, ratio: float, score: float) -> dict:
        return {
            "target": "sst2",
            "relation": "own",
            "choice": choice,
            "ratio": ratio,
            "draw": 0,
            "source": "",
            "neurons": 10,
            "active": 4,
            "metric": "accuracy",
            "score": score,
            "ci95": [score - 0.1, score + 0.1],
            "n": 60,
            "removed_overlap": 3,
            "floors": {"majority": {"accuracy": 0.5}},
            "warnings": [],
        }

    cells = [cell("unmasked", 0.0, 0.9)]
    cells += [
        cell(choice, ratio, 0.9 - ratio * (3 if choice == "top" else 1))
        for choice in ("top", "random")
        for ratio in ratios
    ]
    summary = [
        {
            "target": "sst2",
            "relation": "own",
            "ratio": one["ratio"],
            "choice": one["choice"],
            "metric": "accuracy",
            "n": 60,
            "scores": [one["score"]],
            "mean": one["score"],
            "interval": one["ci95"],
            "neurons": 10,
            "active": 4.0,
            "unmasked": 0.9,
            "lost": 0.9 - one["score"],
        }
        for one in cells[1:]
    ]
    result = {
        "neurons": 100,
        "shape": [2, 50],
        "active": 12,
        "ratios": list(ratios),
        "choices": ["top", "random"],
        "targets": ["sst2"],
        "others": [],
        "summary": summary,
        "cells": cells,
    }
    settings = {"prompt": "runs/sst2", "backbone": "mini-roberta", "draws": 1, "hold_at": "0"}
    return record("neurons mask", settings, result)


def beside_controls(matters: bool) -> dict:
    """What ``project eval --json`` prints."""
    line = {
        "name": "shuffled source, projected",
        "same_map": True,
        "score": 0.6,
        "ci95": [0.5, 0.7],
        "gain": 0.123,
        "gain_ci95": [0.05 if matters else -0.02, 0.2],
        "does_as_well": not matters,
    }
    verdict = "The source matters." if matters else "On this task the map ignores its input."
    return {
        "map": "h",
        "method": "ridge",
        "prompt_hash": "p",
        "command": ["prompt-hub", "project", "eval"],
        "task": "sst2",
        "backbone": "mini-gpt2",
        "n": 100,
        "primary_metric": "accuracy",
        "metrics": {"accuracy": 0.723},
        "ci95": {"accuracy": [0.63, 0.81]},
        "controls": [line],
        "majority": 0.52,
        "removed_overlap": 4,
        "source_matters": matters,
        "verdict": verdict,
        "warnings": [],
    }


def projector() -> dict:
    """A trained map as it is stored."""
    controls = {
        "constant-input projector": {"score": 0.7, "gain": 0.01, "gain_ci95": [-0.1, 0.12], "same_map": True}
    }
    task = {
        "task": "sst2",
        "type": "sentiment",
        "group": "trained",
        "n": 90,
        "left_out": 0,
        "metric": "accuracy",
        "score": 0.71,
        "ci95": [0.6, 0.8],
        "majority": 0.5,
        "controls": None,
        "verdict": "",
        "warnings": [],
    }
    gain = {
        "group": "trained",
        "control": "constant-input projector",
        "tasks": 1,
        "score": 0.71,
        "gain": 0.01,
        "ci95": [-0.1, 0.12],
    }
    return {
        "schema_version": 1,
        "hash": "h",
        "method": "flat",
        "source": BACKBONE,
        "target": {**BACKBONE, "name": "gpt2"},
        "source_norm": 1.0,
        "target_norm": 1.0,
        "scale": "none",
        "seed": 1,
        "training": {},
        "train_tasks": ["sst2"],
        "warnings": [],
        "controls": {"trained: sst2": controls},
        "metrics": {
            "groups": [gain],
            "tasks": [task],
            "verdicts": {"trained": "On trained tasks (1) the projector ignores its input."},
        },
    }
