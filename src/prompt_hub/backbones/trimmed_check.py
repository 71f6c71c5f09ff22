"""Whether an encoder may run trimmed: once by what it is, before every forward by what hangs on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prompt_hub.backbones.base import Batch
from prompt_hub.backbones.packed_check import TOLERANCE, why_not_now
from prompt_hub.backbones.packed_runs import NotPackable
from prompt_hub.backbones.trimmed_encoder import TrimmedEncoder

if TYPE_CHECKING:
    from prompt_hub.backbones.masked_lm import MaskedLM

_LENGTHS = (4, 2, 6)
_PROMPT_LEN = 3
_VOCABULARY_ROWS = 16
_FAILURES = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)


class TrimmedPath:
    """A masked backbone's trimmed forward, found at first use, and why it is not taken."""

    def __init__(self, backbone: MaskedLM) -> None:
        self._backbone = backbone
        self._found: TrimmedEncoder | NotPackable | None = None
        self._attention = ""

    def now(self) -> TrimmedEncoder | None:
        """What runs at the moment; None where the ordinary forward does."""
        return self._found if self.why_not() is None and isinstance(self._found, TrimmedEncoder) else None

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
        attention = str(backbone.config._attn_implementation)
        if self._found is None or attention != self._attention:
            self._attention = attention
            try:
                self._found = _checked(backbone)
            except NotPackable as reason:
                self._found = reason
        return str(self._found) if isinstance(self._found, NotPackable) else None


def _checked(backbone: MaskedLM) -> TrimmedEncoder:
    """The backbone's model, made ready to run trimmed; ``NotPackable`` with the reason where it cannot.

    Rows of different lengths run both ways: logits and the prompt's gradient have to be the same.
    """
    trimmed = TrimmedEncoder(backbone.model)
    batch, prompt, rows = _sample(backbone)

    def plain(prompt: Tensor) -> Tensor:
        return backbone.narrow_logits(prompt, batch, rows, None)

    def fast(prompt: Tensor) -> Tensor:
        return backbone.narrow_logits(prompt, batch, rows, trimmed)

    try:
        trimmed.find_maps(lambda: plain(prompt))
        found = _with_gradient(fast, prompt)
    except _FAILURES as error:
        raise NotPackable(f"a trimmed forward failed ({type(error).__name__}: {error})") from error
    for value, reference in zip(found, _with_gradient(plain, prompt), strict=True):
        tolerance = TOLERANCE.get(backbone.dtype, 0.05) * reference.abs().max()
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


def _sample(backbone: MaskedLM) -> tuple[Batch, Tensor, Tensor]:
    """Three texts, a prompt ``[P, H]`` and vocabulary rows."""
    vocabulary = len(backbone.embedding_matrix)
    generator = torch.Generator().manual_seed(0)
    lengths, width = torch.tensor(_LENGTHS), max(_LENGTHS)
    ids = torch.randint(vocabulary, (len(_LENGTHS), width), generator=generator)
    mask = (torch.arange(width) < lengths[:, None]).long()
    batch = Batch(ids * mask, mask, torch.tensor([[1], [0], [4]])).to(backbone.device)
    with torch.inference_mode(False), torch.no_grad():
        tokens = torch.randint(vocabulary, (_PROMPT_LEN,), generator=generator).to(backbone.device)
        prompt = backbone.embed(tokens[None])[0].float()
        rows = torch.arange(_VOCABULARY_ROWS, device=backbone.device) % vocabulary
    return batch, prompt, rows
