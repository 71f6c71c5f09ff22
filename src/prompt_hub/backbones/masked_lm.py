"""Masked language models: BERT, RoBERTa, DistilBERT, ELECTRA, ModernBERT and their like.

Attention is bidirectional, so nothing of the prompt can be cached. The head sees the mask position and the
label rows only (``Backbone.narrowed``); where the model's attention can be exchanged, the last layer too
answers at the mask only and the first maps the prompt once (``trimmed_encoder.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from prompt_hub.backbones.base import (
    Backbone,
    Batch,
    LabelIds,
    MixedPrompts,
    Placement,
    Prompt,
    gather_rows,
)
from prompt_hub.backbones.packed_runs import NotPackable
from prompt_hub.backbones.trimmed_check import TrimmedPath
from prompt_hub.backbones.trimmed_encoder import TrimmedEncoder

_Run = Callable[[Prompt | None, Batch, Tensor | None], Tensor]
"""Gives ``[B, M, C]`` at the mask for vocabulary rows ``[C]``, or ``[B, M, V]`` for None."""


class MaskedLM(Backbone):
    family = "masked_lm"
    can_generate = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._trimmed = TrimmedPath(self, partial(TrimmedEncoder, self.model), self._sample_logits)

    @property
    def path(self) -> str:
        """Which forward answers now: ``trimmed``, or ``plain`` with the reason in brackets."""
        reason = self._trimmed.why_not()
        return "trimmed" if reason is None else f"plain ({reason})"

    def takes(self, placement: Placement) -> bool:
        """Another than the default needs position embeddings, and a forward that takes position ids."""
        if super().takes(placement):
            return True
        names = {name.rsplit(".", 1)[-1] for name, _ in self.model.named_modules()}
        return "position_embeddings" in names and "position_ids" in signature(self.model.forward).parameters

    def label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        return self._scores(prompt, batch, label_ids, self._logits_at_mask)

    def reference_label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        return self._scores(prompt, batch, label_ids, self._plain_logits)

    def _scores(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds, run: _Run) -> Tensor:
        rows = self.single_rows(label_ids)
        if rows is None:
            return self._word_scores(prompt, batch, label_ids, run)
        return run(prompt, batch, rows)[:, 0].float()

    def _logits_at_mask(self, prompt: Prompt | None, batch: Batch, rows: Tensor | None) -> Tensor:
        """``[B, M, C]`` logits at the mask (several masks for a word of several pieces), by the fastest way
        that is open."""
        trimmed = self._trimmed.now()
        if trimmed is not None:
            try:
                return self._narrow_logits(prompt, batch, rows, trimmed)
            except NotPackable:
                # Not this batch, such as one that is longer than a layer's window.
                pass
        return self._narrow_logits(prompt, batch, rows, None)

    def _sample_logits(self, prompt: Tensor, batch: Batch, trimmed: TrimmedEncoder | None) -> Tensor:
        """For a few vocabulary rows, by either way."""
        rows = torch.arange(16, device=self.device) % len(self.embedding_matrix)
        return self._narrow_logits(prompt, batch, rows, trimmed)

    def _narrow_logits(
        self, prompt: Prompt | None, batch: Batch, rows: Tensor | None, trimmed: TrimmedEncoder | None
    ) -> Tensor:
        """``[B, M, C]`` (or ``[B, M, V]``) with the head at the mask only. trimmed: the layers too."""
        with self._input(prompt, batch) as (inputs, read, prompt_len):
            if trimmed is None:
                with self.narrowed(read, rows):
                    return self.model(**inputs).logits
            # A layer that runs again in the backward pass has its own maps by then.
            is_alike = not isinstance(prompt, MixedPrompts) and not self.is_recomputed
            with trimmed.running(read, prompt_len if is_alike else 0), self.narrowed(None, rows):
                return self.model(**inputs).logits

    def _plain_logits(self, prompt: Prompt | None, batch: Batch, rows: Tensor | None) -> Tensor:
        """The same by the ordinary forward: the whole head everywhere."""
        with self._input(prompt, batch) as (inputs, read, _):
            logits = gather_rows(self.model(**inputs).logits, read)
        return logits if rows is None else logits[..., rows]

    @contextmanager
    def _input(self, prompt: Prompt | None, batch: Batch) -> Iterator[tuple[dict[str, Any], Tensor, int]]:
        """What the model takes, the read positions ``[B, M]`` counted with the prompt, and P."""
        if prompt is None and batch.placement.mask_in_prompt_row:
            # Without a prompt the mask still needs the row that it is written over.
            prompt = torch.zeros(1, self.hidden, device=self.device)
        embeddings, attention_mask, prompt_len = self.with_prompt(prompt, batch)
        assert batch.read_positions is not None
        read = batch.read_positions + prompt_len
        with self._placed(batch, prompt_len) as extra:
            if prompt_len and batch.placement.mask_in_prompt_row:
                embeddings = self._mask_over_first_row(embeddings)
                read = torch.zeros_like(read)
            yield {"inputs_embeds": embeddings, "attention_mask": attention_mask, **extra}, read, prompt_len

    def _word_scores(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds, run: _Run) -> Tensor:
        """``[B, C]`` log-probabilities of words: one mask a piece, summed over the pieces.

        The pieces of one word are read in one forward, independently of each other (the model is not
        autoregressive). Words with equally many pieces share the forward.
        """
        scores = torch.zeros(batch.size, len(label_ids), device=self.device)
        for pieces in sorted({len(word) for word in label_ids}):
            log_probs = run(prompt, repeat_mask(batch, pieces), None).float().log_softmax(-1)
            for index, word in enumerate(label_ids):
                if len(word) == pieces:
                    steps = torch.arange(pieces, device=self.device)
                    value = log_probs[:, steps, self.constant(word)].sum(1)
                    scores = scores.index_copy(1, self.constant([index]), value[:, None])
        return scores

    # -- the paper's placement (FACTS of the 1.0 code: mask over row 0, no positions for prompt rows) --

    def _mask_over_first_row(self, embeddings: Tensor) -> Tensor:
        """The mask embedding stands where prompt row 0 was; the gradient still reaches row 0, as in 1.0."""
        mask = self.embed(self.constant([self.tokenizer.mask_token_id]))
        first = embeddings[:, :1]
        return torch.cat([mask + (first - first.detach()), embeddings[:, 1:]], 1)

    @contextmanager
    def _placed(self, batch: Batch, prompt_len: int) -> Iterator[dict[str, Any]]:
        """Keyword arguments and hooks that give the prompt rows the positions the placement asks for."""
        if batch.placement.prompt_positions == "sequential":
            yield {}
            return
        modules = {name.rsplit(".", 1)[-1]: module for name, module in self.model.named_modules()}
        position = modules["position_embeddings"]
        token_type = modules.get("token_type_embeddings")
        # Text positions start one above padding's; prompt rows and padding hold padding's own.
        floor = position.padding_idx or 0
        counted = batch.attention_mask.cumsum(1) * batch.attention_mask + floor
        prompt_ids = counted.new_full((batch.size, prompt_len), floor)

        def without_prompt_rows(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            keep = torch.ones(output.shape[1], 1, device=output.device, dtype=output.dtype)
            keep[:prompt_len] = 0
            return output * keep

        handles = [position.register_forward_hook(without_prompt_rows)]
        # A model with one token type (RoBERTa) adds it to every row; BERT's is left out of prompt rows.
        if token_type is not None and token_type.num_embeddings > 1:
            handles.append(token_type.register_forward_hook(without_prompt_rows))
        try:
            yield {"position_ids": torch.cat([prompt_ids, counted], 1)}
        finally:
            for handle in handles:
                handle.remove()


def repeat_mask(batch: Batch, pieces: int) -> Batch:
    """The batch with the one mask of each row written ``pieces`` times; read positions cover all of them."""
    if pieces == 1:
        return batch
    assert batch.read_positions is not None
    mask_at = batch.read_positions[:, :1]
    slots = torch.arange(batch.input_ids.shape[1] + pieces - 1, device=mask_at.device).unsqueeze(0)
    source = torch.where(slots <= mask_at, slots, torch.maximum(slots - (pieces - 1), mask_at))
    return Batch(
        batch.input_ids.gather(1, source),
        batch.attention_mask.gather(1, source),
        mask_at + torch.arange(pieces, device=mask_at.device),
        batch.labels,
        batch.placement,
    )
