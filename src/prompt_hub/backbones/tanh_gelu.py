"""GELU in its tanh form (Hendrycks and Gimpel 2016), the activation function of GPT-2 and T5 v1.1.

transformers computes it step by step, ``torch`` has it as one kernel. On a CPU that kernel spends its time in
tanh; as ``x * sigmoid(2u)``, which is the same function since ``(1 + tanh(u)) / 2 = sigmoid(2u)``, it takes
less than half of it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 2 * math.sqrt(2 / math.pi)
_LINEAR, _CUBIC = torch.tensor(_SLOPE, dtype=torch.float32), 0.044715 * _SLOPE
_BLOCK = 1 << 17
"""Values a thread has at a time, so that the four passes over them stay in its cache."""


def tanh_gelus_of(model: nn.Module) -> list[nn.Module]:
    """The model's modules of this function that transformers computes step by step."""
    from transformers.activations import FastGELUActivation, NewGELUActivation

    return [each for each in model.modules() if isinstance(each, (NewGELUActivation, FastGELUActivation))]


def tanh_gelu(values: Tensor) -> Tensor:
    """``F.gelu(values, approximate="tanh")``, ``[..., F]``; by another road where no gradient is wanted."""
    wants_gradient = torch.is_grad_enabled() and values.requires_grad
    is_plain = (
        values.device.type == "cpu" and values.dtype == torch.float32 and not torch.compiler.is_compiling()
    )
    if wants_gradient or not is_plain or not values.numel():
        return F.gelu(values, approximate="tanh")
    found = torch.empty_like(values, memory_format=torch.contiguous_format)
    rows = max(1, _BLOCK * torch.get_num_threads() // values.shape[-1])
    blocks = (part.reshape(-1, values.shape[-1]).split(rows) for part in (values, found))
    for given, answer in zip(*blocks, strict=True):
        torch.addcmul(_LINEAR, given, given, value=_CUBIC, out=answer)
        answer.mul_(given).sigmoid_().mul_(given)
    return found
