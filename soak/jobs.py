"""The commands that faults are put into, and what of their results has to be the same afterwards."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTPUT = "out"
_NOT_COMPARED = ("_runtime", "_per_second", "train_loss")
"""Times, and the Trainer's mean over the steps since it last started."""
SMALL = ["--device", "cpu", "--prompt-len", "4", "--batch-size", "8"]


@dataclass(frozen=True)
class Job:
    """arguments: of the command, the same after a fault. state: of its output, without times of day.

    finished: pieces of work that are done for good at a moment, by name.
    """

    name: str
    arguments: list[str]
    state: Callable[[Path], Any]
    finished: Callable[[Path], set[str]]


def jobs(material: Path) -> dict[str, Job]:
    """By name. material: a folder that ``make_material`` filled."""
    gpt2, roberta = str(material / "gpt2"), str(material / "roberta")
    train = [
        "train", "--backbone", gpt2, "--train", str(material / "train.csv"), "--eval",
        str(material / "eval.csv"), "--text-a", "review", "--label", "stars", "--label-words", "1=bad,2=good",
        "--max-steps", "24", "--eval-every", "3", *SMALL, "--output", OUTPUT, "--resume",
    ]  # fmt: skip
    matrix = [
        "matrix", "--backbone", gpt2, "--tasks", "mini/film,mini/hotel,mini/nli_people", "--train",
        "--limit-train", "32", "--limit-eval", "24", "--hold-out", "0", "--max-steps", "4", *SMALL,
        "--output", OUTPUT,
    ]  # fmt: skip
    project = [
        "project", "train", "--source-backbone", roberta, "--target-backbone", gpt2, "--tasks",
        "mini/film,mini/hotel", "--prompt-steps", "3", "--max-steps", "4", "--limit-train", "32",
        "--limit-eval", "16", *SMALL, "--output", OUTPUT,
    ]  # fmt: skip
    report = ["report", str(material / "results"), "--output", f"{OUTPUT}/report.html"]
    return {
        "train": Job("train", train, _trained, _checkpoints),
        "matrix": Job("matrix", matrix, _table, _cells),
        "project": Job("project", project, _projector, _prompts),
        "report": Job("report", report, _page, lambda folder: set()),
    }


def make_material(folder: Path) -> None:
    """Tiny random backbones and a file of rows."""
    from tiny_models import WORDS, build

    for kind in ("gpt2", "roberta"):
        build(kind, folder / kind)
    chooser = random.Random(0)
    for name, count in (("train", 96), ("eval", 24)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["review", "stars"])
            for index in range(count):
                writer.writerow([" ".join(chooser.choices(WORDS, k=chooser.randint(2, 9))), 1 + index % 2])


# -- what has to be the same -------------------------------------------------------------------------


def _trained(folder: Path) -> Any:
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    prompt = SoftPrompt.from_pretrained(folder)
    record = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    curve = [
        {k: v for k, v in point.items() if not k.endswith(_NOT_COMPARED)}
        for point in record["result"]["history"]
    ]
    return [prompt.hash, prompt.metadata.metrics, record["status"], curve]


def _table(folder: Path) -> Any:
    from prompt_hub.transfer import load_table

    table = load_table(folder).drop(columns=["seconds"])
    return json.loads(table.to_json(orient="split"))


def _projector(folder: Path) -> Any:
    """All tensors below the folder that are results."""
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        # What a killed save left behind has a name with a dot, and is nobody's result.
        inside = path.relative_to(folder).parts
        if "checkpoints" not in inside and not any(part.startswith(".") for part in inside):
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _page(folder: Path) -> Any:
    text = (folder / "report.html").read_text(encoding="utf-8").strip()
    assert text.startswith("<!doctype html>") and text.endswith("</html>"), "half a page"
    return hashlib.sha256(re.sub(r"\d\d:\d\d UTC", "", text).encode()).hexdigest()


# -- what is done for good ---------------------------------------------------------------------------


def _cells(folder: Path) -> set[str]:
    from prompt_hub.runs.grid import Grid

    if not (folder / "grid.sqlite").exists():
        return set()
    with Grid.open(folder, create=False) as grid:
        return {done.key for done in grid.results()}


def computed_twice(folder: Path, keys: set[str]) -> set[str]:
    """Those of the finished cells that were computed again."""
    from prompt_hub.runs.grid import Grid

    with Grid.open(folder, create=False) as grid:
        once = {done.key for done in grid.results() if done.computed == 1}
    return keys - once


def _checkpoints(folder: Path) -> set[str]:
    from prompt_hub.training.trainer import last_complete_checkpoint

    last = last_complete_checkpoint(folder / "checkpoints") if folder.exists() else None
    return {last.name} if last is not None else set()


def _prompts(folder: Path) -> set[str]:
    from prompt_hub.prompts.store import find_prompts

    entries = find_prompts(folder) if folder.is_dir() else []
    return {str(entry.path) for entry in entries if entry.metadata is not None}
