"""One call of every command that has ``--json``, in an order in which each finds what it needs."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from command import succeeds

WORDS = "the film was good bad great awful plot actor scene story boring lovely what a".split()
TASKS = ("sst2", "rotten_tomatoes", "imdb")
QUICK = "--prompt-len 4 --max-steps 4 --device cpu"

EXAMPLES = {
    "train": f"--backbone bert --task sst2 {QUICK} --output runs/sst2",
    "eval": "runs/sst2 --task rotten_tomatoes",
    "predict": "runs/sst2 new.csv --text-a text",
    "matrix": f"--backbone bert --tasks {','.join(TASKS)} --train {QUICK} --output matrix",
    "warm-start": "--source runs/sst2 --task rotten_tomatoes --seeds 1 --max-steps 4 --device cpu "
    "--output warm",
    "rank": "--prompts runs --task rotten_tomatoes --limit 12",
    "quickstart": "--backbone bert --tasks mini/film,mini/hotel --steps 2 --device cpu --output tour",
    "report": "runs --output report.html",
    "reproduce": "zero-shot --dry-run",
    "configs": "--backbones bert --tasks sst2",
    "data download": "--tasks sst2 --data-dir downloaded --from mirror",
    "tasks ls": "",
    "tasks show": "sst2",
    "tasks validate": "task.yaml",
    "prompts ls": "runs",
    "prompts show": "runs/sst2",
    "prompts export": "runs/sst2 --format npy --output sst2.npy",
    "prompts import": "sst2.npy --family masked_lm --output imported",
    "prompts combine": "runs/sst2 runs/sst2 --output mix",
    "prompts publish": "runs",
    "prompts search": "--in runs",
    "prompts pull": "runs --name sst2 --output pulled",
    "prompts push": "runs/sst2 ann/sst2 --dry-run",
    "neurons sites": "--backbone bert",
    "neurons capture": "runs/sst2",
    "neurons overlap": "runs/sst2 mix",
    "neurons mask": "runs/sst2 --ratio 0.2 --output masked",
    "neurons plot": "runs/sst2 --output neurons.png",
    "indicators ls": "",
    "indicators compare": "--prompts matrix/prompts --by c_avg",
    "indicators validate": "--matrix matrix --by c_avg",
    "project fit": "--source-backbone bert --target-backbone gpt2 --method ridge --output map",
    "project apply": "map runs/sst2 --output projected",
    "project eval": "map runs/sst2",
    "project ls": ".",
    "project show": "map",
    "project collapse": "matrix/prompts",
    "project distil": f"runs/sst2 --target-backbone gpt2 --task sst2 {QUICK} --output distilled",
    "project train": "--source-backbone bert --target-backbone gpt2 --tasks sst2,imdb --prompt-steps 2 "
    f"--bottleneck 8 {QUICK} --output projector",
}
"""Arguments by command."""


def run_example(command: str) -> dict[str, Any]:
    """What stands on the last line of stdout."""
    printed = succeeds(*command.split(), *EXAMPLES[command].split(), "--json").stdout
    return json.loads(printed.splitlines()[-1])


def make_world(folder: Path) -> None:
    """Rows of three tasks, a copy of a Hub data set, unlabelled rows and a task file."""
    chooser = random.Random(5)
    for task in TASKS:
        (folder / "data" / task).mkdir(parents=True)
        for split, count in (("train", 40), ("validation", 16)):
            texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(3, 9))) for _ in range(count)]
            rows = [json.dumps({"text_a": text, "label": index % 2}) for index, text in enumerate(texts)]
            (folder / "data" / task / f"{split}.jsonl").write_text("\n".join(rows))
    for split in ("train", "validation"):
        path = folder / "mirror/nyu-mll/glue/sst2" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pyarrow.Table.from_pylist([{"sentence": "good", "label": 1}, {"sentence": "bad", "label": 0}])
        pyarrow.parquet.write_table(table, path)
    (folder / "new.csv").write_text("text\nthe film was good\n")
    (folder / "task.yaml").write_text(TASK)


TASK = """
name: shop-reviews
type: sentiment
kind: classification
classes: [negative, positive]
columns: {text_a: review, label: stars}
templates: {masked_lm: "{text_a} It was {mask}."}
label_words: {default: [bad, good]}
"""
