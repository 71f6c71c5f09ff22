"""AdamW for all weights, or Muon for the matrices of the layers beside it; warm-up, then linear to zero."""

from __future__ import annotations

from recipe import Recipe
from torch import nn
from torch.optim import AdamW, Muon, Optimizer


def build_optimisers(recipe: Recipe, model: nn.Module) -> list[Optimizer]:
    """AdamW, then Muon (Jordan et al. 2024) if the recipe has a rate for it. ``peak`` is a group's rate."""
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [
        parameter
        for parameter in parameters
        if recipe.matrix_rate and parameter.ndim == 2 and id(parameter) not in embeddings
    ]
    chosen = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in parameters if id(parameter) not in chosen]
    decayed = [parameter for parameter in others if parameter.ndim == 2 and id(parameter) not in embeddings]
    plain = [parameter for parameter in others if parameter.ndim != 2 or id(parameter) in embeddings]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimisers: list[Optimizer] = [
        AdamW([group for group in groups if group["params"]], lr=recipe.rate, betas=(0.9, 0.98), fused=True)
    ]
    if matrices:
        optimisers.append(
            Muon(matrices, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay,
                 adjust_lr_fn="match_rms_adamw")
        )  # fmt: skip
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def set_rates(optimisers: list[Optimizer], step: int, steps: int, warmup: int) -> None:
    """Rates of ``step`` (from 0): linearly up over ``warmup`` steps, then linearly to zero at ``steps``."""
    warmup = min(warmup, steps // 10)
    share = min((step + 1) / (warmup + 1), (steps - step) / (steps - warmup))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
