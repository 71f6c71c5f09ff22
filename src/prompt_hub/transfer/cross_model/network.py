"""What a projector is made of, as it is stored with a map, and how it is built again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.transfer.cross_model.projector import (
    FlatProjector,
    LowRankProjector,
    PerTokenProjector,
    Projector,
    Size,
)

NETWORKS = ("flat", "per-token", "low-rank")


@dataclass(frozen=True)
class Network:
    """kind: a name in ``NETWORKS``. source, target: (length, width) of the prompts.

    bottleneck: of ``flat``; rank: of ``low-rank``. gain: every number of the result is multiplied by it, so
    that a fresh projector gives rows as long as the target's tokens.
    """

    kind: str
    source: Size
    target: Size
    bottleneck: int = 768
    rank: int = 8
    activation: str = "leaky_relu"
    layer_norm: bool = True
    gain: float = 1.0

    def build(self) -> Projector:
        """A projector with fresh weights. Raises ``UserError`` for names and sizes that there are not."""
        if self.kind not in NETWORKS:
            raise unknown_name("network", self.kind, NETWORKS)
        shared = {"activation": self.activation, "layer_norm": self.layer_norm}
        sizes = tuple(self.source), tuple(self.target)
        if self.kind == "flat":
            return FlatProjector(*sizes, self.bottleneck, **shared)  # type: ignore[arg-type]
        if self.kind == "low-rank":
            return LowRankProjector(*sizes, self.rank, **shared)  # type: ignore[arg-type]
        return PerTokenProjector(*sizes, **shared)  # type: ignore[arg-type]

    def describe(self) -> str:
        """Sizes, parameters and memory, for people; takes no memory itself."""
        with torch.device("meta"):
            return self.build().describe()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the weights, by name; takes no memory."""
        with torch.device("meta"):
            return {name: tuple(weight.shape) for name, weight in self.build().state_dict().items()}

    @torch.no_grad()
    def apply(self, weights: Mapping[str, Tensor], prompt: Tensor) -> Tensor:
        """``[P_s, H_s]`` to ``[P_t, H_t]``, with stored weights."""
        with torch.device("meta"):
            projector = self.build()
        projector.load_state_dict(dict(weights), assign=True)
        return projector(prompt) * self.gain

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str) -> Network:
        names = {item.name for item in fields(cls)}
        if set(values) != names:
            raise UserError(f"{source} must hold {', '.join(sorted(names))}. Make the map again.")
        kinds: dict[str, Any] = {
            "kind": str, "bottleneck": int, "rank": int, "activation": str, "layer_norm": bool, "gain": float,
        }  # fmt: skip
        sizes = all(
            isinstance(values[side], list | tuple)
            and len(values[side]) == 2
            and all(type(number) is int for number in values[side])
            for side in ("source", "target")
        )
        if not sizes or not all(isinstance(values[name], kind) for name, kind in kinds.items()):
            raise UserError(f"{source} is of another type than it was written with. Make the map again.")
        return cls(**{**values, "source": tuple(values["source"]), "target": tuple(values["target"])})
