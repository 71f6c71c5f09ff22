"""How a projector is trained: what it is made of, what it aims at, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.prompts.initialisers import initial_prompt
from prompt_hub.transfer.cross_model.base import root_mean_square
from prompt_hub.transfer.cross_model.maps import METHODS
from prompt_hub.transfer.cross_model.mixture import OBJECTIVES, TASK_TUNING
from prompt_hub.transfer.cross_model.network import NETWORKS, Network
from prompt_hub.transfer.cross_model.projector import ACTIVATIONS, PerTokenProjector, Projector

RATES = {"flat": 1e-3, "per-token": 3e-3, "low-rank": 1e-2}
"""Rate of AdamW by network. A feature of ``flat`` is a sum over a whole prompt: at the paper's 5e-3 it moves
by more than its own size in a step. The small networks hardly move in a hundred steps at 1e-3."""

RANDOM = "random"
STARTS = (RANDOM, *(name for name, method in METHODS.items() if method.linear))

_SAMPLED_TOKENS = 1000


@dataclass(frozen=True)
class Recipe:
    """objective: ``task-tuning``, ``distance`` or ``both``. network: ``flat``, ``per-token``, ``low-rank``.

    bottleneck: of flat. rank: of low-rank. layer_norm: None takes the network's own (per-token has none).
    distance_weight: of the distance, where both are trained. start: ``random`` weights, or those of a linear
    map from shared tokens (``ridge``, ``procrustes``, ``least-squares``), which only a per-token network
    without activation and normalisation can take.
    """

    objective: str = TASK_TUNING
    network: str = "flat"
    bottleneck: int = 768
    rank: int = 8
    activation: str = "leaky_relu"
    layer_norm: bool | None = None
    distance_weight: float = 1.0
    start: str = RANDOM

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise unknown_name("method", self.objective, OBJECTIVES)
        if self.network not in NETWORKS:
            raise unknown_name("network", self.network, NETWORKS)
        if self.activation not in ACTIVATIONS:
            raise unknown_name("activation", self.activation, ACTIVATIONS)
        for name in ("bottleneck", "rank"):
            if getattr(self, name) < 1:
                raise UserError(f"The {name} of a projector must be at least 1, not {getattr(self, name)}.")
        if not 0 < self.distance_weight < float("inf"):
            raise UserError(f"The weight of the distance must be above 0, not {self.distance_weight}.")
        if self.start not in STARTS:
            raise unknown_name("start", self.start, STARTS)
        linear = self.network == "per-token" and self.activation == "none" and not self.layer_norm
        if self.start != RANDOM and not linear:
            raise UserError(
                f"A start from {self.start} needs a linear projector: --network per-token --activation none, "
                "without --layer-norm."
            )

    def network_for(self, source: tuple[int, int], target: tuple[int, int]) -> Network:
        """The network between prompts of these sizes (length, width), not yet calibrated."""
        layer_norm = self.network != "per-token" if self.layer_norm is None else self.layer_norm
        return Network(self.network, source, target, self.bottleneck, self.rank, self.activation, layer_norm)


def token_norm(backbone: Backbone, seed: int = 0) -> float:
    """Root mean square of the norms of up to 1,000 ordinary tokens as they enter the model."""
    count = min(_SAMPLED_TOKENS, backbone.embedding_matrix.shape[0])
    return root_mean_square(initial_prompt("vocab", backbone, count, seed))


@torch.no_grad()
def fresh(network: Network, seed: int, start: Tensor | None = None) -> Projector:
    """A projector with the weights that ``seed`` gives, or a per-token one with ``start [H_s, H_t]``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projector = network.build()
    if start is not None:
        assert isinstance(projector, PerTokenProjector)
        projector.encoder.weight.copy_(start.T)
        projector.encoder.bias.zero_()
    return projector


@torch.no_grad()
def calibrated_gain(projector: Projector, sources: Tensor, norm: float) -> float:
    """The factor that makes ``norm`` the root mean square of the row norms of ``sources [K, P_s, H_s]``'s
    images.
    """
    rows = projector(sources.float()).flatten(0, 1)
    return norm / max(root_mean_square(rows), 1e-12)
