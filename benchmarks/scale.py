"""How reading grows: commands on many prompts, and on the many cells of one matrix.

    python benchmarks/scale.py --output build/scale --into docs/performance.md

The stores are made up: prompts of noise, cells with made-up answers of 100 rows on 20 targets. Each command
runs in a process of its own; what is told is its time from start to end and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from epochs import note
from machine import machine

from prompt_hub.evaluation.answers import Answers
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.grid import Grid
from prompt_hub.tasks import get_task
from prompt_hub.transfer.plan import Plan, Source, Target

BEGIN, END = "<!-- scale -->", "<!-- end of scale -->"
PROMPTS = (50, 500, 5000)
CELLS = (1000, 10_000, 100_000)
TARGETS, ROWS = 20, 100
BACKBONE = {
    "name": "mini-gpt2", "revision": None, "family": "causal_lm", "model_type": "gpt2", "hidden": 112,
    "embedding_hash": "6c0f1f2402fe2c17", "tokenizer_hash": "04ef451068c1c45d",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    found = []
    for count in options.prompts:
        folder = made(options.output / f"prompts-{count}", count, make_prompts)
        reference = folder / "p00000"
        for name, rest in {
            "prompts ls": [folder, "--json"],
            "rank": ["--task", "mini/film", "--prompts", folder, "--by", "e_avg", "--reference", reference],
        }.items():
            found.append({"command": name, "on": f"{count:,} prompts", **timed(name, rest)})
    for count in options.cells:
        folder = made(options.output / f"cells-{count}", count, make_matrix)
        for name, rest in {
            "matrix show": [folder, "--format", "json"],
            "report": [folder, "--output", options.output / f"report-{count}.html"],
        }.items():
            found.append({"command": name, "on": f"{count:,} cells", **timed(name, rest)})
    text = table(found)
    if options.into:
        page = options.into.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        options.into.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    print(text)
    return int(any(each["code"] for each in found))


def made(folder: Path, count: int, make: Any) -> Path:
    if not (folder / "complete").exists():
        note(f"{folder.name} is made")
        make(folder, count)
        (folder / "complete").touch()
    return folder


def make_prompts(folder: Path, count: int) -> None:
    sync, os.fsync = os.fsync, lambda descriptor: None
    try:
        for number in range(count):
            values = torch.randn(20, BACKBONE["hidden"], generator=torch.Generator().manual_seed(number))
            metadata = PromptMetadata(
                backbone=dict(BACKBONE), task="mini/hotel" if number else "mini/film", layout="prompt-text",
                seed=number, metrics={"accuracy": 0.5},
            )  # fmt: skip
            SoftPrompt(values, metadata).save_pretrained(folder / f"p{number:05d}")
    finally:
        os.fsync = sync


def make_matrix(folder: Path, count: int) -> None:
    """Sources by 20 targets; the first 20 sources are the targets' own prompts."""
    chooser, film = random.Random(0), get_task("mini/film")
    references = [float(row % 2) for row in range(ROWS)]
    targets = tuple(
        Target(
            f"task-{number:02d}", f"type-{number % 4}", replace(film, name=f"task-{number:02d}").to_dict(),
            f"t{number}",
            {"fingerprint": f"r{number}", "source": "made up", "n": ROWS, "metric": "accuracy"},
            references, "{text_a}", ["bad", "good"], 20, 80,
        )
        for number in range(TARGETS)
    )  # fmt: skip
    sources = tuple(
        Source(
            f"task-{number:02d}" if number < TARGETS else f"prompt-{number}",
            f"task-{number:02d}" if number < TARGETS else f"other-{number}",
            f"type-{number % 4}",
            1,
            20,
            f"prompts/{number}",
            {"hash": f"{number:016x}"},
        )
        for number in range(count // TARGETS)
    )
    plan = Plan(BACKBONE, "float32", "prompt-text", "validation", ROWS, sources, targets)
    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder, {"command": ["prompt-hub", "matrix"], "environment": {}, "place": {}})
    items = plan.items()
    with Grid.open(folder) as grid:
        grid.add(items)

    with sqlite3.connect(folder / "grid.sqlite") as connection:
        connection.executemany(
            "UPDATE items SET state = 'done', computed = 1, begun = 1, seconds = 1.0, worker = 'made up', "
            "finished_at = '2026-01-01', result = ? WHERE key = ?",
            ((json.dumps(answer(chooser)), item.key) for item in items),
        )
    connection.close()


def answer(chooser: random.Random) -> dict[str, Any]:
    """As an evaluation leaves it in the grid."""
    references = [row % 2 for row in range(ROWS)]
    answers = Answers.of(
        get_task("mini/film"), ROWS, range(ROWS), [chooser.randrange(2) for _ in references], references
    )
    return {
        "task": "made up", "backbone": "mini-gpt2", "layout": "prompt-text", "n": ROWS,
        "primary_metric": "accuracy", "metrics": {"accuracy": 0.5}, "prompt_hash": "0" * 16,
        "removed_overlap": 0, "warnings": [],
        "answers": answers.to_dict(),
    }  # fmt: skip


def timed(name: str, rest: Sequence[Any]) -> dict[str, Any]:
    note(f"{name} {rest[0]}")
    command = [sys.executable, "-m", "prompt_hub", *name.split(), *map(str, rest)]
    # A process of few megabytes starts it: a peak is inherited from the one that starts.
    done = subprocess.run([sys.executable, "-S", "-c", _STARTER, *command], capture_output=True, text=True)
    code, seconds, kilobytes = json.loads(done.stderr.splitlines()[-1])
    if code:
        note(done.stderr[-800:])
    return {"seconds": seconds, "megabytes": kilobytes / 1024, "code": code}


_STARTER = """
import os, sys, time
started = time.monotonic()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(process, 0)
code = os.waitstatus_to_exitcode(status)
print([code, time.monotonic() - started, used.ru_maxrss], file=sys.stderr)
"""


def table(found: Sequence[dict[str, Any]]) -> str:
    host = machine(torch.get_num_threads())
    lines = [
        f"{host['cpu']}, {host['cores']} cores; Python {host['python']}. {time.strftime('%Y-%m-%d')}.", "",
        "| command | on | s | peak MB |", "|---|---|---|---|",
    ]  # fmt: skip
    for each in sorted(found, key=lambda each: each["command"]):
        seconds = f"{each['seconds']:.1f}" if not each["code"] else f"failed (exit code {each['code']})"
        lines.append(f"| `{each['command']}` | {each['on']} | {seconds} | {each['megabytes']:,.0f} |")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the stores, made once")
    parser.add_argument("--prompts", type=_numbers, default=list(PROMPTS), help="sizes, with commas between")
    parser.add_argument("--cells", type=_numbers, default=list(CELLS), help="sizes, with commas between")
    parser.add_argument("--into", type=Path, help="Markdown file whose marked block is replaced")
    return parser.parse_args(argv)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")] if text else []


if __name__ == "__main__":
    raise SystemExit(main())
