"""What each kind of model is trained to predict, and how it is asked for the answer words.

An objective turns rows of the corpus into a batch and a batch into a loss. All rows of a batch have the same
``key`` (mostly their length), so nothing is padded in front of a target.
Shapes: B rows, N tokens of a row, M targets in the batch, V vocabulary entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from arrays import Documents
from recipe import POSITIONS, Recipe
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from vocabulary import SENTINELS, SPECIAL

Batch = dict[str, Tensor]


@dataclass
class Objective:
    """documents: token ids are indices into the vocabulary list; ``shift`` makes them the tokenizer's ids."""

    recipe: Recipe
    tokenizer: PreTrainedTokenizerFast
    documents: Documents

    def __post_init__(self) -> None:
        self.shift = len(SPECIAL[self.recipe.kind])

    def keys(self, random: np.random.Generator) -> np.ndarray:
        """``[N]`` key of each document for one pass over the corpus; may draw what depends on the pass."""
        return self.documents.lengths

    def cost(self, key: int) -> int:
        """Tokens of a row with this key."""
        return key

    def batch(self, rows: np.ndarray, key: int, random: np.random.Generator) -> Batch:
        raise NotImplementedError

    def logits(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """``[M, V]`` where ``batch["targets"]`` ``[M]`` are to be predicted."""
        raise NotImplementedError

    def question(self, rows: np.ndarray, positions: np.ndarray, key: int) -> Batch:
        """A batch with one target a row: the answer at ``positions`` ``[B]``, with nothing else hidden."""
        raise NotImplementedError

    def question_keys(self, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """``[A]`` keys of questions; those below 1 cannot be asked."""
        return positions

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted mean loss, then the unweighted mean over all targets and over answer words (nan: none)."""
        losses = cross_entropy(self.logits(model, batch).float(), batch["targets"], reduction="none")
        answers = batch["answers"]
        weights = torch.where(answers, self.recipe.answer_weight, 1.0)
        plain = losses.detach()
        return (losses * weights).sum() / weights.sum(), plain.mean(), plain[answers].mean()

    def whole(self, rows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and answer flags ``[B, width]`` of documents with ``width`` tokens."""
        ids, answers, _ = self.documents.take(rows, 0, width)
        return ids + self.shift, answers

    def shifted_positions(self, count: int, width: int, first: int, random: np.random.Generator) -> Tensor:
        """``[B, N]`` position ids from ``first`` on, a share of the rows moved by a random number of places.

        A soft prompt of any length stands in front of the text later, so all places have to be known.
        """
        moves = random.integers(0, POSITIONS - width + 1, count) * (random.random(count) < self.recipe.moved)
        return torch.from_numpy(first + moves[:, None] + np.arange(width))


class MaskedWords(Objective):
    """Masked language models: the hidden words, from the words around them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.first_position = self.tokenizer.pad_token_id + 1 if self.recipe.kind == "roberta" else 0

    def cost(self, key: int) -> int:
        return key + 2

    def question_keys(self, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return self.documents.lengths[rows]

    def batch(self, rows: np.ndarray, key: int, random: np.random.Generator) -> Batch:
        ids, answers = self.whole(rows, key)
        # An answer is learnt soonest while all its evidence can be seen: in the asked rows it alone is
        # hidden. In the others words are, more in some than in others.
        asked = (random.random(len(rows)) < self.recipe.asked)[:, None] & answers.any(1, keepdims=True)
        noise = (
            random.random((len(rows), 1)) * 2 * np.where(asked, self.recipe.asked_noise, self.recipe.noise)
        )
        answer_noise = np.where(asked, 1.0, self.recipe.answer_noise)
        hidden = random.random(ids.shape) < np.where(answers, answer_noise, noise)
        hidden[0, 0] |= not hidden.any()
        positions = self.shifted_positions(len(rows), key + 2, self.first_position, random)
        # A soft prompt stands in front of the first token: that one follows the keywords in some rows.
        behind = random.random(len(rows)) < self.recipe.started_late
        return self._batch(ids, answers, hidden, positions, np.where(behind, answers.argmax(1), 0))

    def question(self, rows: np.ndarray, positions: np.ndarray, key: int) -> Batch:
        ids, answers = self.whole(rows, key)
        hidden = np.arange(key) == positions[:, None]
        places = torch.arange(key + 2).expand(len(rows), -1) + self.first_position
        return self._batch(ids, answers, hidden, places, np.zeros(len(rows), np.int64))

    def _batch(
        self, ids: np.ndarray, answers: np.ndarray, hidden: np.ndarray, positions: Tensor, starts: np.ndarray
    ) -> Batch:
        """starts: ``[B]`` words in front of the first token."""
        count, length = ids.shape
        inputs = np.empty((count, length + 2), np.int64)
        row, column = np.indices(ids.shape)
        column += column >= starts[:, None]
        inputs[row, column] = np.where(hidden, self.tokenizer.mask_token_id, ids)
        inputs[np.arange(count), starts] = self.tokenizer.cls_token_id
        inputs[:, -1] = self.tokenizer.sep_token_id
        row, column = row[hidden], column[hidden]
        return {
            "input_ids": torch.from_numpy(inputs),
            "position_ids": positions,
            "places": torch.from_numpy(row * inputs.shape[1] + column),
            "targets": torch.from_numpy(ids[hidden]),
            "answers": torch.from_numpy(answers[hidden]),
        }

    def logits(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        base = getattr(model, model.base_model_prefix)
        hidden = base(input_ids=batch["input_ids"], position_ids=batch["position_ids"])[0]
        head = model.lm_head if self.recipe.kind == "roberta" else model.cls
        return head(hidden.flatten(0, 1).index_select(0, batch["places"]))


class NextWords(Objective):
    """Causal language models: each next token, and the end of the document."""

    def batch(self, rows: np.ndarray, key: int, random: np.random.Generator) -> Batch:
        ids, answers = self.whole(rows, key)
        ends = np.full((len(rows), 1), self.tokenizer.eos_token_id)
        targets = np.concatenate([ids[:, 1:], ends], 1)
        flags = np.concatenate([answers[:, 1:], np.zeros((len(rows), 1), bool)], 1)
        return {
            "input_ids": torch.from_numpy(ids),
            "position_ids": self.shifted_positions(len(rows), key, 0, random),
            "targets": torch.from_numpy(targets.ravel()),
            "answers": torch.from_numpy(flags.ravel()),
        }

    def question(self, rows: np.ndarray, positions: np.ndarray, key: int) -> Batch:
        ids, _ = self.whole(rows, key + 1)
        return {
            "input_ids": torch.from_numpy(ids[:, :-1]),
            "position_ids": torch.arange(key).expand(len(rows), -1),
            "places": torch.arange(1, len(rows) + 1) * key - 1,
            "targets": torch.from_numpy(ids[:, -1]),
            "answers": torch.ones(len(rows), dtype=torch.bool),
        }

    def logits(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        hidden = model.transformer(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        )[0].flatten(0, 1)
        return model.lm_head(hidden if "places" not in batch else hidden.index_select(0, batch["places"]))


class HiddenSpans(Objective):
    """Sequence-to-sequence models: hidden spans (Raffel et al. 2020), and continuations of a beginning.

    A key up to ``WHOLE`` is the length of a beginning, whose continuation (with an answer word first where
    the document has one) is the target; one above it is ``WHOLE`` plus the length of a document whose spans
    are hidden.
    """

    WHOLE = 1000
    CONTINUATION = 8
    LONGEST_SPAN = 4
    ANSWER_CUT = 0.8
    """Chance that a beginning ends in front of an answer word rather than anywhere."""

    def keys(self, random: np.random.Generator) -> np.ndarray:
        lengths = self.documents.lengths
        answers = self.documents.pick_answers(random)
        anywhere = 1 + (random.random(len(lengths)) * (lengths - 1)).astype(np.int64)
        at_answer = (answers > 0) & (random.random(len(lengths)) < self.ANSWER_CUT)
        cuts = np.where(at_answer, answers, np.minimum(anywhere, lengths - 1))
        prefix = random.random(len(lengths)) < self.recipe.prefix
        return np.where(prefix, cuts, self.WHOLE + lengths)

    def cost(self, key: int) -> int:
        return key + 2 + self.CONTINUATION if key < self.WHOLE else int((key - self.WHOLE) * 1.3) + 2

    def batch(self, rows: np.ndarray, key: int, random: np.random.Generator) -> Batch:
        if key < self.WHOLE:
            return self._continuation(rows, key, self.CONTINUATION)
        return self._spans(rows, key - self.WHOLE, random)

    def question(self, rows: np.ndarray, positions: np.ndarray, key: int) -> Batch:
        return self._continuation(rows, key, 1)

    def _continuation(self, rows: np.ndarray, cut: int, count: int) -> Batch:
        beginning, _ = self.whole(rows, cut)
        ids, answers, valid = self.documents.take(rows, cut, count)
        ids = np.where(valid, ids + self.shift, self.tokenizer.pad_token_id)
        left = self.documents.lengths[rows] - cut
        ended = np.flatnonzero(left < count)
        ids[ended, left[ended]] = self.tokenizer.eos_token_id
        valid[ended, left[ended]] = True
        ends = np.full((len(rows), 1), self.tokenizer.eos_token_id)
        return self._batch(np.concatenate([beginning, ends], 1), None, ids, answers, valid)

    def _spans(self, rows: np.ndarray, length: int, random: np.random.Generator) -> Batch:
        ids, answers = self.whole(rows, length)
        mean = (1 + self.LONGEST_SPAN) / 2
        starts = random.random(ids.shape) < self.recipe.noise / mean
        starts |= answers & (random.random(ids.shape) < self.recipe.answer_noise)
        starts[np.arange(len(rows)), random.integers(0, length, len(rows))] |= ~starts.any(1)
        sizes = random.integers(1, self.LONGEST_SPAN + 1, ids.shape)
        hidden = starts.copy()
        for size in range(1, self.LONGEST_SPAN):
            hidden[:, size:] |= (starts & (sizes > size))[:, :-size]
        begins = hidden & ~np.pad(hidden, ((0, 0), (1, 0)))[:, :-1]
        number = np.cumsum(begins, 1) - 1
        hidden &= number < SENTINELS
        begins &= number < SENTINELS
        sentinels = number + self.tokenizer.convert_tokens_to_ids("<extra_id_0>")
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        inputs, seen, _ = pack(np.where(begins, sentinels, ids), ~hidden | begins, answers, pad, end)
        # In the target each hidden token has a place for a sentinel in front of it.
        pairs = np.stack([sentinels, ids], 2).reshape(len(rows), -1)
        kept = np.stack([begins, hidden], 2).reshape(len(rows), -1)
        flags = np.stack([np.zeros_like(answers), answers], 2).reshape(len(rows), -1)
        targets, valid, flags = pack(pairs, kept, flags, pad, end)
        return self._batch(inputs, seen, targets, flags, valid)

    def _batch(
        self, inputs: np.ndarray, seen: np.ndarray | None, targets: np.ndarray, answers: np.ndarray,
        valid: np.ndarray,
    ) -> Batch:  # fmt: skip
        start = np.full((len(targets), 1), self.tokenizer.pad_token_id)
        batch = {
            "input_ids": torch.from_numpy(inputs),
            "decoder_input_ids": torch.from_numpy(np.concatenate([start, targets[:, :-1]], 1)),
            "places": torch.from_numpy(np.flatnonzero(valid)),
            "targets": torch.from_numpy(targets[valid]),
            "answers": torch.from_numpy(answers[valid]),
        }
        if seen is not None and not seen.all():
            batch["attention_mask"] = torch.from_numpy(seen.astype(np.int64))
        return batch

    def logits(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        mask = batch.get("attention_mask")
        encoded = model.encoder(input_ids=batch["input_ids"], attention_mask=mask)[0]
        hidden = model.decoder(
            input_ids=batch["decoder_input_ids"], encoder_hidden_states=encoded, encoder_attention_mask=mask,
            use_cache=False,
        )[0]  # fmt: skip
        hidden = hidden.flatten(0, 1).index_select(0, batch["places"])
        return model.lm_head(hidden * model.model_dim**-0.5 if model.config.scale_decoder_outputs else hidden)


def pack(
    values: np.ndarray, kept: np.ndarray, flags: np.ndarray, pad: int, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kept values of each row moved to its left with ``end`` behind them; validity and flags alike.

    All ``[B, N]``, the results as wide as the longest row.
    """
    counts = kept.sum(1)
    width = counts.max() + 1
    order = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    order = np.pad(order, ((0, 0), (0, width - order.shape[1])))
    places = np.arange(width)
    inside = places < counts[:, None]
    packed = np.where(inside, np.take_along_axis(values, order, 1), pad)
    packed[places == counts[:, None]] = end
    return packed, places <= counts[:, None], np.take_along_axis(flags, order, 1) & inside


def to_device(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}


OBJECTIVES: dict[str, type[Objective]] = {
    "roberta": MaskedWords, "bert": MaskedWords, "gpt2": NextWords, "t5": HiddenSpans,
}  # fmt: skip
