"""Distillation between two embedded backbones: scores beside controls, other matches, other starts.

    python benchmarks/distillation.py --output runs/distillation > docs/results/distillation-mini.md

Trains the prompts that it needs, then stores one JSON file a task and seed. A file that is there is not
computed again, so the command can be interrupted; it prints Markdown when all are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from distillation_report import report

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import evaluate
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import write_json
from prompt_hub.tasks import get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt
from prompt_hub.transfer.cross_model.distillation import MATCHES, DistillationSettings
from prompt_hub.transfer.cross_model.distilled import Distillation, evaluate_distilled
from prompt_hub.transfer.cross_model.fit import fit_map

PROMPT_LEN, TEXTS = 20, 100
TRAIN_STEPS, STEPS = 150, 120
MAP = "ridge"
START = "vocab"
"""Of every fit but those of the table of starts. The family's own start, a text that asks the task's
question, solves some of these tasks by itself, and would hide what distillation does."""


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    try:
        run(options)
        print(report(options.output))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--source", default="mini-roberta", help="backbone of the source")
    parser.add_argument("--target", default="mini-gpt2", help="backbone of the target")
    parser.add_argument("--tasks", type=_list, default=["film", "paraphrase_news", "nli_objects"])
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in _list(text)], default=[1, 2, 3])
    parser.add_argument("--train-steps", type=int, default=TRAIN_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of a distillation")
    parser.add_argument("--limit-eval", type=int, help="score at most so many validation rows")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    if len(options.tasks) < 2:
        parser.error("--tasks needs at least two: each is the other's control")
    return options


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def run(options: argparse.Namespace) -> None:
    source, target = load_backbone(options.source), load_backbone(options.target)
    for seed in options.seeds:
        for index, name in enumerate(options.tasks):
            path = options.output / "cells" / f"{name}-{seed}.json"
            asked = {
                "source": source.name, "target": target.name, "task": name, "seed": seed,
                "steps": options.steps, "train_steps": options.train_steps, "limit_eval": options.limit_eval,
            }  # fmt: skip
            if path.exists():
                if json.loads(path.read_text(encoding="utf-8"))["asked"] != asked:
                    raise UserError(f"{path} was computed with other settings. Choose another --output.")
                continue
            started = time.process_time()
            other = options.tasks[(index + 1) % len(options.tasks)]
            cell = _cell(source, target, name, other, seed, options)
            write_json(path, {"asked": asked, **cell, "seconds": time.process_time() - started})
            print(f"{path} ({time.process_time() - started:.0f} s)", file=sys.stderr)


def _cell(
    source: Backbone, target: Backbone, name: str, other: str, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One task and seed: the full table, then the scores of other matches and other starts."""
    task = get_task(f"mini/{name}")
    given = _trained(source, name, seed, options)
    texts = load_split(task, "train", limit=TEXTS, seed=seed)
    rows = load_split(task, "validation", limit=options.limit_eval, seed=seed)
    settings = DistillationSettings(steps=options.steps, seed=seed)
    prepared = Distillation.prepare(given, source, target, task, texts, settings, init=START)
    made, fit = prepared.run()
    table = evaluate_distilled(
        prepared,
        made,
        rows,
        others={"another task's prompt": _trained(source, other, seed, options)},
        own=_trained(target, name, seed, options),
    )
    encoder = Encoder(target, task, PROMPT_LEN)

    def score(prompt: SoftPrompt) -> float:
        return evaluate(encoder, prompt.embeddings, rows, floors=(), seed=seed).score

    projected = fit_map(source, target, MAP, seed=seed).apply(given)
    place = projected.save_pretrained(options.output / "prompts" / f"projected-{name}-{seed}")
    starts = {}
    for label, init in (("text", "text"), ("map", f"prompt:{place}")):
        other_start = Distillation.prepare(given, source, target, task, texts, settings, init=init)
        found, _ = other_start.run()
        before = SoftPrompt(other_start.initial, found.metadata)
        starts[label] = {"before": score(before), "after": score(found)}
    matches = {
        match: score(replace(prepared, settings=replace(prepared.settings, match=match)).run()[0])
        for match in MATCHES
        if match != settings.match
    }
    return {"table": table.to_dict(), "fit": fit.to_dict(), "matches": matches, "starts": starts}


def _trained(backbone: Backbone, name: str, seed: int, options: argparse.Namespace) -> SoftPrompt:
    folder = options.output / "prompts" / f"{Path(backbone.name).name}-{name}-{seed}"
    args = PromptTrainingArguments(
        output_dir=str(folder), prompt_len=PROMPT_LEN, max_steps=options.train_steps, seed=seed,
        use_cpu=backbone.device.type == "cpu", disable_tqdm=True,
    )  # fmt: skip
    task = get_task(f"mini/{name}")
    return train_prompt(backbone, task, load_split(task, "train"), args, folder, resume=True).prompt


if __name__ == "__main__":
    raise SystemExit(main())
