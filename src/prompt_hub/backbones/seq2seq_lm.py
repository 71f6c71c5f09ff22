"""Sequence-to-sequence models: T5 1.0, T5 v1.1 (gated), BART and their like.

The prompt stands in front of the encoder's input only, under a true attention mask; a label word is read
from the decoder's first step. Where the model's attention can be exchanged, that step asks the encoder's
positions without keys and values of their own (``trimmed_seq2seq.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone, Batch, LabelIds, MixedPrompts, Placement, Prompt
from prompt_hub.backbones.packed_runs import NotPackable
from prompt_hub.backbones.trimmed_check import TrimmedPath
from prompt_hub.backbones.trimmed_seq2seq import MOST_STEPS, TrimmedSeq2Seq


class Seq2SeqLM(Backbone):
    family = "seq2seq_lm"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._trimmed = TrimmedPath(self, partial(TrimmedSeq2Seq, self.model), self._sample_logits)

    @property
    def path(self) -> str:
        """Which forward gives label logits now: ``trimmed``, or ``plain`` with the reason in brackets."""
        reason = "layers are recomputed" if self.is_recomputed else self._trimmed.why_not()
        return "trimmed" if reason is None else f"plain ({reason})"

    def takes(self, placement: Placement) -> bool:
        """The paper's placement is a plain prompt in front, for models that know relative positions only."""
        return super().takes(placement) or self.max_positions is None

    def label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        # Layers that run again in the backward pass have their own attention by then.
        trimmed = None if self.is_recomputed else self._trimmed.now()
        if trimmed is not None:
            try:
                return self._label_logits(prompt, batch, label_ids, trimmed)
            except NotPackable:
                pass
        return self._label_logits(prompt, batch, label_ids, None)

    def _sample_logits(self, prompt: Tensor, batch: Batch, trimmed: TrimmedSeq2Seq | None) -> Tensor:
        """For a few vocabulary rows, by either way."""
        rows = [[row % len(self.embedding_matrix)] for row in range(16)]
        return self._label_logits(prompt, batch, rows, trimmed)

    def _label_logits(
        self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds, trimmed: TrimmedSeq2Seq | None
    ) -> Tensor:
        embeddings, attention_mask, prompt_len = self.with_prompt(prompt, batch)
        alike = 0 if isinstance(prompt, MixedPrompts) else prompt_len
        with nullcontext() if trimmed is None else trimmed.encoding(alike):
            encoded = self.model.get_encoder()(
                inputs_embeds=embeddings, attention_mask=attention_mask, return_dict=True
            )

        def decode(decoder_ids: Tensor, rows: Tensor | None) -> Tensor:
            few = trimmed is not None and decoder_ids.shape[1] <= MOST_STEPS
            with self.narrowed(None, rows), trimmed.decoding() if trimmed and few else nullcontext():
                return self.model(
                    encoder_outputs=encoded,
                    attention_mask=attention_mask,
                    decoder_input_ids=decoder_ids,
                    use_cache=False,
                ).logits

        return self._scores(batch.size, label_ids, decode)

    def reference_label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        embeddings, attention_mask, _ = self.with_prompt(prompt, batch)

        def decode(decoder_ids: Tensor, rows: Tensor | None) -> Tensor:
            logits = self.model(
                inputs_embeds=embeddings, attention_mask=attention_mask, decoder_input_ids=decoder_ids
            ).logits
            return logits if rows is None else logits[..., rows]

        return self._scores(batch.size, label_ids, decode)

    def _scores(self, batch_size: int, label_ids: LabelIds, decode: Any) -> Tensor:
        start = self._start_ids()
        rows = self.single_rows(label_ids)

        def ids(*pieces: int) -> Tensor:
            return self.constant([*start, *pieces]).expand(batch_size, -1)

        if rows is not None:
            return decode(ids(), rows)[:, -1].float()
        scores = []
        for word in label_ids:
            log_probs = decode(ids(*word[:-1]), None)[:, -len(word) :].float().log_softmax(-1)
            steps = torch.arange(len(word), device=self.device)
            scores.append(log_probs[:, steps, self.constant(word)].sum(1))
        return torch.stack(scores, 1)

    def _start_ids(self) -> list[int]:
        """What the decoder holds before its first word: the start token, and a forced one where there is."""
        start = [self.config.decoder_start_token_id]
        forced = getattr(self.model.generation_config, "forced_bos_token_id", None)
        return start if forced is None else [*start, forced]

    @contextmanager
    def narrowed(self, read_positions: Tensor | None, rows: Tensor | None) -> Iterator[None]:
        """As in ``Backbone``; BART's separate logit bias is narrowed along with the head."""
        bias = getattr(self.model, "final_logits_bias", None)
        with super().narrowed(read_positions, rows):
            if bias is None or rows is None:
                yield
                return
            self.model.final_logits_bias = bias[:, rows]
            try:
                yield
            finally:
                self.model.final_logits_bias = bias

    def target_logits(self, prompt: Prompt | None, batch: Batch) -> Tensor:
        assert batch.labels is not None
        embeddings, attention_mask, _ = self.with_prompt(prompt, batch)
        return self.model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            decoder_input_ids=self.model.prepare_decoder_input_ids_from_labels(batch.labels),
            use_cache=False,
        ).logits

    @torch.no_grad()
    def generate(
        self, prompt: Prompt | None, batch: Batch, max_new_tokens: int, **options: Any
    ) -> list[list[int]]:
        embeddings, attention_mask, _ = self.with_prompt(prompt, batch)
        output = self.model.generate(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            **options,
        )
        special = set(self.tokenizer.all_special_ids) | {self.config.decoder_start_token_id}
        return [[token for token in row if token not in special] for row in output.tolist()]
