"""Prompt Hub against PEFT prompt tuning: time of a training step, evaluation speed and peak memory.

    python benchmarks/against_peft.py

Prints Markdown tables. Exit code 1 when Prompt Hub is slower or larger anywhere, or when the two do not
compute the same label logits. ``benchmarks/README.md`` says what is compared and how.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compared_systems import PromptHub, System
from epochs import EVAL_BATCH, TEXTS, TRAIN_BATCH, cross_section, length_counts, note, prepare, work
from machine import machine
from peak_memory import peak_memory
from peft_systems import systems_of
from shapes import SHAPES, Shape, random_rows

TOLERANCE = 1e-4
_MEASURES = ("train", "eval", "train_memory", "eval_memory")


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    prepare(options.threads)
    shapes = [SHAPES[name] for name in options.shapes]
    counts = length_counts(options.data_dir)
    # Memory first, so that no model of this process is loaded while it is measured.
    memory = {shape.name: memory_of(shape, counts, options) for shape in shapes}
    results = [compare(shape, counts, memory[shape.name], options) for shape in shapes]
    report = {"machine": machine(options.threads), "settings": settings(options), "shapes": results}
    print(json.dumps(report, indent=2) if options.json else markdown(report))
    if any(max(shape["logit_difference"].values()) > TOLERANCE for shape in results):
        return 1
    kept = all(peft_system["kept"] for shape in results for peft_system in shape["against"])
    return 0 if kept or options.small else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=_positive, default=3, help="timed rounds (default: 3)")
    parser.add_argument("--steps", type=_positive, default=4, help="batches a system and round (default: 4)")
    parser.add_argument(
        "--shapes",
        type=_shapes,
        default=list(SHAPES),
        help=f"comma-separated, from: {','.join(SHAPES)} (default: all)",
    )
    parser.add_argument("--prompt-len", type=_positive, default=100, help="soft tokens (default: 100)")
    parser.add_argument(
        "--threads", type=_positive, default=torch.get_num_threads(), help="of torch (default: torch's own)"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder with sst2/train.jsonl (text_a), whose word counts give the text lengths\n"
        "(default: a stored histogram of SST-2)",
    )
    parser.add_argument(
        "--small", action="store_true", help="tiny models, to try the script; ratios are not judged"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    options = parser.parse_args(argv)
    if options.data_dir and not (options.data_dir / TEXTS).is_file():
        parser.error(f"--data-dir {options.data_dir} holds no {TEXTS}; leave it out for the stored histogram")
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _shapes(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SHAPES:
            raise argparse.ArgumentTypeError(f"unknown shape {name!r}; allowed: {', '.join(SHAPES)}")
    return names


def memory_of(shape: Shape, counts: Sequence[int], options: argparse.Namespace) -> dict[str, Any]:
    names = [system.name for system in systems_of(shape)]
    return peak_memory(shape.name, names, counts, options.prompt_len, options.small, options.threads)


# -- time --------------------------------------------------------------------------------------------


def timings(
    systems: Sequence[System], shape: Shape, mode: str, counts: Sequence[int], options: argparse.Namespace
) -> dict[str, Any]:
    """By system: seconds a batch in each round, examples a second in each round, text tokens a row.

    Every round holds narrow and wide batches. Within a round the systems take turns batch by batch, and the
    one that starts changes, so that noise from other work meets all of them.
    """
    total = options.rounds * options.steps
    chosen, runs, tokens = [], [], {}
    for system in systems:
        batches, run = work(system, shape, mode, counts, options.small, total)
        tokens[system.name] = system.text_tokens(batches)
        chosen.append(cross_section(batches, total))
        runs.append(run)
        run(chosen[-1][total // 2])  # warms caches and the optimizer's state
    seconds = [[0.0] * options.rounds for _ in systems]
    examples = [[0] * options.rounds for _ in systems]
    for turn in range(options.rounds):
        note(f"time: {shape.name}, {mode}, round {turn + 1}/{options.rounds}")
        for step in range(options.steps):
            for place in range(len(systems)):
                index = (place + step + turn) % len(systems)
                batch = chosen[index][step * options.rounds + turn]
                start = time.perf_counter()
                runs[index](batch)
                seconds[index][turn] += time.perf_counter() - start
                examples[index][turn] += len(batch)
    return {
        system.name: {
            "seconds_per_step": [value / options.steps for value in seconds[index]],
            "examples_per_second": [
                count / value for count, value in zip(examples[index], seconds[index], strict=True)
            ],
            "padded_tokens": tokens[system.name],
        }
        for index, system in enumerate(systems)
    }


# -- comparison --------------------------------------------------------------------------------------


def compare(
    shape: Shape, counts: Sequence[int], memory: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """One shape's figures, the ratios against each PEFT set-up, and the difference of the logits."""
    systems = [cls(shape, options.prompt_len, options.small) for cls in systems_of(shape)]
    difference, spread = logit_difference(systems, shape, counts, options.small)
    train = timings(systems, shape, "train", counts, options)
    with ExitStack() as stack:
        for system in systems:
            stack.enter_context(system.evaluation())
        evaluation = timings(systems, shape, "eval", counts, options)
    figures = {
        system.name: {
            "train_seconds_per_step": train[system.name]["seconds_per_step"],
            "eval_examples_per_second": evaluation[system.name]["examples_per_second"],
            "memory_mb": memory[system.name],
            "padded_tokens": {
                "train": train[system.name]["padded_tokens"],
                "eval": evaluation[system.name]["padded_tokens"],
            },
        }
        for system in systems
    }
    hub = figures[PromptHub.name]
    against = [ratios(hub, figures[system.name], system.name) for system in systems[1:]]
    return {
        "shape": shape.name,
        "figures": figures,
        "against": against,
        "logit_difference": difference,
        "logit_spread": spread,
    }


def ratios(hub: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
    """How many times faster and smaller Prompt Hub is, ``[median, least, greatest]`` over rounds.

    kept: every median is at least 1 at the two decimals that are printed.
    """

    def spread(values: list[float]) -> list[float]:
        return [statistics.median(values), min(values), max(values)]

    key, rate = "train_seconds_per_step", "eval_examples_per_second"
    found = {
        "train": spread([theirs / ours for ours, theirs in zip(hub[key], other[key], strict=True)]),
        "eval": spread([ours / theirs for ours, theirs in zip(hub[rate], other[rate], strict=True)]),
    }
    for mode in ("train", "eval"):
        ours = hub["memory_mb"][mode]
        # A tiny model may fit into memory that was there already.
        found[f"{mode}_memory"] = [other["memory_mb"][mode] / ours if ours > 0 else math.inf]
    return {
        "system": name,
        "ratios": found,
        "kept": all(round(found[measure][0], 2) >= 1 for measure in _MEASURES),
    }


def logit_difference(
    systems: Sequence[System], shape: Shape, counts: Sequence[int], small: bool
) -> tuple[dict[str, float], float]:
    """Greatest difference of a label logit to Prompt Hub's, and how much Prompt Hub's differ between texts.

    Before any training, with the same weights and prompt. A classifier head has other logits and is left out.
    """
    rows = random_rows(shape, counts, EVAL_BATCH, small, seed=4)
    ours = systems[0].scores(rows)
    comparable = [system for system in systems[1:] if system.scores_label_words]
    differences = {system.name: float(np.abs(ours - system.scores(rows)).max()) for system in comparable}
    return differences, float(ours.std(0).min())


# -- report ------------------------------------------------------------------------------------------


def settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "rounds": options.rounds,
        "steps": options.steps,
        "prompt_len": options.prompt_len,
        "train_batch": TRAIN_BATCH,
        "eval_batch": EVAL_BATCH,
        "dtype": "float32",
        "lengths": str(options.data_dir) if options.data_dir else "stored SST-2 histogram",
        "small": options.small,
    }


def markdown(report: dict[str, Any]) -> str:
    host, chosen = report["machine"], report["settings"]
    lines = [
        f"{host['cpu']}, {host['cores']} cores, torch threads: {host['threads']}; Python {host['python']}, "
        f"torch {host['torch']}, transformers {host['transformers']}, PEFT {host['peft']}. Prompt length "
        f"{chosen['prompt_len']}, batch {chosen['train_batch']} in training and {chosen['eval_batch']} in "
        f"evaluation, {chosen['dtype']}, lengths: {chosen['lengths']}.",
        f"n = {chosen['rounds']} rounds of {chosen['steps']} batches a system and mode; median (least to "
        "greatest) over rounds. Memory: n = 1 process a system and mode.",
        "",
        "| shape | system | train s/step | eval examples/s | peak MB train / eval "
        "| text tokens a row train / eval |",
        "|---|---|---|---|---|---|",
    ]
    for shape in report["shapes"]:
        for name, figures in shape["figures"].items():
            memory, tokens = figures["memory_mb"], figures["padded_tokens"]
            lines.append(
                f"| {shape['shape']} | {name} | {_spread(figures['train_seconds_per_step'])} "
                f"| {_spread(figures['eval_examples_per_second'])} "
                f"| {memory['train']:.0f} / {memory['eval']:.0f} "
                f"| {tokens['train']:.1f} / {tokens['eval']:.1f} |"
            )
    lines += [
        "",
        "Prompt Hub is so many times faster, or smaller (1 or more is good):",
        "",
        "| shape | against | train | eval | peak memory train | peak memory eval | all at least 1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for shape in report["shapes"]:
        for other in shape["against"]:
            cells = " | ".join(_ratio(other["ratios"][measure]) for measure in _MEASURES)
            verdict = "yes" if other["kept"] else "**no**"
            lines.append(f"| {shape['shape']} | {other['system']} | {cells} | {verdict} |")
    lines.append("")
    for shape in report["shapes"]:
        for name, value in shape["logit_difference"].items():
            verdict = "same" if value <= TOLERANCE else f"NOT the same, allowed {TOLERANCE:g}"
            lines.append(
                f"- {shape['shape']}, label logits against {name}: max difference {value:.1e} ({verdict}; "
                f"standard deviation between texts {shape['logit_spread']:.1e})"
            )
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def _ratio(values: Sequence[float]) -> str:
    mark = "" if round(values[0], 2) >= 1 else " < 1"
    if len(values) == 1:
        return f"{values[0]:.2f}{mark}"
    return f"{values[0]:.2f}{mark} ({values[1]:.2f} to {values[2]:.2f})"


if __name__ == "__main__":
    sys.exit(main())
