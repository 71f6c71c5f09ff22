"""What a backbone is: a frozen language model that answers with label logits under a soft prompt.

Shape letters: ``P`` prompt length, ``H`` hidden width, ``B`` batch, ``S`` sequence, ``C`` classes,
``M`` read positions a row, ``T`` target tokens, ``V`` vocabulary, ``K`` prompts of one batch.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompt_hub.backbones.compiling import compiled
from prompt_hub.backbones.overlapping import Overlapping
from prompt_hub.backbones.recomputing import recomputed
from prompt_hub.errors import UserError

FAMILIES = ("masked_lm", "causal_lm", "seq2seq_lm")

LabelIds = Sequence[Sequence[int]]
"""Token ids of each class's label word, in class order; a word may have several pieces."""


@dataclass(frozen=True)
class BackboneIdentity:
    """Which frozen model a prompt belongs to.

    ``embedding_hash`` is taken over the input-embedding matrix rounded to bfloat16, so that a model
    loaded in float32 and in bfloat16 has one identity; ``name`` and ``revision`` are for people.
    """

    name: str
    revision: str | None
    family: str
    model_type: str
    hidden: int
    embedding_hash: str
    tokenizer_hash: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Placement:
    """How a layout puts the prompt into the sequence.

    ``mask_in_prompt_row``: the mask embedding replaces prompt row 0 and is read there (the paper's
    encoder code); otherwise the mask stands in the text. ``prompt_positions``: ``"sequential"`` counts
    prompt rows like tokens, ``"none"`` gives them no position (and no token-type) embedding and starts
    the text at the first position after padding's.
    """

    mask_in_prompt_row: bool = False
    prompt_positions: str = "sequential"


@dataclass
class Batch:
    """Padded text, right-aligned padding only, without the soft prompt.

    input_ids: ``[B, S]`` long. attention_mask: ``[B, S]`` long, 1 for real tokens.
    read_positions: ``[B, M]`` long, text positions whose hidden state is read (the mask; the last real
    token; for generation the positions that predict the target). labels: ``[B]`` class index (long) or
    score in 0..1 (float); for generation ``[B, T]`` target ids, -100 where there is none.
    """

    input_ids: Tensor
    attention_mask: Tensor
    read_positions: Tensor | None = None
    labels: Tensor | None = None
    placement: Placement = Placement()

    @property
    def size(self) -> int:
        return self.input_ids.shape[0]

    def to(self, device: torch.device) -> Batch:
        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            self.input_ids.to(device, non_blocking=True),
            self.attention_mask.to(device, non_blocking=True),
            move(self.read_positions),
            move(self.labels),
            self.placement,
        )


@dataclass(frozen=True)
class MixedPrompts:
    """Several prompts of one length in one batch, each row under one of them.

    prompts: ``[K, P, H]`` float32. owner: ``[B]`` long, which of the K stands in front of each row.
    """

    prompts: Tensor
    owner: Tensor


Prompt = Tensor | MixedPrompts
"""What stands in front of a batch: one prompt ``[P, H]`` for all rows, or several."""


class Backbone(ABC):
    """A frozen model with its tokenizer. Always in ``eval()`` mode, never with trainable weights."""

    family: ClassVar[str]
    can_generate: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        model: nn.Module,
        tokenizer: Any,
        revision: str | None = None,
        embedding_hash: str | None = None,
        quantized: str | None = None,
    ) -> None:
        """embedding_hash: of the embeddings as they are stored, where the model was narrowed since.
        quantized: ``8bit`` or ``4bit``, where the layers' weights are.
        """
        self.name = name
        self.revision = revision
        self._embedding_hash = embedding_hash
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._identity: BackboneIdentity | None = None
        self.quantized = quantized
        # Divided among processes (``sharding.py``): it answers where all of them ask it alike.
        self.is_sharded = False
        self._recomputed = Overlapping(lambda: recomputed(self.model))
        self._compiled = Overlapping(lambda: compiled(self.model))
        self._constants: dict[tuple[torch.device, tuple[int, ...]], Tensor] = {}

    # -- facts -----------------------------------------------------------------------------------

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def embedding_module(self) -> Any:
        """The module that turns ids ``[B, S]`` into embeddings ``[B, S, H]`` (scaling included)."""
        return self.model.get_input_embeddings()

    @property
    def embedding_matrix(self) -> Tensor:
        """``[V, H]``, the input-embedding weights."""
        return self.embedding_module.weight

    @property
    def hidden(self) -> int:
        return int(self.embedding_matrix.shape[1])

    @property
    def device(self) -> torch.device:
        return self.embedding_matrix.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding_matrix.dtype

    @property
    def precision(self) -> str:
        """As ``--dtype`` takes it: what a result depends on besides the weights."""
        return self.quantized or str(self.dtype).removeprefix("torch.")

    @property
    def max_positions(self) -> int | None:
        """How many positions (prompt and text together) the model can hold; None: no limit."""
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit is None:
            return None
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # RoBERTa-like models start counting after the padding index.
                offset = 0 if module.padding_idx is None else module.padding_idx + 1
                return module.num_embeddings - offset
        return int(limit)

    @property
    def identity(self) -> BackboneIdentity:
        if self._identity is None:
            self._identity = BackboneIdentity(
                name=self.name,
                revision=self.revision,
                family=self.family,
                model_type=str(self.config.model_type),
                hidden=self.hidden,
                embedding_hash=self._embedding_hash or hash_tensor(self.embedding_matrix),
                tokenizer_hash=hash_tokenizer(self.tokenizer),
            )
        return self._identity

    def takes(self, placement: Placement) -> bool:
        """Whether the model can place a prompt so."""
        return placement == Placement()

    def describe(self) -> str:
        return f"{self.name} ({self.family}, {self.config.model_type}, width {self.hidden})"

    # -- the contract ----------------------------------------------------------------------------

    @abstractmethod
    def label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        """Scores of the label words, ``[B, C]`` float32, computing no more of the head than that.

        prompt: ``[P, H]``, ``MixedPrompts``, or None (the no-prompt floor). Words of one piece get their
        logit; if any word has several pieces, every word gets its log-probability as a sequence.
        """

    @abstractmethod
    def reference_label_logits(self, prompt: Prompt | None, batch: Batch, label_ids: LabelIds) -> Tensor:
        """The same numbers by the plain forward: the prompt in every row, the whole head."""

    def target_loss(self, prompt: Prompt | None, batch: Batch, by_token: bool = False) -> Tensor:
        """Mean over examples of the mean negative log-likelihood of a target token, a scalar.

        batch.labels: ``[B, T]``. Averaging by example makes the loss of a batch the mean of the losses of
        its halves, whatever the target lengths. by_token: the mean over all target tokens of the batch.
        """
        assert batch.labels is not None
        return target_cross_entropy(self.target_logits(prompt, batch), batch.labels, by_token)

    def target_logits(self, prompt: Prompt | None, batch: Batch) -> Tensor:
        """``[B, T, V]``: what is expected where each target token (``batch.labels``) stands."""
        raise UserError(
            f"Backbone {self.describe()} cannot generate text. Use a causal or a sequence-to-sequence "
            "model for generation tasks such as squad or samsum."
        )

    def generate(
        self, prompt: Prompt | None, batch: Batch, max_new_tokens: int, **options: Any
    ) -> list[list[int]]:
        """Greedy continuation of each row (special tokens kept out), at most ``max_new_tokens`` each."""
        raise UserError(
            f"Backbone {self.describe()} cannot generate text. Use a causal or a sequence-to-sequence "
            "model for generation tasks such as squad or samsum."
        )

    @contextmanager
    def unchanged(self, prompt: Tensor | None) -> Iterator[None]:
        """Inside the block the caller does not change ``prompt``, so that what depends on it alone may be
        computed once for all batches (without gradients). Outside, nothing is kept."""
        yield

    @contextmanager
    def recomputed(self) -> Iterator[None]:
        """Inside the block gradients cost less memory and more time: layers run again in the backward pass.

        The backward pass belongs into the block. Blocks may overlap. Raises ``UserError`` for a model whose
        layers are not found.
        """
        with self._recomputed.opened():
            yield

    @contextmanager
    def compiled(self) -> Iterator[None]:
        """Inside the block the layers run compiled by torch: the same numbers but for rounding.

        The first forward waits until torch has compiled them. Blocks may overlap; open it before
        ``recomputed``. Raises ``UserError`` for a model whose layers are not found.
        """
        with self._compiled.opened():
            yield

    @property
    def is_recomputed(self) -> bool:
        """Whether a ``recomputed`` block is open."""
        return self._recomputed.is_open

    @torch.no_grad()
    def read_features(self, prompt: Prompt | None, batch: Batch) -> Tensor:
        """``[B, H]`` float32: what enters the head at the (first) position that is read.

        Label logits of words of one piece are a linear map of it.
        """
        seen: list[Tensor] = []
        head = self.model.get_output_embeddings()
        handle = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        try:
            self.label_logits(prompt, batch, [[0]])
        finally:
            handle.remove()
        return self._where_read(seen[-1], batch).float()

    def _where_read(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``[B, H]`` of the hidden states ``[B, M, H]`` that reached the head."""
        return hidden[:, -1]

    # -- shared pieces ---------------------------------------------------------------------------

    def embed(self, input_ids: Tensor) -> Tensor:
        return self.embedding_module(input_ids)

    def prompt_rows(self, prompt: Prompt, batch_size: int) -> Tensor:
        """``[B, P, H]`` in the backbone's dtype; one prompt ``[P, H]`` is not copied in memory."""
        if isinstance(prompt, MixedPrompts):
            return self.many_prompt_rows(prompt).index_select(0, prompt.owner)
        if prompt.ndim != 2 or prompt.shape[1] != self.hidden:
            raise UserError(
                f"The prompt has shape {tuple(prompt.shape)}, but backbone {self.name} needs "
                f"[P, {self.hidden}]."
            )
        return prompt.to(self.device, self.dtype).unsqueeze(0).expand(batch_size, -1, -1)

    def many_prompt_rows(self, prompt: MixedPrompts) -> Tensor:
        """``[K, P, H]`` in the backbone's dtype, each prompt once."""
        if prompt.prompts.ndim != 3 or prompt.prompts.shape[2] != self.hidden:
            raise UserError(
                f"The prompts have shape {tuple(prompt.prompts.shape)}, but backbone {self.name} needs "
                f"[K, P, {self.hidden}]."
            )
        return prompt.prompts.to(self.device, self.dtype)

    def with_prompt(self, prompt: Prompt | None, batch: Batch) -> tuple[Tensor, Tensor, int]:
        """Embeddings ``[B, P + S, H]``, mask ``[B, P + S]`` and P, with the prompt in front of every row."""
        text = self.embed(batch.input_ids)
        if prompt is None:
            return text, batch.attention_mask, 0
        rows = self.prompt_rows(prompt, batch.size)
        ones = batch.attention_mask.new_ones(batch.size, rows.shape[1])
        return torch.cat([rows, text], 1), torch.cat([ones, batch.attention_mask], 1), rows.shape[1]

    @contextmanager
    def narrowed(self, read_positions: Tensor | None, rows: Tensor | None) -> Iterator[None]:
        """Inside the block the head sees only ``read_positions`` and answers only for vocabulary ``rows``.

        read_positions: ``[B, M]`` or None (all). rows: ``[C]`` token ids or None (whole vocabulary).
        Works on any model whose head is a linear map over the base model's last hidden state, without
        knowing its architecture; both changes are gone after the block, also after an error.
        """
        base = getattr(self.model, self.model.base_model_prefix, None)
        head = self.model.get_output_embeddings()
        whole_head = head.forward
        # Weights that are brought to a device only while they are used have nothing to take rows from.
        offloaded = head.weight.device.type == "meta"
        if rows is not None:
            rows = rows.to(head.weight.device if not offloaded else self.device)
        if rows is not None and not offloaded:
            weight = head.weight.index_select(0, rows)
            bias = None if head.bias is None else head.bias.index_select(0, rows)
        gathered = read_positions is None

        def after_base(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal gathered
            if gathered:
                return output
            gathered = True
            hidden = gather_rows(output[0], read_positions)
            if isinstance(output, tuple):
                return (hidden, *output[1:])
            output.last_hidden_state = hidden
            return output

        def narrow_head(hidden: Tensor) -> Tensor:
            # Some models (OPT) call a part of their base model instead of the base model itself.
            if not gathered:
                hidden = gather_rows(hidden, read_positions)
            if rows is None:
                return whole_head(hidden)
            if offloaded:
                logits = whole_head(hidden)
                return logits.index_select(-1, rows.to(logits.device))
            return F.linear(hidden.to(weight.device), weight, bias)

        handle = base.register_forward_hook(after_base) if isinstance(base, nn.Module) else None
        own_forward = head.__dict__.get("forward")
        head.forward = narrow_head
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()
            if own_forward is None:
                del head.forward
            else:
                head.forward = own_forward

    def single_rows(self, label_ids: LabelIds) -> Tensor | None:
        """``[C]`` token ids when every label word is one piece, else None."""
        if any(len(pieces) != 1 for pieces in label_ids):
            return None
        return self.constant([pieces[0] for pieces in label_ids])

    def constant(self, numbers: Sequence[int]) -> Tensor:
        """``[n]`` long on the backbone's device, copied there once.

        A copy from the host in every step would make a GPU wait for it.
        """
        key = (self.device, tuple(numbers))
        if key not in self._constants:
            self._constants[key] = torch.tensor(key[1], dtype=torch.long, device=self.device)
        return self._constants[key]


def gather_rows(hidden: Tensor, positions: Tensor | None) -> Tensor:
    """``[B, S, H]`` and ``[B, M]`` to ``[B, M, H]``."""
    assert positions is not None
    index = positions.to(hidden.device).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
    return hidden.gather(1, index)


def target_cross_entropy(logits: Tensor, labels: Tensor, by_token: bool) -> Tensor:
    """Cross-entropy of ``[B, T, V]`` against ``[B, T]`` (-100 ignored): over tokens, or by example first."""
    losses = F.cross_entropy(logits.transpose(1, 2).float(), labels, reduction="none", ignore_index=-100)
    counts = (labels != -100).sum(1).clamp(min=1)
    if by_token:
        return losses.sum() / counts.sum()
    return (losses.sum(1) / counts).mean()


def hash_tensor(tensor: Tensor) -> str:
    """Sixteen hex digits of SHA-256 over shape and values rounded to bfloat16."""
    values = tensor.detach().to("cpu", torch.bfloat16).contiguous()
    digest = hashlib.sha256(str(tuple(values.shape)).encode())
    digest.update(values.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def hash_tokenizer(tokenizer: Any) -> str:
    """Sixteen hex digits of SHA-256 over the vocabulary and the special tokens."""
    digest = hashlib.sha256()
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0])):
        digest.update(f"{index}\t{token}\n".encode())
    digest.update(repr(sorted((k, str(v)) for k, v in tokenizer.special_tokens_map.items())).encode())
    return digest.hexdigest()[:16]
