"""Layers compiled by torch, against the same layers as they are."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from compared_systems import PromptHub
from epochs import epoch, note
from operations import useful_operations
from shapes import Shape

from speed.roof import guessed_seconds
from speed.setting import Setting
from speed.steps import architecture, in_turns, representative, run_of

WAYS = ("compiled", "as they are")
_BATCHES = 4
"""Of several lengths, as a training has them: what is compiled for one of them must do for the others."""


def compare(shape: Shape, prompt_len: int, setting: Setting) -> dict[str, Any]:
    """By mode: seconds a batch of both ways in every round, and of the first batches, which are compiled."""
    found: dict[str, Any] = {}
    arch = architecture(shape, setting.small)
    hub = PromptHub(shape, prompt_len, setting.small, setting.place)
    backbone = hub.encoder.backbone
    for mode in ("train", "eval"):
        training = mode == "train"
        batches = representative(epoch(hub, shape, mode, setting.counts, setting.small), _BATCHES)
        operations = [useful_operations(arch, prompt_len, list(map(len, rows)), training) for rows in batches]
        setting.check(
            2 * (setting.rounds + 2) * sum(guessed_seconds(arch, each, setting) for each in operations)
        )
        note(f"{shape.name}, prompt {prompt_len}, {mode}: compiled and not")
        run = run_of(hub, batches, training, setting)

        def go(way: str, run: Any = run) -> None:
            with backbone.compiled() if way == WAYS[0] else nullcontext():
                run()

        with ExitStack() as stack:
            if not training:
                stack.enter_context(torch.no_grad())
                stack.enter_context(hub.evaluation())
            first = {way: setting.timed(go, way) for way in WAYS}
            seconds = in_turns({way: lambda way=way: go(way) for way in WAYS}, setting)
        found[mode] = {
            "rows": len(batches[0]),
            "first_seconds": first,
            "seconds": {way: [value / len(batches) for value in values] for way, values in seconds.items()},
        }
    return {"modes": found}
