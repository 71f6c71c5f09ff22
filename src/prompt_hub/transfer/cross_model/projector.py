"""Networks that map a prompt of one backbone to one of another: the paper's, and two with fewer parameters.

Shape letters: ``P_s``, ``H_s`` length and width of the source prompt, ``P_t``, ``H_t`` of the target's,
``h`` bottleneck, ``...`` any number of leading dimensions. Weights start as PyTorch's layers do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from prompt_hub.errors import UserError, unknown_name

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "none": nn.Identity,
}
"""The original trains base to base with ``leaky_relu`` (slope 0.01) and base to large with ``tanh``."""

Size = tuple[int, int]

_ADAM_COPIES = 4
"""Weights, gradients and Adam's two moments, all float32."""


class Projector(nn.Module, ABC):
    """From ``[..., P_s, H_s]`` to ``[..., P_t, H_t]``. source, target: (length, width) of the prompts.

    activation: a name in ``ACTIVATIONS``. layer_norm: whether every row of the result is normalised, with a
    trained scale and shift, so that its norm is one that a model can work with.
    """

    kind: str

    def __init__(self, source: Size, target: Size, activation: str, layer_norm: bool) -> None:
        super().__init__()
        if min(*source, *target) < 1:
            raise UserError(f"A prompt has at least one row and one column, not {source} or {target}.")
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.source, self.target = source, target
        self.activation = ACTIVATIONS[activation]()
        self.layer_norm = nn.LayerNorm(target[1]) if layer_norm else nn.Identity()

    def forward(self, prompt: Tensor) -> Tensor:
        if tuple(prompt.shape[-2:]) != self.source:
            raise UserError(
                f"The projector takes prompts of {self.source[0]} rows and width {self.source[1]}, not of "
                f"{' x '.join(map(str, prompt.shape[-2:]))}."
            )
        return self.layer_norm(self.project(prompt))

    @abstractmethod
    def project(self, prompt: Tensor) -> Tensor:
        """``[..., P_s, H_s]`` to ``[..., P_t, H_t]``, before the normalisation."""

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def training_bytes(self) -> int:
        """What training with Adam keeps in memory besides the backbone and its activations."""
        return self.parameter_count * 4 * _ADAM_COPIES

    def describe(self) -> str:
        sizes = " to ".join(f"{rows} x {width}" for rows, width in (self.source, self.target))
        return (
            f"{self.kind} projector, {sizes}: {self.parameter_count:,} parameters, "
            f"{self.parameter_count * 4 / 2**20:,.1f} MB, {self.training_bytes / 2**20:,.1f} MB in training "
            "with Adam"
        )


class FlatProjector(Projector):
    """The paper's: flatten, ``Linear(P_s H_s, h)``, activation, ``Linear(h, P_t H_t)``, reshape, LayerNorm.

    Any number of a source prompt can reach any of the target's. bottleneck: h.
    """

    kind = "flat"

    def __init__(
        self,
        source: Size,
        target: Size,
        bottleneck: int = 768,
        activation: str = "leaky_relu",
        layer_norm: bool = True,
    ) -> None:
        super().__init__(source, target, activation, layer_norm)
        _check_positive("bottleneck", bottleneck)
        self.encoder = nn.Linear(source[0] * source[1], bottleneck)
        self.decoder = nn.Linear(bottleneck, target[0] * target[1])

    def project(self, prompt: Tensor) -> Tensor:
        hidden = self.activation(self.encoder(prompt.flatten(-2)))
        return self.decoder(hidden).unflatten(-1, self.target)


class PerTokenProjector(Projector):
    """``Linear(H_s, H_t)`` and activation, each row by itself; both prompts have the same length."""

    kind = "per-token"

    def __init__(
        self, source: Size, target: Size, activation: str = "leaky_relu", layer_norm: bool = False
    ) -> None:
        super().__init__(source, target, activation, layer_norm)
        if source[0] != target[0]:
            raise UserError(
                f"A per-token projector keeps the number of rows, so it cannot make {target[0]} of "
                f"{source[0]}. Use a flat or a low-rank one."
            )
        self.encoder = nn.Linear(source[1], target[1])

    def project(self, prompt: Tensor) -> Tensor:
        return self.activation(self.encoder(prompt))


class LowRankProjector(Projector):
    """Rows to ``rank`` features each, all of those mixed, and back to rows: under a hundredth of the size.

    ``Linear(H_s, r)`` on each row, activation, flatten, ``Linear(P_s r, P_t r)``, reshape, ``Linear(r, H_t)``
    on each row, LayerNorm. rank: r.
    """

    kind = "low-rank"

    def __init__(
        self,
        source: Size,
        target: Size,
        rank: int = 8,
        activation: str = "leaky_relu",
        layer_norm: bool = True,
    ) -> None:
        super().__init__(source, target, activation, layer_norm)
        _check_positive("rank", rank)
        self.down = nn.Linear(source[1], rank)
        self.mix = nn.Linear(source[0] * rank, target[0] * rank)
        self.up = nn.Linear(rank, target[1])
        self.rank = rank

    def project(self, prompt: Tensor) -> Tensor:
        features = self.activation(self.down(prompt)).flatten(-2)
        return self.up(self.mix(features).unflatten(-1, (self.target[0], self.rank)))


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"The {name} of a projector must be at least 1, not {value}.")
