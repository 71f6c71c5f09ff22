"""Gradient checkpointing: what a training step keeps for its backward pass, and how long it takes.

    python benchmarks/recomputing.py

Random weights at the shapes of ``shapes.py``, texts of one length, prompt length 100. Kept are the
bytes of all memory that autograd holds after the forward pass, weights apart. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import transformers
from shapes import LABEL_IDS, SHAPES, Shape

from prompt_hub.backbones.base import Backbone, Batch

PROMPT_LEN = 100


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES), help=f"from: {','.join(SHAPES)} (default: all)")
    parser.add_argument("--batch", type=int, default=16, help="rows (default: 16)")
    parser.add_argument("--length", type=int, default=24, help="tokens of a text (default: 24)")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each kind (default: 5)")
    parser.add_argument("--small", action="store_true", help="tiny models, to try the script")
    options = parser.parse_args(argv)
    transformers.logging.set_verbosity_error()
    print(f"batch {options.batch}, {options.length} tokens, torch {torch.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads\n")
    print("| shape | kept MB | recomputed | seconds a step | recomputed |\n|---|---|---|---|---|")
    for name in options.shapes.split(","):
        print(line(SHAPES[name], options), flush=True)
        gc.collect()
    return 0


def line(shape: Shape, options: argparse.Namespace) -> str:
    """One row: megabytes kept and median seconds (lowest to highest), without and with recomputing."""
    torch.manual_seed(0)
    backbone = shape.backbone(shape.name, shape.model(shape.config(options.small)), tokenizer=None)
    ids = torch.randint(40, backbone.config.vocab_size, (options.batch, options.length))
    read = torch.full((options.batch, 1), options.length - 1)
    batch = Batch(ids, torch.ones_like(ids), read)
    prompt = backbone.embed(ids[:1, :1]).squeeze(0).repeat(PROMPT_LEN, 1).requires_grad_()
    kept = [step(backbone, batch, prompt, recomputed, count=True)[0] for recomputed in (False, True)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(options.rounds):
        for recomputed in (False, True):
            seconds[recomputed].append(step(backbone, batch, prompt, recomputed)[1])
    times = [f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" for found in seconds]
    return f"| {shape.name} | {kept[0] / 1e6:.0f} | {kept[1] / 1e6:.0f} | {times[0]} | {times[1]} |"


def step(
    backbone: Backbone, batch: Batch, prompt: torch.Tensor, recomputed: bool, count: bool = False
) -> tuple[int, float]:
    """Bytes kept between forward and backward (0 without ``count``), and seconds of both."""
    weights = {weight.untyped_storage().data_ptr() for weight in backbone.model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    started = time.perf_counter()
    with backbone.recomputed() if recomputed else nullcontext():
        with hooks if count else nullcontext():
            loss = backbone.label_logits(prompt, batch, LABEL_IDS).square().mean()
        size = sum(storage.nbytes() for storage in kept.values())
        torch.autograd.grad(loss, prompt)
    return size, time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
