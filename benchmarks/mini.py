"""The embedded backbones on the generated tasks: trained prompts beside their floors, and zero-shot transfer.

    python benchmarks/mini.py train --backbone mini-roberta --output runs/mini
    python benchmarks/mini.py transfer --backbone mini-roberta --output runs/mini
    python benchmarks/mini.py report --output runs/mini > docs/results/mini.md

``train`` stores one JSON file a task and seed, ``transfer`` one a prompt. A file that is there is not
computed again, so both can be interrupted, and processes with different ``--tasks`` share the work.
``report`` prints Markdown from the files alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mini_report import report

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.bag_of_words import bag_of_words
from prompt_hub.evaluation.cross_task import score_pair
from prompt_hub.evaluation.evaluate import Evaluation
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import environment, write_json
from prompt_hub.tasks import Split, Task, get_task, load_split, task_names
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt

PROMPT_LEN = 16
STEPS = 400
TRAIN_BATCH, EVAL_BATCH = 16, 32
HOLD_OUT = 200
"""Training rows that choose the checkpoint. The validation rows are not used, the test rows only scored."""
SEEDS = "1,2,3"
TASKS = tuple(name for name in task_names() if name.startswith("mini/"))


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    try:
        options.run(options)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="train, transfer or report")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--output", type=Path, default=Path("runs/mini"), help="folder of results and prompts"
    )
    work = argparse.ArgumentParser(add_help=False, parents=[shared])
    work.add_argument("--backbone", required=True)
    work.add_argument("--tasks", type=_list, default=list(TASKS), help="with commas between; default: all")
    work.add_argument("--seeds", type=lambda text: [int(seed) for seed in _list(text)], default=_seeds())
    work.add_argument("--threads", type=int, default=1, help="of this process (default: 1)")
    train = commands.add_parser("train", parents=[work], help="train and score a prompt a task and seed")
    train.set_defaults(run=run_train)
    transfer = commands.add_parser(
        "transfer", parents=[work], help="score the prompts of --tasks on all --targets, without training"
    )
    transfer.add_argument("--targets", type=_list, default=list(TASKS), help="default: all")
    transfer.set_defaults(run=run_transfer)
    tables = commands.add_parser("report", parents=[shared], help="print the tables")
    tables.set_defaults(run=lambda options: print(report(options.output)))
    return parser.parse_args(argv)


def run_train(options: argparse.Namespace) -> None:
    backbone = _load(options)
    for name in options.tasks:
        task = get_task(name)
        train, test = load_split(task, "train"), load_split(task, "test")
        _words(options.output, task, train, test)
        for seed in options.seeds:
            asked = _asked(backbone, task, train, test, seed)
            path = _cell(options, "train", name, seed)
            _once(
                path, asked, partial(_train, backbone, task, train, test, seed, _prompt(options, name, seed))
            )


def _train(
    backbone: Backbone, task: Task, train: Split, test: Split, seed: int, folder: Path
) -> dict[str, Any]:
    args = PromptTrainingArguments(
        output_dir=str(folder),
        prompt_len=PROMPT_LEN,
        max_steps=STEPS,
        per_device_train_batch_size=TRAIN_BATCH,
        per_device_eval_batch_size=EVAL_BATCH,
        hold_out=HOLD_OUT,
        seed=seed,
        use_cpu=backbone.device.type == "cpu",
        disable_tqdm=True,
    )
    trained = train_prompt(backbone, task, train, args, folder, resume=True)
    scored = evaluate_stored(backbone, trained.prompt, task, test, batch_size=EVAL_BATCH, seed=seed)
    return {
        "prompt_hash": trained.prompt.hash,
        "hyperparameters": trained.prompt.metadata.hyperparameters,
        "test": scored.to_dict(),
        "train_seconds": round(trained.seconds, 1),
    }


def run_transfer(options: argparse.Namespace) -> None:
    backbone = _load(options)
    names = list(dict.fromkeys([*options.targets, *options.tasks]))
    tasks = {name: get_task(name) for name in names}
    rows = {name: (load_split(task, "train"), load_split(task, "test")) for name, task in tasks.items()}
    for seed in options.seeds:
        asked = {name: _asked(backbone, tasks[name], *rows[name], seed) for name in names}
        own = {}
        for name in names:
            path = _cell(options, "train", name, seed)
            cell = _read(path)
            if cell is None:
                raise UserError(
                    f"{name} is not trained with seed {seed}: {path} is missing. Run train first."
                )
            _check(cell, asked[name], path)
            prompt = SoftPrompt.from_pretrained(_prompt(options, name, seed))
            own[name] = Own(tasks[name], rows[name][1], prompt, Evaluation(**cell["test"]))
        for source in options.tasks:
            others = [own[name] for name in options.targets if name != source]
            hashes = {each.task.name: each.prompt.hash for each in (own[source], *others)}
            _once(
                _cell(options, "transfer", source, seed),
                {**asked[source], "prompts": hashes},
                partial(_pairs, backbone, own[source], others, seed),
            )


@dataclass(frozen=True)
class Own:
    """A task with the prompt that was trained on it, and how that one does on its test rows."""

    task: Task
    test: Split
    prompt: SoftPrompt
    evaluation: Evaluation


def _pairs(backbone: Backbone, source: Own, targets: Sequence[Own], seed: int) -> dict[str, Any]:
    found = [
        score_pair(
            backbone,
            source.prompt,
            source.task,
            target.task,
            target.test,
            target.prompt,
            target.evaluation,
            batch_size=EVAL_BATCH,
            seed=seed,
        )
        for target in targets
    ]
    return {"pairs": [pair.to_dict() for pair in found if pair is not None]}


def _words(output: Path, task: Task, train: Split, test: Split) -> None:
    def run() -> dict[str, Any]:
        found = bag_of_words(task, train, test)
        return {"score": found.score, "metric": found.primary_metric, "n": found.n, "ci95": list(found.ci95)}

    asked = {"task": task.name, "train": train.fingerprint, "test": test.fingerprint}
    _once(output / "bag_of_words" / f"{_file_name(task.name)}.json", asked, run)


# -- files ---------------------------------------------------------------------------------------------


def _once(path: Path, asked: dict[str, Any], run: Callable[[], dict[str, Any]]) -> None:
    """Store what ``run`` finds, unless the file is there. ``UserError`` if it has other settings."""
    stored = _read(path)
    if stored is not None:
        _check(stored, asked, path)
        print(f"{path} is there", file=sys.stderr)
        return
    started = time.perf_counter()
    found = run()
    seconds = round(time.perf_counter() - started, 1)
    threads = torch.get_num_threads()
    write_json(
        path, {"asked": asked, **found, "seconds": seconds, "threads": threads, "environment": environment()}
    )
    print(f"{path} ({seconds} s)", file=sys.stderr)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _check(stored: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    changed = [name for name in asked if stored["asked"].get(name) != asked[name]]
    if changed:
        raise UserError(
            f"{path} was computed with another {', '.join(changed)}. Remove it, or choose another --output."
        )


def _asked(backbone: Backbone, task: Task, train: Split, test: Split, seed: int) -> dict[str, Any]:
    return {
        "backbone": backbone.identity.to_dict(),
        "prompt_len": PROMPT_LEN,
        "steps": STEPS,
        "train_batch": TRAIN_BATCH,
        "hold_out": HOLD_OUT,
        "seed": seed,
        "task": task.name,
        "task_type": task.type,
        "task_fingerprint": task.fingerprint(),
        "n_train": len(train),
        "train": train.fingerprint,
        "test": test.fingerprint,
    }


def _cell(options: argparse.Namespace, kind: str, task: str, seed: int) -> Path:
    return options.output / Path(options.backbone).name / kind / f"{_file_name(task)}-seed-{seed}.json"


def _prompt(options: argparse.Namespace, task: str, seed: int) -> Path:
    return options.output / Path(options.backbone).name / "prompts" / _file_name(task) / f"seed-{seed}"


def _file_name(task: str) -> str:
    return task.replace("/", "-")


def _load(options: argparse.Namespace) -> Backbone:
    torch.set_num_threads(options.threads)
    return load_backbone(options.backbone)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seeds() -> list[int]:
    return [int(seed) for seed in _list(SEEDS)]


if __name__ == "__main__":
    sys.exit(main())
