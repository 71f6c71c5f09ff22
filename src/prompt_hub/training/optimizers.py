"""Optimisers beside those of torch and transformers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

ADAMW_HF = "adamw_hf"
"""Name by which ``PromptTrainingArguments.optim`` and ``--optimizer`` know ``AdamWHF``."""


class AdamWHF(Optimizer):
    """AdamW as transformers had it up to version 4: eps is added before the bias correction.

    Its first step on a gradient g is ``lr * g / (|g| + eps / sqrt(1 - beta2))``, torch's
    ``lr * g / (|g| + eps)``: coordinates with small gradients move less. Weight decay (Loshchilov and Hutter
    2019) follows the step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        (beta1, beta2), rate = group["betas"], group["lr"]
        state["mean"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        correction = math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        parameter.addcdiv_(state["mean"], state["square"].sqrt().add_(group["eps"]), value=-rate * correction)
        if group["weight_decay"]:
            parameter.mul_(1 - rate * group["weight_decay"])
