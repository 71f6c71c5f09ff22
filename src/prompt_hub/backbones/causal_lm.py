"""Causal language models: GPT-2, OPT, Llama, Qwen, SmolLM and their like.

A causal prompt does not see the text, so its keys and values are the same for every row: they are computed
once and shared over the batch. This is exact, in training too: the gradient flows through them. Models whose
attention can be exchanged run packed (``packed_causal.py``): texts without padding, and the last layer where
it is read. The others get the prompt as a key/value cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone, Batch, LabelIds, MixedPrompts, Prompt, gather_rows
from prompt_hub.backbones.packed_causal import PackedCausal
from prompt_hub.backbones.packed_check import has_hooks, packed_model, why_not_now
from prompt_hub.backbones.packed_greedy import greedy, is_plain_greedy
from prompt_hub.backbones.packed_runs import Keys, NotPackable
from prompt_hub.backbones.packing import Continuations, Packing
from prompt_hub.errors import UserError


class CausalLM(Backbone):
    family = "causal_lm"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._packed: PackedCausal | NotPackable | None = None
        self._unchanged: _Unchanged | None = None

    @property
    def path(self) -> str:
        """Which forward answers now: ``packed``, or ``shared cache`` with the reason in brackets."""
        reason = self._why_not_packed()
        return "packed" if reason is None else f"shared cache ({reason})"

    @contextmanager
    def unchanged(self, prompt: Tensor | None) -> Iterator[None]:
        before = self._unchanged
        if prompt is None or before is None or not before.holds(prompt):
            self._unchanged = None if prompt is None else _Unchanged(prompt)
        try:
            yield
        finally:
            self._unchanged = before

    def label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        rows = self.single_rows(label_ids)
        if rows is not None:
            return self._logits(prompt, batch, rows)[:, 0].float()
        return self._word_scores(prompt, batch, label_ids, self._with_continuations)

    def reference_label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        rows = self.single_rows(label_ids)
        if rows is not None:
            return self.plain_logits(prompt, batch, rows)[:, 0].float()
        return self._word_scores(prompt, batch, label_ids, self._one_by_one(self.plain_logits))

    def target_logits(self, prompt: Prompt | None, batch: Batch) -> Tensor:
        return self._logits(prompt, batch, None)

    def _word_scores(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds, run: Any) -> Tensor:
        """A word's score is log p(first piece) + log p(second | first) + ...

        run: gives ``[B, V]`` behind the text, and ``[B, T, V]`` behind the pieces of all longer words.
        """
        chains = [word[:-1] for word in label_ids if len(word) > 1]
        first, behind = run(prompt, batch, chains)
        first, behind = first.float().log_softmax(-1), behind.float().log_softmax(-1)
        scores, at = [], 0
        for word in label_ids:
            score = first[:, word[0]]
            if len(word) > 1:
                steps = torch.arange(at, at + len(word) - 1, device=self.device)
                score = score + behind[:, steps, self.constant(word[1:])].sum(1)
                at += len(word) - 1
            scores.append(score)
        return torch.stack(scores, 1)

    def _with_continuations(
        self, prompt: Prompt | None, batch: Batch, chains: LabelIds
    ) -> tuple[Tensor, Tensor]:
        """Behind the text and behind each piece, from one forward that runs the text once."""
        if self._why_not_packed() is None:
            try:
                logits = self._packed_logits(prompt, batch, None, Continuations.of(chains, self.constant))
                return logits[:, 0], logits[:, -sum(map(len, chains)) :]
            except NotPackable:
                pass
        return self._one_by_one(self._cached_logits)(prompt, batch, chains)

    def _one_by_one(self, run: Any) -> Any:
        """The same from one forward for the text and one over text and pieces for each longer word."""

        def behind(prompt: Prompt | None, batch: Batch, chains: LabelIds) -> tuple[Tensor, Tensor]:
            first = run(prompt, batch, None)[:, 0]
            longer = [run(prompt, append_pieces(batch, self.constant(chain)), None) for chain in chains]
            return first, torch.cat(longer, 1)

        return behind

    def _logits(self, prompt: Prompt | None, batch: Batch, rows: Tensor | None) -> Tensor:
        """``[B, M, C]`` (or ``[B, M, V]``) at the read positions, by the fastest way that is open."""
        if self._why_not_packed() is None:
            try:
                return self._packed_logits(prompt, batch, rows)
            except NotPackable:
                # Not this batch, such as one that is longer than a layer's window.
                pass
        return self._cached_logits(prompt, batch, rows)

    def _why_not_packed(self) -> str | None:
        now = why_not_now(self.model)
        if now is None and self._packed is None:
            try:
                self._packed = packed_model(self)
            except NotPackable as reason:
                self._packed = reason
        return str(self._packed) if isinstance(self._packed, NotPackable) else now

    def _packed_logits(
        self,
        prompt: Prompt | None,
        batch: Batch,
        rows: Tensor | None,
        continuations: Continuations | None = None,
    ) -> Tensor:
        assert isinstance(self._packed, PackedCausal) and batch.read_positions is not None
        packing = Packing.of(batch.attention_mask)
        texts = self.embed(packing.pack(batch.input_ids)[None])[0]
        in_row = owner = keys = None
        if isinstance(prompt, MixedPrompts):
            in_row, owner = self.many_prompt_rows(prompt), prompt.owner
        elif prompt is not None:
            keys = self._known_keys(prompt)
            in_row = self.prompt_rows(prompt, 1) if keys is None else None
        behind = None if continuations is None else (continuations, self.embed(continuations.ids[None])[0])
        with self.narrowed(None, rows):
            return self._packed.logits(texts, packing, batch.read_positions, in_row, keys, owner, behind)

    def _known_keys(self, prompt: Tensor) -> Keys | None:
        """The prompt's keys where the caller has said that it stays as it is."""
        known = self._unchanged
        if known is None or torch.is_grad_enabled() or has_hooks(self.model):
            return None
        if not known.holds(prompt):
            return None
        if known.keys is None:
            assert isinstance(self._packed, PackedCausal)
            known.keys = self._packed.keys(self.prompt_rows(prompt, 1)[0])
        return known.keys

    def _cached_logits(self, prompt: Prompt | None, batch: Batch, rows: Tensor | None) -> Tensor:
        """As ``_logits``, each prompt's key/value cache computed once and shared over its rows."""
        if (self.is_recomputed or self.is_sharded) and torch.is_grad_enabled():
            # A layer that runs again would write its keys into the cache again; a sharded one gathers its
            # weights for a gradient that comes through its output, not for one that comes through a cache.
            return self._uncached_logits(prompt, batch, rows)
        inputs: dict[str, Any] = {"attention_mask": batch.attention_mask}
        if prompt is not None:
            cache = self.prompt_cache(prompt, batch.size)
            ones = batch.attention_mask.new_ones(batch.size, cache.get_seq_length())
            inputs["attention_mask"] = torch.cat([ones, batch.attention_mask], 1)
            inputs["past_key_values"] = cache
        with self.narrowed(batch.read_positions, rows):
            return self.model(
                input_ids=batch.input_ids, use_cache=prompt is not None, return_dict=True, **inputs
            ).logits

    def _uncached_logits(self, prompt: Prompt | None, batch: Batch, rows: Tensor | None) -> Tensor:
        """As ``_logits``, the prompt in front of every row."""
        embeddings, attention_mask, prompt_len = self.with_prompt(prompt, batch)
        assert batch.read_positions is not None
        with self.narrowed(batch.read_positions + prompt_len, rows):
            return self.model(
                inputs_embeds=embeddings, attention_mask=attention_mask, use_cache=False, return_dict=True
            ).logits

    def _where_read(self, hidden: Tensor, batch: Batch) -> Tensor:
        assert batch.read_positions is not None
        if hidden.shape[1] != batch.read_positions.shape[1]:
            # The head narrows what it is given itself where the base model was not called (OPT).
            hidden = gather_rows(hidden, batch.read_positions)
        return hidden[:, 0]

    def plain_logits(self, prompt: Prompt | None, batch: Batch, rows: Tensor | None) -> Tensor:
        """``[B, M, C]`` (or ``[B, M, V]``) at the read positions by the ordinary forward."""
        embeddings, attention_mask, prompt_len = self.with_prompt(prompt, batch)
        assert batch.read_positions is not None
        logits = self.model(inputs_embeds=embeddings, attention_mask=attention_mask, use_cache=False).logits
        logits = gather_rows(logits, batch.read_positions + prompt_len)
        return logits if rows is None else logits[..., rows]

    def prompt_cache(self, prompt: Prompt, batch_size: int) -> Any:
        """Keys and values of each prompt alone, ``[B, heads, P, head width]`` a layer.

        One prompt is run once and its keys are expanded; of several each is run once, and rows take theirs.
        """
        base = getattr(self.model, self.model.base_model_prefix)
        rows = (
            self.many_prompt_rows(prompt) if isinstance(prompt, MixedPrompts) else self.prompt_rows(prompt, 1)
        )
        output = base(inputs_embeds=rows, use_cache=True, return_dict=True)
        cache = getattr(output, "past_key_values", None)
        layers = getattr(cache, "layers", None)
        if (
            cache is None
            or not layers
            or not all(isinstance(getattr(layer, "keys", None), Tensor) for layer in layers)
        ):
            raise UserError(
                f"Backbone {self.describe()} keeps no key/value cache, which a shared prompt needs. "
                "Use an attention-based causal model (GPT-2, Llama, Qwen, OPT, ...)."
            )
        for layer in layers:
            if isinstance(prompt, MixedPrompts):
                layer.keys = layer.keys.index_select(0, prompt.owner)
                layer.values = layer.values.index_select(0, prompt.owner)
            else:
                layer.keys = layer.keys.expand(batch_size, -1, -1, -1)
                layer.values = layer.values.expand(batch_size, -1, -1, -1)
        return cache

    @torch.no_grad()
    def generate(
        self, prompt: Prompt | None, batch: Batch, max_new_tokens: int, **options: Any
    ) -> list[list[int]]:
        end = self.tokenizer.eos_token_id
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else end
        plain = not options and end is not None and max_new_tokens > 0 and is_plain_greedy(self.model)
        written = None
        if plain and not isinstance(prompt, MixedPrompts) and self._why_not_packed() is None:
            with suppress(NotPackable):
                written = self._packed_greedy(prompt, batch, max_new_tokens, end)
        if written is None:
            written = self._model_generate(prompt, batch, max_new_tokens, end, pad, options)
        special = {end, pad}
        return [[token for token in row if token not in special] for row in written]

    def _packed_greedy(
        self, prompt: Tensor | None, batch: Batch, max_new_tokens: int, end: int
    ) -> list[list[int]]:
        assert isinstance(self._packed, PackedCausal)
        keys = None if prompt is None else self._known_keys(prompt)
        if keys is None and prompt is not None:
            keys = self._packed.keys(self.prompt_rows(prompt, 1)[0])
        return greedy(
            self._packed, self.embed, batch.input_ids, batch.attention_mask, keys, max_new_tokens, end
        )

    def _model_generate(
        self,
        prompt: Prompt | None,
        batch: Batch,
        max_new_tokens: int,
        end: int | None,
        pad: int | None,
        options: dict[str, Any],
    ) -> list[list[int]]:
        """By the model's own ``generate``, the prompt in every row."""
        embeddings, attention_mask, _ = self.with_prompt(prompt, batch)
        # generate() continues from the last column, so rows are shifted to end there; the padding then
        # stands in front of the prompt and leaves no hole between prompt and text.
        total = attention_mask.shape[1]
        shift = total - attention_mask.sum(1, keepdim=True)
        source = torch.arange(total, device=self.device).unsqueeze(0) - shift
        attention_mask = (source >= 0).long()
        source = source.clamp(min=0)
        embeddings = embeddings.gather(1, source.unsqueeze(-1).expand(-1, -1, embeddings.shape[-1]))
        return self.model.generate(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=end,
            **options,
        ).tolist()


class _Unchanged:
    """A prompt that stays as it is for a while, and its keys once they are known."""

    def __init__(self, prompt: Tensor) -> None:
        self.prompt = prompt
        self.version = _version(prompt)
        self.keys: Keys | None = None

    def holds(self, prompt: Tensor) -> bool:
        """Whether this is the prompt, and nothing was written into it since."""
        return prompt is self.prompt and _version(prompt) == self.version


def _version(tensor: Tensor) -> int:
    """Counts writes into a tensor's memory; tensors made in inference mode do not count them."""
    return 0 if tensor.is_inference() else tensor._version


def append_pieces(batch: Batch, pieces: Tensor) -> Batch:
    """The batch with ``pieces`` (``[n]`` ids) written behind each row's last real token, read at those."""
    count = len(pieces)
    device = batch.input_ids.device
    lengths = batch.attention_mask.sum(1, keepdim=True)
    slots = lengths + torch.arange(count, device=device)
    padding = batch.input_ids.new_zeros(batch.size, count)
    values = pieces.expand(batch.size, -1)
    return Batch(
        torch.cat([batch.input_ids, padding], 1).scatter(1, slots, values),
        torch.cat([batch.attention_mask, padding], 1).scatter(1, slots, 1),
        slots,
        batch.labels,
        batch.placement,
    )
