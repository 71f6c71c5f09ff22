"""Whether a causal backbone may run packed: once by what it is, before every forward by what hangs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import Batch
from prompt_hub.backbones.packed_causal import PackedCausal
from prompt_hub.backbones.packed_runs import NotPackable
from prompt_hub.backbones.packing import Packing

if TYPE_CHECKING:
    from prompt_hub.backbones.causal_lm import CausalLM

_LENGTHS = (4, 1, 6)
_PROMPT_LEN = 3
_VOCABULARY_ROWS = 16
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""How far the packed logits may be from the plain ones, as a share of the largest; 0.05 in narrower types."""


def packed_model(backbone: CausalLM) -> PackedCausal:
    """The backbone's model, made ready to run packed; ``NotPackable`` with the reason where it cannot.

    A few tokens are run both ways: rows of different lengths behind a prompt, the prompt run with them and
    before them. What recognises no architecture by name cannot be wrong about one either.
    """
    packed = PackedCausal(backbone.model)
    with torch.inference_mode(False), torch.no_grad():
        batch, prompt = _sample(backbone)
        vocabulary = torch.arange(_VOCABULARY_ROWS, device=backbone.device) % len(backbone.embedding_matrix)
        plain = backbone.plain_logits(prompt, batch, vocabulary)
        try:
            found = _both_ways(backbone, packed, prompt, batch, vocabulary)
        except NotPackable:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise NotPackable(f"a packed forward failed ({type(error).__name__}: {error})") from error
        tolerance = TOLERANCE.get(backbone.dtype, 0.05) * plain.abs().max()
        for logits in found:
            # Not "greater": no comparison with NaN is true.
            if not bool((logits - plain).abs().max() <= tolerance):
                raise NotPackable("a packed forward gives other logits than the plain one")
    return packed


def why_not_now(model: Any) -> str | None:
    """What stands against a packed forward at the moment: None where nothing does.

    A hook sees packed rows instead of ``[B, S, ...]``. One that does not care says so by an attribute
    ``any_rows = True``; hooks on the head are always welcome, which sees ``[B, M, H]`` on either way.
    """
    if model.training:
        return "the model is in train() mode"
    if getattr(model, "_compiled_call_impl", None) is not None or hasattr(model, "_orig_mod"):
        return "the model is compiled"
    if len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        return "the model is spread over several devices"
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if module is not head and _foreign_hooks(module):
            return f"a hook hangs on {name or 'the model'}"
    return None


def has_hooks(model: Any) -> bool:
    """Whether hooks hang on the layers, under which a prompt's keys may be others than without."""
    head = model.get_output_embeddings()
    return any(
        module is not head and (module._forward_hooks or module._forward_pre_hooks)
        for module in model.modules()
    )


def _foreign_hooks(module: Any) -> bool:
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return not all(getattr(hook, "any_rows", False) for hook in hooks)


def _sample(backbone: CausalLM) -> tuple[Batch, Tensor]:
    vocabulary = len(backbone.embedding_matrix)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor(_LENGTHS)
    width = max(_LENGTHS)
    ids = torch.randint(vocabulary, (len(_LENGTHS), width), generator=generator)
    mask = (torch.arange(width) < lengths[:, None]).long()
    batch = Batch(ids * mask, mask, lengths[:, None] - 1).to(backbone.device)
    rows = torch.randint(vocabulary, (_PROMPT_LEN,), generator=generator).to(backbone.device)
    return batch, backbone.embed(rows[None])[0].float()


def _both_ways(
    backbone: CausalLM, packed: PackedCausal, prompt: Tensor, batch: Batch, vocabulary: Tensor
) -> list[Tensor]:
    packing = Packing.of(batch.attention_mask)
    texts = backbone.embed(packing.pack(batch.input_ids)[None])[0]
    rows = backbone.prompt_rows(prompt, 1)[0]
    assert batch.read_positions is not None
    with backbone.narrowed(None, vocabulary):
        return [
            packed.logits(texts, packing, batch.read_positions, rows[None], None),
            packed.logits(texts, packing, batch.read_positions, None, packed.keys(rows)),
        ]
