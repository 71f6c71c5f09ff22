"""How cost grows with one quantity, the others held still."""

from __future__ import annotations

from typing import Any

import torch
from compared_systems import PromptHub
from epochs import note
from operations import useful_operations
from shapes import Rows, Shape, initial_prompt, random_rows

from speed.roof import guessed_rate
from speed.setting import Setting
from speed.steps import architecture, in_turns

AXES: dict[str, tuple[int, ...]] = {
    "prompt length": (10, 20, 50, 100, 150, 200),
    "text length": (16, 32, 64, 128, 256, 512),
    "batch": (1, 4, 16, 64, 128, 256),
    "prompts": (1, 2, 4, 8, 16, 32, 64),
}
STILL = {"prompt length": 100, "text length": 24, "batch": 16}
"""What an axis does not change. The cost that all lines are drawn through is measured here."""
SMALL = {name: values[:2] for name, values in AXES.items()}
_POSITIONS = 1024
"""RoBERTa's 512 do not hold prompt and text of the longest kind."""


class Growing:
    """One model, measured at one point after another."""

    def __init__(self, shape: Shape, setting: Setting) -> None:
        self.shape, self.setting = shape, setting
        self.arch = architecture(shape, setting.small)
        longer = Shape(shape.name, shape.backbone, shape.model, lambda small: _with_positions(shape, small))
        self.hub = PromptHub(longer, STILL["prompt length"], setting.small, setting.place)
        # Useful operations a second, by what is measured; a guess at first.
        self.rates = dict.fromkeys(("train", "eval"), guessed_rate(self.arch, setting))

    def still(self) -> dict[str, Any]:
        return self.point(**_sizes(STILL))

    def at(self, axis: str, value: int) -> dict[str, Any]:
        if axis == "prompts":
            return self.prompts(value)
        return self.point(**_sizes(STILL | {axis: value}))

    def point(self, prompt_len: int, length: int, rows: int) -> dict[str, Any]:
        """Seconds of a training step and of an evaluation batch, by round, and their operations."""
        operations = {
            mode: useful_operations(self.arch, prompt_len, [length] * rows, mode == "train")
            for mode in ("train", "eval")
        }
        self._check(operations, self.setting.rounds + 1)
        self.hub.module.prompt.data = initial_prompt(self.hub.encoder.backbone.model, prompt_len)
        self.hub.module.prompt.grad = None
        self.hub.optimizer = torch.optim.AdamW(self.hub.module.parameters(), lr=1e-3)
        inputs = self.hub.prepare(self._rows(length, rows), True)

        def evaluate() -> None:
            with torch.no_grad():
                self.hub.label_logits(inputs)

        self.hub.optimise(inputs)
        seconds = in_turns({"train": lambda: self.hub.optimise(inputs)}, self.setting)
        with self.hub.evaluation():
            evaluate()
            seconds |= in_turns({"eval": evaluate}, self.setting)
        for mode, value in operations.items():
            self.rates[mode] = value / min(seconds[mode])
        return {"operations": operations, "seconds": seconds}

    def prompts(self, count: int) -> dict[str, Any]:
        """The same batch under so many prompts, one after another."""
        prompt_len, length, rows = STILL["prompt length"], STILL["text length"], STILL["batch"]
        once = useful_operations(self.arch, prompt_len, [length] * rows, False, runs_prompt=True)
        operations = {"eval": count * once}
        self._check(operations, self.setting.rounds + 1)
        backbone = self.hub.encoder.backbone
        start = initial_prompt(backbone.model, prompt_len)
        prompts = [start + 0.01 * torch.randn_like(start) for _ in range(count)]
        batch = self.hub.encoder.batch(self._rows(length, rows))
        label_ids = self.hub.encoder.label_ids

        def evaluate() -> None:
            with torch.no_grad():
                for prompt in prompts:
                    with backbone.unchanged(prompt):
                        backbone.label_logits(prompt, batch, label_ids)

        evaluate()
        return {"operations": operations, "seconds": in_turns({"eval": evaluate}, self.setting)}

    def _rows(self, length: int, rows: int) -> Rows:
        """Texts of ``length`` tokens in all, template included."""
        template = len(random_rows(self.shape, [1], 1, self.setting.small, seed=5)[0])
        text = max(0, length - template)
        return random_rows(self.shape, [0] * text + [1], rows, self.setting.small, seed=5)

    def _check(self, operations: dict[str, int], times: int) -> None:
        """A point may take a third of the time that is left."""
        seconds = sum(times * value / self.rates[mode] for mode, value in operations.items())
        self.setting.check(3 * seconds)
        note(f"{self.shape.name}, growth: {operations} operations")


def _with_positions(shape: Shape, small: bool) -> Any:
    config = shape.config(small)
    if shape.family == "masked_lm":
        config.max_position_embeddings = _POSITIONS + 2
    return config


def _sizes(values: dict[str, int]) -> dict[str, int]:
    return {"prompt_len": values["prompt length"], "length": values["text length"], "rows": values["batch"]}
