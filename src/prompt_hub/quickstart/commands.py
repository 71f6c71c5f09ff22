"""Three commands to go on with, on a file of rows that the user replaces by an own one."""

from __future__ import annotations

import csv
import io
import re
import shlex
from pathlib import Path

from prompt_hub.atomic import write_file
from prompt_hub.backbones import Backbone
from prompt_hub.tasks import Split, Task

EXAMPLE_NAME = "example.csv"
_EXAMPLE_ROWS = 100


def next_commands(backbone: Backbone, task: Task, rows: Split, prompt: Path, folder: Path) -> list[str]:
    """Writes ``example.csv`` with some of ``rows`` into ``folder``; commands that read it, as a shell does.

    prompt: trained on ``task``, not on ``rows``.
    """
    example = folder / EXAMPLE_NAME
    _write_rows(task, rows, example)
    texts = ["--text-a", task.text_roles[0]]
    if task.has_text_b:
        texts += ["--text-b", "text_b"]
    columns = [*texts, f"--{task.label_role}", task.label_role]
    described = columns
    if task.kind == "classification":
        words = task.label_words_for(backbone.family)
        pairs = zip(task.classes, words, strict=True)
        described = [
            *columns,
            "--label-words",
            ",".join(f"{_plain(name)}={_plain(word)}" for name, word in pairs),
        ]
    elif task.kind == "regression":
        columns, described = [], ["--task", task.name]
    lines = [
        ["eval", str(prompt), "--eval", str(example), *columns],
        ["predict", str(prompt), str(example), *texts],
        ["train", "--backbone", backbone.name, "--train", str(example), *described, "--init",
         f"prompt:{prompt}", "--max-steps", "50", "--output", str(folder / "own")],
    ]  # fmt: skip
    return [shlex.join(["prompt-hub", *line]) for line in lines]


def _plain(text: str) -> str:
    """As ``--label-words`` wants it: its separators behind a backslash."""
    return re.sub(r"([\\,=])", r"\\\1", text)


def _write_rows(task: Task, rows: Split, path: Path) -> None:
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow([*task.text_roles, task.label_role])
    for example in rows.examples[:_EXAMPLE_ROWS]:
        texts = [example.text_a, example.text_b][: len(task.text_roles)]
        label = example.label
        if task.kind == "classification" and isinstance(label, int):
            label = task.classes[label]
        table.writerow([*texts, label])
    write_file(path, written.getvalue().encode())
