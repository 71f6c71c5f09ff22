"""The feed-forward (FFN) neurons of any Hugging Face model, found by watching one small forward.

Shape letters: ``H`` hidden width, ``F`` FFN width. A feed-forward layer maps H to F, applies an activation
function, in gated models multiplies the result by a second map of the input, and maps F back to H. That is
how it is recognised: by what flows between the modules, whatever they are called. Each of the F numbers that
enter the map back is a neuron.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from prompt_hub.backbones.base import Backbone, Batch
from prompt_hub.errors import UserError, unknown_name

STACKS = ("encoder", "decoder")
_TOKENS = 4
_NEAR = 12
"""How many linear maps before the map back are looked at: those of one layer, attention included."""


@dataclass(frozen=True)
class FFNSite:
    """Where the neurons of one layer are.

    stack: ``encoder`` or ``decoder``. layer: counted from 0 within the stack. width: F. gated: whether the
    activation function's output is multiplied by a second map. down: the map back to H; its input is the
    neurons. before: the map whose output enters the activation function. half: which half of its output that
    is, where gate and second map are one module. activation: the function itself. Of a site named by hand
    ``gated`` and ``activation`` are not known (None), and ``before`` only if it was named too.
    """

    stack: str
    layer: int
    width: int
    gated: bool | None
    down_name: str
    down: nn.Module = field(repr=False)
    before_name: str | None = None
    before: nn.Module | None = field(default=None, repr=False)
    half: int | None = None
    activation: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)

    @property
    def activation_name(self) -> str:
        if self.activation is None:
            return "unknown"
        return getattr(self.activation, "__name__", type(self.activation).__name__)

    def before_activation(self, output: Tensor) -> Tensor:
        """The part of ``before``'s output ``[..., F or 2F]`` that enters the activation function."""
        return output if self.half is None else output.chunk(2, -1)[self.half]

    def to_dict(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "layer": self.layer,
            "width": self.width,
            "gated": self.gated,
            "activation": self.activation_name,
            "before": self.before_name,
            "down": self.down_name,
        }


_found: WeakKeyDictionary[Backbone, list[FFNSite]] = WeakKeyDictionary()


def find_sites(backbone: Backbone, by_hand: str | None = None) -> list[FFNSite]:
    """Every feed-forward layer of a backbone, in the order in which they run (encoder before decoder).

    by_hand: ``DOWN`` or ``DOWN,BEFORE``, the names of the map back to H and of the map whose output enters
    the activation function, with ``*`` for the layer's number: ``h.*.mlp.c_proj,h.*.mlp.c_fc``. Raises
    ``UserError`` where none is found, saying what was looked for.
    """
    if by_hand is not None:
        return _named_sites(backbone, by_hand)
    if backbone not in _found:
        _found[backbone] = _watched_sites(backbone)
    return _found[backbone]


def in_stack(sites: Sequence[FFNSite], stack: str) -> list[FFNSite]:
    """The sites of one stack; ``UserError`` where the backbone has no such stack or its widths differ."""
    if stack not in STACKS:
        raise unknown_name("stack", stack, STACKS)
    chosen = [site for site in sites if site.stack == stack]
    if not chosen:
        there = ", ".join(sorted({site.stack for site in sites}))
        raise UserError(f"This backbone has no {stack} with feed-forward layers. It has: {there}.")
    widths = sorted({site.width for site in chosen})
    if len(widths) > 1:
        raise UserError(
            f"The feed-forward layers of this {stack} have different widths ({', '.join(map(str, widths))}); "
            "arrays of layers by neurons need one. Name layers of one width by hand (--site)."
        )
    return chosen


# -- watching a forward --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """One call of a module: what went in and came out, ``[tokens, width]``."""

    name: str
    module: nn.Module
    input: Tensor
    output: Tensor


def _watched_sites(backbone: Backbone) -> list[FFNSite]:
    maps, functions = _watch(backbone)
    sites: list[FFNSite] = []
    layers = dict.fromkeys(STACKS, 0)
    in_config = list(_functions_in_config(backbone.config))
    same = _Same(1e-4 if backbone.dtype == torch.float32 else 0.02)
    for index, down in enumerate(maps):
        stack = _stack_of(backbone, down.module)
        site = _site_of(down, maps[max(0, index - _NEAR) : index], functions, in_config, same)
        if site is None:
            continue
        if any(site["down"] is other.down for other in sites):
            raise UserError(
                f"The layers of backbone {backbone.describe()} share one feed-forward module "
                f"({down.name} runs several times), so its neurons belong to no single layer. "
                "Use a backbone whose layers have weights of their own."
            )
        sites.append(FFNSite(stack=stack, layer=layers[stack], **site))
        layers[stack] += 1
    if not sites:
        raise UserError(
            f"No feed-forward neurons were found in backbone {backbone.describe()}. Looked for in one "
            "forward: a linear map of an activation function's output (in gated models times the output of a "
            "second map), where the function's input is the output of another linear map, from the hidden "
            f"width to a width of its own and back. {_how_to_name(maps)}"
        )
    return sites


@torch.no_grad()
def _watch(backbone: Backbone) -> tuple[list[_Run], list[_Run]]:
    """The linear maps and the functions without weights that one forward of a few tokens runs, in order."""
    maps: list[_Run] = []
    functions: list[_Run] = []

    def note(runs: list[_Run], name: str) -> Callable[..., None]:
        def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            given = inputs[0] if inputs else None
            if (
                isinstance(given, Tensor)
                and isinstance(output, Tensor)
                and given.is_floating_point()
                and given.shape[:-1] == output.shape[:-1]
            ):
                flat = given.reshape(-1, given.shape[-1]), output.reshape(-1, output.shape[-1])
                runs.append(_Run(name, module, *(part.detach().float() for part in flat)))

        return after

    handles = []
    try:
        for name, module in backbone.model.named_modules():
            if any(True for _ in module.children()):
                continue
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 2:
                handles.append(module.register_forward_hook(note(maps, name)))
            elif not any(True for _ in module.parameters()):
                handles.append(module.register_forward_hook(note(functions, name)))
        ids = torch.arange(_TOKENS, device=backbone.device).unsqueeze(0) + 4
        ids = ids % backbone.embedding_matrix.shape[0]
        read = torch.full_like(ids[:, :1], _TOKENS - 1)
        backbone.reference_label_logits(None, Batch(ids, torch.ones_like(ids), read), [[0]])
    finally:
        for handle in handles:
            handle.remove()
    return maps, functions


def _site_of(
    down: _Run,
    earlier: Sequence[_Run],
    functions: Sequence[_Run],
    in_config: Sequence[Callable[[Tensor], Tensor]],
    same: _Same,
) -> dict[str, Any] | None:
    """The layer whose map back is ``down``, or None if ``down`` is another linear map."""
    neurons, hidden = down.input, down.output.shape[-1]
    parts = [
        part for run in reversed(earlier) if run.input.shape[-1] == hidden for part in _parts(run, neurons)
    ]
    for run, half, value in parts:
        for function, result in _applied(value, functions, in_config, same):
            plain = same(result, neurons)
            if plain or any(
                same(result * other, neurons)
                for second, at, other in parts
                if second is not run or at != half
            ):
                return {
                    "width": neurons.shape[-1],
                    "gated": not plain,
                    "down_name": down.name,
                    "down": down.module,
                    "before_name": run.name,
                    "before": run.module,
                    "half": half,
                    "activation": function,
                }
    return None


def _parts(run: _Run, neurons: Tensor) -> Iterator[tuple[_Run, int | None, Tensor]]:
    """What of a map's output is as wide as the neurons: all of it, or each half."""
    if run.output.shape == neurons.shape:
        yield run, None, run.output
    elif run.output.shape[0] == neurons.shape[0] and run.output.shape[1] == 2 * neurons.shape[1]:
        for half, value in enumerate(run.output.chunk(2, -1)):
            yield run, half, value


def _applied(
    value: Tensor,
    functions: Sequence[_Run],
    in_config: Sequence[Callable[[Tensor], Tensor]],
    same: _Same,
) -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor]]:
    """Functions of ``value``: those that ran on it as a module, then those that the configuration names."""
    for run in functions:
        if same(run.input, value) and not same(run.output, value):
            yield run.module, run.output
    for function in in_config:
        result = function(value)
        if not same(result, value):
            yield function, result


@dataclass(frozen=True)
class _Same:
    """Whether two tensors are equal but for rounding; tolerance: a share of the largest value."""

    tolerance: float

    def __call__(self, first: Tensor, second: Tensor) -> bool:
        if first.shape != second.shape or not first.abs().max() > 0:
            return False
        return bool((first - second).abs().max() <= self.tolerance * first.abs().max())


def _functions_in_config(config: Any) -> Iterator[Callable[[Tensor], Tensor]]:
    """Activation functions that a value of the configuration names (or is)."""
    from transformers.activations import ACT2FN

    for value in dict.fromkeys(value for value in vars(config).values() if isinstance(value, str)):
        if value in ACT2FN:
            yield ACT2FN[value]
    for value in vars(config).values():
        if callable(value) and not isinstance(value, type):
            yield value


def _stack_of(backbone: Backbone, module: nn.Module) -> str:
    if backbone.family == "seq2seq_lm":
        encoder = backbone.model.get_encoder()
        return "encoder" if any(module is other for other in encoder.modules()) else "decoder"
    return "encoder" if backbone.family == "masked_lm" else "decoder"


# -- named by hand -------------------------------------------------------------------------------------


def _named_sites(backbone: Backbone, by_hand: str) -> list[FFNSite]:
    names = [name.strip() for name in by_hand.split(",")]
    if len(names) > 2 or not all(names) or any("*" not in name for name in names):
        raise UserError(
            f"--site {by_hand!r} is not DOWN or DOWN,BEFORE with a * for the layer's number, such as "
            "'h.*.mlp.c_proj,h.*.mlp.c_fc'."
        )
    maps, _ = _watch(backbone)
    found = [_matching(backbone, maps, name) for name in names]
    for name, runs in zip(names, found, strict=True):
        if not runs:
            raise UserError(f"--site: no linear map of backbone {backbone.name} is called {name!r}. "
                            f"{_how_to_name(maps)}")  # fmt: skip
    if len(found) == 2 and found[0].keys() != found[1].keys():
        raise UserError(f"--site: {names[0]!r} and {names[1]!r} do not match in the same layers.")
    sites: list[FFNSite] = []
    layers = dict.fromkeys(STACKS, 0)
    for place, down in found[0].items():
        stack = _stack_of(backbone, down.module)
        before = found[1][place] if len(found) == 2 else None
        width = down.input.shape[-1]
        if before is not None and before.output.shape[-1] != width:
            raise UserError(
                f"--site: {before.name} gives {before.output.shape[-1]} numbers, but {width} enter "
                f"{down.name}."
            )
        sites.append(
            FFNSite(
                stack=stack,
                layer=layers[stack],
                width=width,
                gated=None,
                down_name=down.name,
                down=down.module,
                before_name=before.name if before else None,
                before=before.module if before else None,
            )
        )
        layers[stack] += 1
    return sites


def _matching(backbone: Backbone, maps: Sequence[_Run], pattern: str) -> dict[tuple[str, ...], _Run]:
    """Maps whose name, or its end, is the pattern, by their stack and what stands for the stars."""
    compiled = re.compile(r"(?:.*\.)?" + re.escape(pattern).replace(r"\*", r"(\d+)"))
    found = {}
    for run in maps:
        match = compiled.fullmatch(run.name)
        if match:
            found[(_stack_of(backbone, run.module), *match.groups())] = run
    return found


def starred(name: str) -> str:
    """A module's name with ``*`` for the number of its layer: ``h.*.mlp.c_fc``."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


def _how_to_name(maps: Sequence[_Run]) -> str:
    patterns = list(dict.fromkeys(starred(run.name) for run in maps))
    shown = ", ".join(patterns[:16]) + (", ..." if len(patterns) > 16 else "")
    return (
        "Name the map back to the hidden width by hand, with * for the layer's number: --site DOWN, or "
        "--site DOWN,BEFORE to have the values before the activation function too. "
        f"Linear maps that ran: {shown or 'none'}."
    )
