"""Every way to bring prompts to another backbone, beside controls, on tasks that were left out.

    python benchmarks/cross_model.py run --source-backbone mini-t5 --target-backbone mini-gpt2
    python benchmarks/cross_model.py report > docs/results/cross-model-mini.md

``run`` trains the prompts of both backbones, one a task and seed, and stores one JSON file a method and seed.
A file that is there is not computed again, so it can be interrupted, and processes with different ``--seeds``
share the work. ``report`` prints Markdown from the files alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cross_model_report import report

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.runs.records import environment, write_json
from prompt_hub.tasks import Split, get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.transfer.cross_model.distillation import DistillationSettings
from prompt_hub.transfer.cross_model.distilled import Distillation, evaluate_distilled
from prompt_hub.transfer.cross_model.fit import fit_map
from prompt_hub.transfer.cross_model.maps import METHODS as MAPS
from prompt_hub.transfer.cross_model.mixture import BOTH, DISTANCE, TASK_TUNING
from prompt_hub.transfer.cross_model.recipe import Recipe
from prompt_hub.transfer.cross_model.train_map import Material, gather, train_map
from prompt_hub.transfer.cross_model.unseen import JudgedTask, judge, judged_from

RECIPES = {
    "flat, task tuning": Recipe(TASK_TUNING, "flat"),
    "flat, distance": Recipe(DISTANCE, "flat"),
    "flat, both": Recipe(BOTH, "flat"),
    "per-token, task tuning": Recipe(TASK_TUNING, "per-token"),
    "low-rank, task tuning": Recipe(TASK_TUNING, "low-rank"),
    "per-token from ridge, task tuning": Recipe(TASK_TUNING, "per-token", activation="none", start="ridge"),
}
DISTILLATION = "distillation"
METHODS = (*RECIPES, *MAPS, DISTILLATION)
UNTRAINED = "no task seen"
"""Group of methods that are not trained on tasks."""

TASKS = "mini/film,mini/hotel,mini/nli_objects,mini/nli_people"
UNSEEN = "mini/conduct_home"
TEXTS = 100
"""Unlabelled texts of a distillation."""


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
    commands = parser.add_subparsers(required=True, metavar="run or report")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--output", type=Path, default=Path("runs/cross-model"), help="folder of results and prompts"
    )
    run = commands.add_parser("run", parents=[shared], help="train, project and score")
    run.add_argument("--source-backbone", required=True)
    run.add_argument("--target-backbone", required=True)
    run.add_argument("--tasks", type=listed, default=listed(TASKS), help="with commas between")
    run.add_argument(
        "--unseen", type=listed, default=None, help="never trained on; default: mini/conduct_home"
    )
    run.add_argument(
        "--methods",
        type=lambda text: listed(text, ";"),
        default=list(METHODS),
        help="with semicolons between; default: all",
    )
    run.add_argument("--seeds", type=lambda text: [int(seed) for seed in listed(text)], default=[1, 2, 3])
    run.add_argument("--prompt-len", type=int, default=16)
    run.add_argument("--prompt-steps", type=int, default=150, help="training steps of a prompt")
    run.add_argument("--steps", type=int, default=100, help="training steps of a projector")
    run.add_argument("--batch-size", type=int, default=16)
    run.add_argument("--lr", type=float, default=None, help="of projectors; default: the preset")
    run.add_argument("--limit-train", type=int, default=None)
    run.add_argument("--limit-eval", type=int, default=200, help="validation rows of a task")
    run.add_argument("--data-dir", type=Path, default=None)
    run.add_argument("--device", default="cpu")
    run.add_argument("--dtype", default="float32")
    run.add_argument("--threads", type=int, default=1, help="of this process (default: 1)")
    run.set_defaults(run=run_all)
    tables = commands.add_parser("report", parents=[shared], help="print the tables")
    tables.set_defaults(run=lambda options: print(report(options.output)))
    return parser.parse_args(argv)


def run_all(options: argparse.Namespace) -> None:
    for name in options.methods:
        if name not in METHODS:
            raise unknown_name("method", name, METHODS)
    torch.set_num_threads(options.threads)
    device = {"device": options.device, "dtype": options.dtype}
    source = load_backbone(options.source_backbone, **device)
    target = load_backbone(options.target_backbone, **device)
    for seed in options.seeds:
        material = _material(options, source, target, seed)
        folder = _pair(options) / f"seed-{seed}"
        for name in options.methods:
            path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.json"
            asked = {
                **_asked(options, material), "method": name, "seed": seed,
            }  # fmt: skip
            once(path, asked, partial(_result, options, material, name, seed, folder))


def _material(options: argparse.Namespace, source: Backbone, target: Backbone, seed: int) -> Material:
    unseen = _unseen(options)
    rows: dict[str, tuple[Split, Split]] = {}
    for name in (*options.tasks, *unseen):
        task = get_task(name)
        parts = (("train", options.limit_train), ("validation", options.limit_eval))
        train, validation = (
            load_split(task, split, options.data_dir, limit, seed=0) for split, limit in parts
        )
        rows[name] = rows[task.name] = (train, validation)
    args = _arguments(options, seed, options.prompt_steps)
    folder = _pair(options) / f"seed-{seed}" / "prompts"
    return gather(
        source, target, [get_task(name) for name in options.tasks], rows, args, folder,
        unseen=[get_task(name) for name in unseen],
    )  # fmt: skip


def _result(
    options: argparse.Namespace, material: Material, name: str, seed: int, folder: Path
) -> dict[str, Any]:
    started = time.perf_counter()
    if name in RECIPES:
        found = _trained(options, material, name, seed, folder)
    else:
        judged_by = _distilled if name == DISTILLATION else _fitted(material, name, seed)
        found = {"judged": [judged_by(material, task, seed).to_dict() for task in material.data]}
    return {**found, "seconds": round(time.perf_counter() - started, 1), "device": _device(material.target)}


def _trained(
    options: argparse.Namespace, material: Material, name: str, seed: int, folder: Path
) -> dict[str, Any]:
    args = _arguments(options, seed, options.steps)
    args.learning_rate = options.lr
    place = folder / "projectors" / name.replace(", ", "-").replace(" ", "-")
    result = train_map(material, RECIPES[name], args, place)
    return {
        "judged": [one.to_dict() for one in result.judged],
        "training": result.found.training,
        "verdicts": result.found.metrics["verdicts"],
    }


def _fitted(material: Material, name: str, seed: int) -> Callable[[Material, str, int], JudgedTask]:
    """Judges the image of a task's prompt under a map that needs no training."""
    found = fit_map(material.source, material.target, name, seed=seed)

    def judge_on(material: Material, task: str, seed: int) -> JudgedTask:
        data, rows = material.data[task], material.validation[task]
        return judge(found, data, rows, UNTRAINED, others=material.data, seed=seed)

    return judge_on


def _distilled(material: Material, task: str, seed: int) -> JudgedTask:
    data = material.data[task]
    rng = torch.Generator().manual_seed(seed)
    chosen = sorted(torch.randperm(len(data.train), generator=rng)[:TEXTS].tolist())
    prepared = Distillation.prepare(
        data.source, material.source, material.target, data.encoder.task, data.train.only(chosen),
        DistillationSettings(seed=seed),
    )  # fmt: skip
    made, _ = prepared.run()
    result = evaluate_distilled(prepared, made, material.validation[task], own=data.own)
    return judged_from(result, data.encoder.task, UNTRAINED)


def _arguments(options: argparse.Namespace, seed: int, steps: int) -> PromptTrainingArguments:
    return PromptTrainingArguments(
        output_dir=str(options.output),
        prompt_len=options.prompt_len,
        max_steps=steps,
        per_device_train_batch_size=options.batch_size,
        seed=seed,
        use_cpu=options.device == "cpu",
        disable_tqdm=True,
    )


def _asked(options: argparse.Namespace, material: Material) -> dict[str, Any]:
    return {
        "source": material.source.identity.to_dict(),
        "target": material.target.identity.to_dict(),
        "prompt_len": options.prompt_len,
        "prompt_steps": options.prompt_steps,
        "steps": options.steps,
        "batch_size": options.batch_size,
        "lr": options.lr,
        "tasks": material.trained,
        "unseen": [name for name in material.data if name not in material.trained],
        "rows": {
            name: [data.train.fingerprint, material.validation[name].fingerprint]
            for name, data in material.data.items()
        },
        "prompts": {name: [data.source.hash, data.own.hash] for name, data in material.data.items()},
        "recipes": {name: asdict(recipe) for name, recipe in RECIPES.items()},
    }


def _unseen(options: argparse.Namespace) -> list[str]:
    if options.unseen is not None:
        return list(options.unseen)
    return [UNSEEN] if all(name.startswith("mini/") for name in options.tasks) else []


def _pair(options: argparse.Namespace) -> Path:
    sides = (options.source_backbone, options.target_backbone)
    return options.output / "--to--".join(Path(side).name for side in sides)


def _device(backbone: Backbone) -> str:
    if backbone.device.type == "cuda":
        return torch.cuda.get_device_name(backbone.device)
    return f"CPU, {torch.get_num_threads()} thread(s)"


def listed(text: str, sign: str = ",") -> list[str]:
    return [part.strip() for part in text.split(sign) if part.strip()]


def once(path: Path, asked: dict[str, Any], run: Callable[[], dict[str, Any]]) -> None:
    """Store what ``run`` finds, unless the file is there. ``UserError`` if it has other settings."""
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))["asked"]
        changed = [name for name in asked if stored.get(name) != json.loads(json.dumps(asked[name]))]
        if changed:
            raise UserError(
                f"{path} was computed with another {', '.join(changed)}. Remove it, or choose another "
                "--output."
            )
        print(f"{path} is there", file=sys.stderr)
        return
    found = run()
    write_json(path, {"asked": asked, **found, "environment": environment()})
    print(f"{path} ({found['seconds']} s)", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
