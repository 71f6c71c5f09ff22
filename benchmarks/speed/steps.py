"""Training steps and evaluation batches of all systems, in turns; peak memory on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from compared_systems import Inputs, PromptHub, System
from epochs import EVAL_BATCH, TRAIN_BATCH, cross_section, epoch, note, width
from operations import Architecture, useful_operations
from shapes import Rows, Shape

from speed.roof import roof_of
from speed.setting import Setting

ROOF = "matrix product"


def compare(
    systems: Sequence[System], shape: Shape, prompt_len: int, mode: str, setting: Setting
) -> dict[str, Any]:
    """Seconds a batch of every system in every round, with what the batches hold; mode: train or eval."""
    training = mode == "train"
    epochs = {system.name: epoch(system, shape, mode, setting.counts, setting.small) for system in systems}
    with ExitStack() as stack:
        if not training:
            stack.enter_context(torch.no_grad())
            for system in systems:
                stack.enter_context(system.evaluation())
        seconds = {
            system.name: _first_seconds(system, epochs[system.name], training, setting) for system in systems
        }
        steps = _steps(max(seconds.values()), setting)
        setting.check(1.1 * setting.rounds * steps * sum(seconds.values()))
        chosen = {name: representative(batches, steps) for name, batches in epochs.items()}
        arch = architecture(shape, setting.small)
        rows = len(next(iter(chosen.values()))[0])
        mean = sum(map(len, epochs[systems[0].name][0])) // rows
        roof = roof_of(arch, rows * (prompt_len + mean), setting)
        runs: dict[str, Callable[[], object]] = {ROOF: roof.run}
        for system in systems:
            runs[system.name] = run_of(system, chosen[system.name], training, setting)
            if setting.on_gpu:
                runs[system.name]()  # every size that follows is known to allocator and libraries
        note(f"{shape.name}, prompt {prompt_len}, {mode}: {setting.rounds} rounds of {steps} batches")
        times = in_turns(runs, setting)
    roof_rates = [roof.operations / value for value in times.pop(ROOF)]
    return {
        "steps": steps,
        "rows": rows,
        "roof": {"size": roof.size, "operations_per_second": roof_rates},
        "systems": {
            system.name: {
                "seconds": [value / steps for value in times[system.name]],
                "path": system.path if isinstance(system, PromptHub) else "PEFT",
                **_contents(system, chosen[system.name], epochs[system.name], arch, prompt_len, training),
            }
            for system in systems
        },
    }


def in_turns(runs: Mapping[str, Callable[[], object]], setting: Setting) -> dict[str, list[float]]:
    """Seconds by name and round; the one that starts changes, so that noise meets all of them."""
    names = list(runs)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(setting.rounds):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            found[name].append(setting.timed(runs[name]))
    return found


def representative(batches: Sequence[Rows], count: int) -> list[Rows]:
    """``count`` batches that cost on average what the epoch costs."""
    if count > 1:
        return cross_section(list(batches), count)
    mean = sum(map(width, batches)) / len(batches)
    return [min(batches, key=lambda rows: abs(width(rows) - mean))]


def architecture(shape: Shape, small: bool) -> Architecture:
    return Architecture.of(shape.config(small), shape.family)


def _first_seconds(system: System, batches: Sequence[Rows], training: bool, setting: Setting) -> float:
    """About how long a batch takes, from the second run of one; on a CPU of two rows of one."""
    batch = representative(batches, 1)[0]
    part = batch if setting.on_gpu else batch[:2]
    run = run_of(system, [part], training, setting)
    run()
    return setting.timed(run) * len(batch) / len(part)


def _steps(seconds: float, setting: Setting) -> int:
    """Batches between two looks at the clock."""
    if setting.on_gpu:
        return max(3, min(10, math.ceil(0.1 / seconds)))
    return max(1, min(4, int(1 / seconds)))


def run_of(system: System, batches: Sequence[Rows], training: bool, setting: Setting) -> Callable[[], object]:
    """The batches one after another, from inputs that are on the device already."""
    inputs: list[Inputs] = [system.prepare(rows, training) for rows in batches]
    setting.wait()
    step = system.optimise if training else system.label_logits

    def run() -> None:
        for given in inputs:
            step(given)

    return run


def _contents(
    system: System,
    chosen: Sequence[Rows],
    batches: Sequence[Rows],
    arch: Architecture,
    prompt_len: int,
    training: bool,
) -> dict[str, Any]:
    """Real tokens and useful operations of a batch on average; tokens a row of the epoch as computed."""
    operations = [
        useful_operations(arch, prompt_len, [len(row) for row in rows], training) for rows in chosen
    ]
    return {
        "tokens": sum(len(row) for rows in chosen for row in rows) / len(chosen),
        "operations": sum(operations) / len(chosen),
        "computed_tokens_a_row": system.text_tokens(batches),
    }


def gpu_memory(systems: Sequence[System], shape: Shape, setting: Setting) -> dict[str, dict[str, float]]:
    """Peak MB above the loaded models, by system and mode, over two runs of the epoch's widest batch."""
    found: dict[str, dict[str, float]] = {}
    for system in systems:
        found[system.name] = {}
        for mode, grad in (("train", True), ("eval", False)):
            batches = epoch(system, shape, mode, setting.counts, setting.small)
            run = run_of(system, [max(batches, key=width)] * 2, grad, setting)
            with torch.set_grad_enabled(grad):
                before = torch.cuda.memory_allocated(setting.device)
                torch.cuda.reset_peak_memory_stats(setting.device)
                # Outside an evaluation, so that the keys of a prompt count.
                run()
                setting.wait()
            peak = torch.cuda.max_memory_allocated(setting.device)
            found[system.name][mode] = (peak - before) / 2**20
    return found


def batch_size(mode: str) -> int:
    return TRAIN_BATCH if mode == "train" else EVAL_BATCH
