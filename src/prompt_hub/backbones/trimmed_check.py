"""Whether a model may run trimmed: once by what it is, before every forward by what hangs on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone, Batch
from prompt_hub.backbones.exchanged_attention import KNOWN, attentions_of
from prompt_hub.backbones.packed_check import TOLERANCE, why_not_now
from prompt_hub.backbones.packed_runs import NotPackable

T = TypeVar("T")

_LENGTHS = (4, 2, 6)
_PROMPT_LEN = 3
_FAILURES = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)


class TrimmedPath(Generic[T]):
    """A backbone's trimmed forward, found at first use, and why it is not taken."""

    def __init__(
        self,
        backbone: Backbone,
        prepare: Callable[[Callable[[], Tensor]], T],
        run: Callable[[Tensor, Batch, T | None], Tensor],
    ) -> None:
        """prepare: makes the model ready, given any forward of it; ``NotPackable`` where it cannot. run:
        numbers that depend on a prompt ``[P, H]``, plain for None."""
        self._backbone = backbone
        self._prepare = prepare
        self._run = run
        self._found: T | NotPackable | None = None
        self._attention: set[str] = set()

    def now(self) -> T | None:
        """What runs at the moment; None where the ordinary forward does."""
        if self.why_not() is not None or isinstance(self._found, NotPackable):
            return None
        return self._found

    def why_not(self) -> str | None:
        """What stands against a trimmed forward at the moment: None where nothing does."""
        backbone = self._backbone
        if backbone.quantized is not None:
            return "its weights are quantised"
        if backbone.is_sharded:
            return "the model is sharded"
        now = why_not_now(backbone.model)
        if now is not None:
            return now
        attention = attentions_of(backbone.model)
        if not attention <= KNOWN:
            return f"its attention is {', '.join(sorted(attention - KNOWN))}"
        if self._found is None or attention != self._attention:
            self._attention = attention
            try:
                self._found = self._checked()
            except NotPackable as reason:
                self._found = reason
        return str(self._found) if isinstance(self._found, NotPackable) else None

    def _checked(self) -> T:
        """The model, made ready; ``NotPackable`` with the reason where it cannot.

        Rows of different lengths run both ways: logits and the prompt's gradient have to be the same.
        """
        batch, prompt = _sample(self._backbone)
        plain = _with_gradient(lambda rows: self._run(rows, batch, None), prompt)
        try:
            trimmed = self._prepare(lambda: self._run(prompt, batch, None))
            found = _with_gradient(lambda rows: self._run(rows, batch, trimmed), prompt)
        except _FAILURES as error:
            raise NotPackable(f"a trimmed forward failed ({type(error).__name__}: {error})") from error
        for value, reference in zip(found, plain, strict=True):
            tolerance = TOLERANCE.get(self._backbone.dtype, 0.05) * reference.abs().max()
            # Not "greater": no comparison with NaN is true.
            if not bool((value - reference).abs().max() <= tolerance):
                raise NotPackable("a trimmed forward gives other numbers than the plain one")
        return trimmed


def _with_gradient(run: Callable[[Tensor], Tensor], prompt: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = prompt.clone().requires_grad_()
        logits = run(leaf).float()
        (gradient,) = torch.autograd.grad(logits.square().sum(), leaf)
    return logits.detach(), gradient


def _sample(backbone: Backbone) -> tuple[Batch, Tensor]:
    """Three texts and a prompt ``[P, H]``."""
    vocabulary = len(backbone.embedding_matrix)
    generator = torch.Generator().manual_seed(0)
    lengths, width = torch.tensor(_LENGTHS), max(_LENGTHS)
    with torch.inference_mode(False), torch.no_grad():
        ids = torch.randint(vocabulary, (len(_LENGTHS), width), generator=generator)
        mask = (torch.arange(width) < lengths[:, None]).long()
        batch = Batch(ids * mask, mask, torch.tensor([[1], [0], [4]])).to(backbone.device)
        tokens = torch.randint(vocabulary, (_PROMPT_LEN,), generator=generator).to(backbone.device)
        return batch, backbone.embed(tokens[None])[0].float()
