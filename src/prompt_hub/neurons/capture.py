"""What the feed-forward neurons hold while a backbone runs under a prompt.

Shape letters: ``L`` layers, ``F`` FFN width, ``B`` batch, ``M`` positions, ``P`` prompt length. Hooks live
inside a ``with`` block and are gone after it, also after an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.base import Backbone, Batch
from prompt_hub.backbones.ffn import FFNSite, find_sites, in_stack
from prompt_hub.encoding.layouts import Layout, layout_for
from prompt_hub.encoding.template_text import special_affixes
from prompt_hub.errors import UserError, unknown_name

VALUES = ("before", "gate", "after")
"""before the activation function; what the function gives; what enters the map back to the hidden width. The
last two differ in gated models only, where ``after`` is the product of the gate and a second map."""

Positions = str | Sequence[int]
"""``read`` (where the label is read), ``prompt`` (every prompt row), or numbers of input positions, prompt
rows first, negative from the end."""


@dataclass
class Recording:
    """The values of the last forward that ran in the block."""

    sites: Sequence[FFNSite]
    values: tuple[str, ...]
    kept: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def __getitem__(self, value: str) -> Tensor:
        """``[B, M, L, F]`` in the backbone's dtype: ``before``, ``gate`` or ``after``."""
        if value not in self.values:
            raise unknown_name("recorded value", value, self.values)
        name = "before" if value == "gate" else value
        layers = [self.kept.get((name, place)) for place in range(len(self.sites))]
        if any(layer is None for layer in layers):
            raise UserError("Nothing was recorded: run the backbone inside the block.")
        if value == "gate":
            layers = [_gate(site, layer) for site, layer in zip(self.sites, layers, strict=True)]
        return torch.stack([layer for layer in layers if layer is not None], 2)


@contextmanager
def recording(
    sites: Sequence[FFNSite], positions: Tensor, values: Sequence[str] = ("after",)
) -> Iterator[Recording]:
    """Inside the block every forward leaves its values at ``positions`` in the recording.

    positions: ``[B, M]`` input positions (negative: from the end). Only what stands there is kept. Raises
    ``UserError`` for a value that a site named by hand does not give.
    """
    recorded = Recording(sites, tuple(values))
    for value in values:
        if value not in VALUES:
            raise unknown_name("value", value, VALUES)
        lacking = [site for site in sites if _lacks(site, value)]
        if lacking:
            raise UserError(
                f"The sites were named by hand without what {value!r} needs (first: {lacking[0].down_name}). "
                "Take the value 'after', or name DOWN,BEFORE for 'before'."
            )
    handles: list[Any] = []
    try:
        for place, site in enumerate(sites):
            if "after" in values:
                keep = _keeper(recorded, ("after", place), positions)
                handles.append(site.down.register_forward_pre_hook(_of_input(keep)))
            if {"before", "gate"} & set(values):
                assert site.before is not None
                keep = _keeper(recorded, ("before", place), positions)
                handles.append(site.before.register_forward_hook(_of_output(site, keep)))
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _lacks(site: FFNSite, value: str) -> bool:
    if value == "gate":
        return site.activation is None
    return value == "before" and site.before is None


def _gate(site: FFNSite, before: Tensor | None) -> Tensor:
    assert before is not None and site.activation is not None
    return site.activation(before)


def _keeper(recorded: Recording, key: tuple[str, int], positions: Tensor) -> Callable[[Tensor], None]:
    def keep(values: Tensor) -> None:
        # Some models (OPT) run their feed-forward layers over all tokens of a batch in one row.
        values = values.detach().reshape(positions.shape[0], -1, values.shape[-1])
        index = positions.to(values.device) % values.shape[1]
        recorded.kept[key] = values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    return keep


def _of_input(keep: Callable[[Tensor], None]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        keep(inputs[0])

    return hook


def _of_output(site: FFNSite, keep: Callable[[Tensor], None]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        keep(site.before_activation(output))

    return hook


# -- where to look -------------------------------------------------------------------------------------


def sites_for(
    backbone: Backbone,
    positions: Positions = "read",
    stack: str | None = None,
    by_hand: str | None = None,
) -> list[FFNSite]:
    """The sites of one stack. Default: the only one there is; of an encoder-decoder the decoder, whose first
    position the paper reads, but the encoder for ``prompt`` positions, which stand there."""
    if stack is None and backbone.family == "seq2seq_lm":
        stack = "encoder" if positions == "prompt" else "decoder"
    if stack is None:
        stack = "encoder" if backbone.family == "masked_lm" else "decoder"
    return in_stack(find_sites(backbone, by_hand), stack)


def input_positions(
    backbone: Backbone, sites: Sequence[FFNSite], batch: Batch, prompt_len: int, positions: Positions
) -> Tensor:
    """``[B, M]`` input positions of a batch, counted with the prompt.

    Raises ``UserError`` for ``read`` in an encoder from which no label is read, ``prompt`` in a decoder that
    holds none, and a number past the shortest row.
    """
    in_decoder = sites[0].stack == "decoder" and backbone.family == "seq2seq_lm"
    in_encoder = sites[0].stack == "encoder" and backbone.family == "seq2seq_lm"
    device = backbone.device
    if positions == "read":
        if in_encoder:
            raise UserError("No label is read in the encoder. Use positions 'prompt' there, or the decoder.")
        if in_decoder:
            # The decoder holds its start tokens only; the label is read from the last of them.
            return torch.full((batch.size, 1), -1, device=device)
        if batch.placement.mask_in_prompt_row:
            return torch.zeros(batch.size, 1, dtype=torch.long, device=device)
        assert batch.read_positions is not None
        return batch.read_positions[:, :1] + prompt_len
    if positions == "prompt":
        if in_decoder:
            raise UserError("The prompt stands in the encoder. Use --stack encoder, or positions 'read'.")
        return torch.arange(prompt_len, device=device).expand(batch.size, -1)
    if isinstance(positions, str):
        raise unknown_name("positions", positions, ("read", "prompt"), "Or give numbers, such as 0,1,2.")
    wanted = torch.tensor(list(positions), device=device)
    if not len(wanted):
        raise UserError("positions is empty. Use read, prompt, or numbers such as 0,1,2.")
    lengths = batch.attention_mask.sum(1, keepdim=True) + prompt_len
    if in_decoder:
        lengths = torch.ones_like(lengths)
    outside = (wanted >= lengths) | (wanted < -lengths)
    if outside.any():
        row = int(outside.any(1).nonzero()[0])
        raise UserError(
            f"There is no position {int(wanted[outside[row]][0])}: the shortest input has "
            f"{int(lengths.min())} (prompt rows and tokens)."
        )
    # From the end of the row, not of its padding.
    return torch.where(wanted < 0, wanted + lengths, wanted.expand(batch.size, -1))


# -- the prompt alone ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Activations:
    """Each ``[L, F]`` float32 on the CPU; several positions are averaged. None where it was not asked for."""

    before: Tensor | None = None
    gate: Tensor | None = None
    after: Tensor | None = None

    def __getitem__(self, value: str) -> Tensor:
        found = getattr(self, value) if value in VALUES else None
        if found is None:
            there = [name for name in VALUES if getattr(self, name) is not None]
            raise unknown_name("captured value", value, there)
        return found


def dummy_batch(backbone: Backbone, layout: str | Layout | None = None) -> Batch:
    """The one-row input without task text that stands behind a prompt whose neurons are looked at alone.

    As in the paper's code: ``<s>`` (or ``[CLS]``) for a masked LM, and the mask behind it unless the layout
    puts that over prompt row 0; ``<extra_id_0>`` for T5, else the mask or end token of a
    sequence-to-sequence model. A causal LM gets no token at all: its last prompt position is read.
    """
    chosen = layout if isinstance(layout, Layout) else layout_for(backbone.family, layout)
    chosen.check_model(backbone)
    tokenizer = backbone.tokenizer
    if backbone.family == "causal_lm":
        ids, read = [], -1
    elif backbone.family == "masked_lm":
        ids = special_affixes(tokenizer)[0][:1]
        if not chosen.placement.mask_in_prompt_row:
            ids = [*ids, tokenizer.mask_token_id]
        read = len(ids) - 1
    else:
        ids, read = [_first_sentinel(tokenizer)], 0
    row = torch.tensor([ids], dtype=torch.long)
    batch = Batch(row, torch.ones_like(row), torch.tensor([[read]]), placement=chosen.placement)
    return batch.to(backbone.device)


def _first_sentinel(tokenizer: Any) -> int:
    found = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    if found is not None and found != tokenizer.unk_token_id:
        return int(found)
    other = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.eos_token_id
    return int(other)


def capture_prompt(
    backbone: Backbone,
    prompt: Tensor,
    *,
    layout: str | Layout | None = None,
    positions: Positions = "read",
    values: Sequence[str] = VALUES,
    sites: Sequence[FFNSite] | None = None,
) -> Activations:
    """The neurons of a prompt ``[P, H]`` alone, with the paper's dummy input (``dummy_batch``).

    layout: default the family's. sites: default ``sites_for(backbone, positions)``. Raises ``UserError`` as
    ``input_positions`` does.
    """
    sites = sites_for(backbone, positions) if sites is None else sites
    batch = dummy_batch(backbone, layout)
    where = input_positions(backbone, sites, batch, prompt.shape[0], positions)
    with recording(sites, where, values) as recorded:
        plain_forward(backbone, prompt, batch)
        return Activations(**{name: recorded[name].float().mean((0, 1)).cpu() for name in values})


@torch.no_grad()
def plain_forward(backbone: Backbone, prompt: Tensor | None, batch: Batch) -> None:
    """One ordinary forward, prompt and text in one sequence, with no more than one row of the head.

    The fast path of a causal LM runs the prompt apart from the text and only once, so that its positions are
    not those of the input.
    """
    one_row = torch.zeros(1, dtype=torch.long, device=backbone.device)
    with backbone.narrowed(None, one_row):
        backbone.reference_label_logits(prompt, batch, [[0]])
