"""Floating-point operations of matrix multiplications, by arithmetic; a multiply-add counts two.

Two counts. ``plain_operations`` is what the plain forward of a model multiplies, prompt and padding in every
row; it exists to be compared with a counter. ``useful_operations`` is what the result needs:

- real tokens only, no padding; a causal prompt once a batch in training and not at all in evaluation, where
  it runs once for all batches;
- the last layer's queries, output and feed-forward network at the position that is read only (not in a T5
  encoder, whose last layer the decoder reads everywhere), the head's rows of label words only;
- of a causal model's attention the pairs that the mask lets through;
- of an encoder the first layer's map of the prompt once a batch;
- of a T5 decoder's step no keys and values of the encoder's positions: the query is mapped instead;
- in training the gradient by each layer's input, none by the weights: a linear map costs the same again,
  attention twice as much again; in the first layer no gradient by the text's embeddings.

Embeddings, norms, softmax and activation functions are left out. Shape letters: ``P`` prompt length, ``H``
hidden width, ``A`` width of all attention heads, ``K`` width of all key heads, ``F`` feed-forward width,
``V`` vocabulary, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Widths that decide the cost of a model. dense_head: a map H to H in front of the head (RoBERTa)."""

    family: str
    layers: int
    hidden: int
    heads: int
    key_heads: int
    feed_forward: int
    gated: bool
    vocabulary: int
    decoder_layers: int = 0
    decoder_heads: int = 0
    dense_head: bool = False

    @classmethod
    def of(cls, config: Any, family: str) -> Architecture:
        """From a transformers configuration of RoBERTa, GPT-2, Llama or T5."""
        if family == "seq2seq_lm":
            inner = config.num_heads * config.d_kv
            return cls(
                family, config.num_layers, config.d_model, inner, inner, config.d_ff, config.is_gated_act,
                config.vocab_size, config.num_decoder_layers, config.num_heads,
            )  # fmt: skip
        hidden, heads = config.hidden_size, config.num_attention_heads
        width = getattr(config, "head_dim", None) or hidden // heads
        key_heads = getattr(config, "num_key_value_heads", None) or heads
        feed_forward = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        return cls(
            family, config.num_hidden_layers, hidden, heads * width, key_heads * width,
            feed_forward or 4 * hidden, config.model_type == "llama", config.vocab_size,
            dense_head=family == "masked_lm",
        )  # fmt: skip

    # Multiply-adds of one token in one layer.

    @property
    def keys(self) -> int:
        return 2 * self.hidden * self.key_heads

    @property
    def queries(self) -> int:
        return self.hidden * self.heads

    @property
    def behind(self) -> int:
        """Output projection and feed-forward network."""
        return self.heads * self.hidden + (3 if self.gated else 2) * self.hidden * self.feed_forward

    @property
    def layer(self) -> int:
        return self.keys + self.queries + self.behind

    @property
    def pair(self) -> int:
        """Of one query with one key: score and weighted value."""
        return 2 * self.heads

    def head(self, rows: int) -> int:
        """Of one position, for so many rows of the vocabulary."""
        return self.hidden * rows + (self.hidden**2 if self.dense_head else 0)


@dataclass
class Work:
    """Multiply-adds of linear maps and of attention, which a backward pass repeats once and twice.

    constant: those of the linear ones whose input is no function of the prompt, which it leaves out.
    """

    linear: int = 0
    attention: int = 0
    constant: int = 0

    def operations(self, training: bool) -> int:
        backward = self.linear - self.constant + 2 * self.attention if training else 0
        return 2 * (self.linear + self.attention + backward)

    def add(self, linear: int = 0, attention: int = 0, constant: int = 0) -> None:
        self.linear += linear
        self.attention += attention
        self.constant += constant


def plain_operations(
    arch: Architecture, prompt_len: int, rows: int, length: int, training: bool, positions: int = 1
) -> int:
    """Of ``rows`` texts of ``length`` tokens, prompt in every row, whole head at every position.

    positions: of the decoder.
    """
    work, tokens = Work(), prompt_len + length
    work.add(arch.layers * rows * tokens * arch.layer, arch.layers * rows * tokens**2 * arch.pair)
    if arch.decoder_layers:
        _decoder(work, arch, rows, [tokens] * rows, positions)
        work.add(rows * positions * arch.head(arch.vocabulary))
    else:
        work.add(rows * tokens * arch.head(arch.vocabulary))
    return work.operations(training)


def useful_operations(
    arch: Architecture,
    prompt_len: int,
    lengths: Sequence[int],
    training: bool,
    classes: int = 2,
    runs_prompt: bool | None = None,
) -> int:
    """Of one batch of texts with so many real tokens each; what counts is said at the top of this file.

    runs_prompt: whether a causal prompt runs with this batch (None: in training only).
    """
    runs_prompt = training if runs_prompt is None else runs_prompt
    work, texts, rows = Work(), sum(lengths), len(lengths)
    first_input = arch.keys + arch.queries
    work.add(constant=texts * first_input)
    if arch.family in ("seq2seq_lm", "masked_lm"):
        tokens = [prompt_len + length for length in lengths]
        pairs = sum(count**2 for count in tokens)
        work.add(-(rows - 1) * prompt_len * first_input)
        if arch.family == "masked_lm":
            _read_in_last(work, arch, sum(tokens), pairs, sum(tokens), rows)
        else:
            work.add(arch.layers * sum(tokens) * arch.layer, arch.layers * pairs * arch.pair)
            _decoder_step(work, arch, rows, sum(tokens))
    else:
        pairs = sum(length * prompt_len + length * (length + 1) // 2 for length in lengths)
        _read_in_last(work, arch, texts, pairs, texts + rows * prompt_len, rows)
        if runs_prompt:
            _read_in_last(work, arch, prompt_len, prompt_len * (prompt_len + 1) // 2, 0, 0)
    work.add(rows * arch.head(classes))
    return work.operations(training)


def _read_in_last(
    work: Work, arch: Architecture, tokens: int, pairs: int, last_pairs: int, read: int
) -> None:
    """All layers for ``tokens``, but of the last one only keys, and the rest at ``read`` positions."""
    work.add((arch.layers - 1) * tokens * arch.layer, (arch.layers - 1) * pairs * arch.pair)
    work.add(tokens * arch.keys + read * (arch.queries + arch.behind), last_pairs * arch.pair)


def _decoder(work: Work, arch: Architecture, rows: int, encoded: Sequence[int], positions: int) -> None:
    """A plain decoder over ``positions`` a row: attention to itself and the encoder, feed-forward network."""
    own = rows * positions
    cross = own * (arch.queries + arch.heads * arch.hidden) + sum(encoded) * arch.keys
    pairs = own * positions + sum(encoded) * positions
    work.add(arch.decoder_layers * (own * arch.layer + cross), arch.decoder_layers * pairs * arch.pair)
    # The first layer's attention to itself, and what it asks the encoder, depend on no prompt.
    work.add(constant=own * (arch.keys + 2 * arch.queries + arch.heads * arch.hidden))


def _decoder_step(work: Work, arch: Architecture, rows: int, encoded: int) -> None:
    """A decoder's one step a row, its queries mapped instead of the encoder's positions."""
    to_itself = arch.keys + arch.queries + arch.heads * arch.hidden
    asking = arch.queries + arch.heads * arch.hidden
    answering = 2 * arch.heads * arch.hidden
    feed_forward = arch.behind - arch.heads * arch.hidden
    scores = encoded * arch.decoder_heads * arch.hidden
    work.add(arch.decoder_layers * rows * (to_itself + asking + answering + feed_forward))
    work.add(attention=arch.decoder_layers * (rows * arch.pair + 2 * scores))
    # The first layer's attention to itself, and what it asks the encoder, depend on no prompt.
    work.add(scores, -scores - rows * arch.pair, rows * (to_itself + asking))
    work.add(rows * arch.pair, constant=rows * arch.pair)
