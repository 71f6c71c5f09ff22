"""GPT-2's activation function, computed by a sigmoid where no gradient is wanted."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from prompt_hub.backbones import tanh_gelu as module
from prompt_hub.backbones.tanh_gelu import tanh_gelu


@pytest.mark.parametrize("shape", [(1, 7, 12), (5, 12), (2, 3, 4, 12), (12,), (1, 0, 12)])
def test_the_values_are_those_of_torchs_kernel(shape, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 24)
    values = 4 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = values.clone()
    torch.testing.assert_close(tanh_gelu(values), F.gelu(values, approximate="tanh"), rtol=1e-5, atol=1e-6)
    assert torch.equal(values, given)


def test_values_in_another_order_of_memory_are_taken():
    values = torch.randn(12, 7, generator=torch.Generator().manual_seed(0)).T
    torch.testing.assert_close(tanh_gelu(values), F.gelu(values, approximate="tanh"))


def test_the_ends_are_those_of_torchs_kernel():
    values = torch.tensor([[-1e20, -100.0, -10.0, 0.0, 10.0, 100.0, 1e20, torch.inf, torch.nan]])
    wanted = F.gelu(values, approximate="tanh")
    torch.testing.assert_close(tanh_gelu(values), wanted, equal_nan=True)


def test_gradients_and_narrow_types_go_through_torchs_kernel():
    values = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.equal(tanh_gelu(values), F.gelu(values, approximate="tanh"))
    tanh_gelu(values).sum().backward()
    assert values.grad is not None
    narrow = values.detach().bfloat16()
    assert torch.equal(tanh_gelu(narrow), F.gelu(narrow, approximate="tanh"))
