"""Where a soft prompt starts. Shape letters: ``P`` prompt length, ``H`` hidden width, ``V`` vocabulary.

Initialisation decides whether prompt tuning works at all (Lester et al. 2021, "The Power of Scale for
Parameter-Efficient Prompt Tuning", section 3.2); the starts below are theirs, plus another prompt.
Every initialiser is a plain function ``(backbone, prompt_len, generator, **options) -> [P, H]`` float32 on
the CPU; ``INITIALISERS`` names them.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.prompts.soft_prompt import SoftPrompt

if TYPE_CHECKING:
    from prompt_hub.backbones.base import Backbone

ORDINARY_ROWS = 5_000
"""As many of the commonest tokens as Lester et al. sample from."""


class Initialiser(Protocol):
    def __call__(
        self, backbone: Backbone, prompt_len: int, generator: torch.Generator, **options: Any
    ) -> Tensor: ...


def from_text(
    backbone: Backbone, prompt_len: int, generator: torch.Generator, *, text: str | None = None, **_: Any
) -> Tensor:
    """``[P, H]``: the embeddings of ``text``, repeated or cut to P rows."""
    if text is None:
        raise UserError(
            "Initialiser 'text' needs a text. Write it as text:Classify the sentiment of the review."
        )
    ids = _token_ids(backbone, text)
    if not ids:
        raise UserError(f"Initialiser 'text': {text!r} has no token for {backbone.name}. Give it some words.")
    repeats = -(-prompt_len // len(ids))
    return _embed(backbone, (ids * repeats)[:prompt_len])


def from_vocab(backbone: Backbone, prompt_len: int, generator: torch.Generator, **_: Any) -> Tensor:
    """``[P, H]``: the embeddings of ordinary tokens, sampled without replacement while they last."""
    return _embed(backbone, _sample_vocab(backbone, prompt_len, generator))


def from_label_words(
    backbone: Backbone,
    prompt_len: int,
    generator: torch.Generator,
    *,
    label_words: Sequence[str] | None = None,
    **_: Any,
) -> Tensor:
    """``[P, H]``: first each label word (the mean of its pieces), then sampled vocabulary up to P rows.

    Words are tokenised as they are given: where a leading space makes another token, the caller puts it.
    """
    if not label_words:
        raise UserError(
            "Initialiser 'label-words' needs label words, and this task has none. Use text or vocab."
        )
    rows = []
    for word in label_words[:prompt_len]:
        ids = _token_ids(backbone, word)
        if not ids:
            raise UserError(f"Initialiser 'label-words': {word!r} has no token for {backbone.name}.")
        rows.append(_embed(backbone, ids).mean(0))
    return _filled(torch.stack(rows), backbone, prompt_len, generator)


def from_noise(
    backbone: Backbone, prompt_len: int, generator: torch.Generator, *, std: float | None = None, **_: Any
) -> Tensor:
    """``[P, H]``: normal noise, without ``std`` with the root mean square of the ordinary tokens' embeddings.

    So a row is about as long as a token's embedding. Noise of any other scale, N(0, 1) most of all, starts
    so far from the embeddings that training at usual rates does not come back.
    """
    if std is None:
        std = _embed(backbone, _ordinary_ids(backbone)).square().mean().sqrt().item()
    return torch.randn(prompt_len, backbone.hidden, generator=generator) * std


def from_prompt(
    backbone: Backbone, prompt_len: int, generator: torch.Generator, *, path: str | None = None, **_: Any
) -> Tensor:
    """``[P, H]``: another prompt; cut, or filled with sampled vocabulary, if its length differs (warned)."""
    if path is None:
        raise UserError(
            "This initialiser needs the place of a prompt. Write it as prompt:path/to/prompt or "
            "random-like:path/to/prompt."
        )
    other = SoftPrompt.from_pretrained(path)
    if other.hidden != backbone.hidden:
        raise UserError(
            f"Prompt {path!r} has width {other.hidden}, backbone {backbone.name} {backbone.hidden}. "
            "Project it first, or start from a prompt of this backbone."
        )
    if other.prompt_len != prompt_len:
        change = "cut" if other.prompt_len > prompt_len else "filled with vocabulary rows"
        warnings.warn(
            f"Prompt {path!r} has {other.prompt_len} rows and was {change} to {prompt_len}.", stacklevel=2
        )
    return _filled(other.embeddings[:prompt_len], backbone, prompt_len, generator)


def from_norms(
    backbone: Backbone, prompt_len: int, generator: torch.Generator, *, path: str | None = None, **_: Any
) -> Tensor:
    """``[P, H]``: random directions with the row norms of another prompt: as large as it, but untrained."""
    return random_like(from_prompt(backbone, prompt_len, generator, path=path), generator)


INITIALISERS: dict[str, Initialiser] = {
    "text": from_text,
    "vocab": from_vocab,
    "label-words": from_label_words,
    "random": from_noise,
    "prompt": from_prompt,
    "random-like": from_norms,
}
_OF_A_PROMPT = {"prompt", "random-like"}
_EXAMPLES = {
    "text": "text:Classify the sentiment",
    "random": "random:0.02",
    **{name: f"{name}:path/to/prompt" for name in sorted(_OF_A_PROMPT)},
}
"""Initialisers that take something after a colon, with an example."""


def parse_init(spec: str) -> tuple[str, str | None]:
    """``text``, ``text:Some words``, ``random:0.02``, ``prompt:/path`` to name and argument (or None)."""
    name, colon, argument = spec.partition(":")
    name, argument = name.strip(), argument.strip()
    if name not in INITIALISERS:
        forms = ["text[:WORDS]", "vocab", "label-words", "random[:STD]", "prompt:PATH", "random-like:PATH"]
        hint = "train also takes auto:FOLDER, its best prompt."
        if os.path.isdir(spec):
            hint += f" To start from the prompt in that folder: prompt:{spec}."
        raise unknown_name("initialiser", name, forms, hint)
    if colon and name not in _EXAMPLES:
        raise UserError(
            f"Initialiser {name!r} takes nothing after a colon (got {argument!r}). Write just {name}."
        )
    if not argument and (colon or name in _OF_A_PROMPT):
        raise UserError(f"Initialiser {spec!r} says nothing after the colon. Write it as {_EXAMPLES[name]}.")
    if name == "random" and argument:
        _standard_deviation(argument)
    return name, argument or None


def prompt_in(spec: str) -> str | None:
    """The place of the prompt that ``prompt:PLACE`` or ``random-like:PLACE`` starts from, else None."""
    name, argument = parse_init(spec)
    return argument if name in _OF_A_PROMPT else None


def initial_prompt(
    spec: str,
    backbone: Backbone,
    prompt_len: int,
    seed: int,
    *,
    text: str | None = None,
    label_words: Sequence[str] | None = None,
) -> Tensor:
    """``[P, H]`` float32 on the CPU, the same for the same ``seed``.

    text: what ``text`` uses when the spec brings no words of its own. label_words: in class order.
    """
    name, argument = parse_init(spec)
    if prompt_len < 1:
        raise UserError(f"A prompt needs at least one row, not {prompt_len}. 20 to 100 are usual.")
    generator = torch.Generator().manual_seed(seed)
    words = argument if name == "text" and argument else text
    std = _standard_deviation(argument) if name == "random" and argument else None
    return INITIALISERS[name](
        backbone, prompt_len, generator, text=words, label_words=label_words, path=argument, std=std
    )


def _standard_deviation(argument: str) -> float:
    try:
        std = float(argument)
    except ValueError:
        std = math.nan
    if not 0 < std < math.inf:
        raise UserError(
            f"Initialiser 'random' takes a standard deviation above 0, not {argument!r}. Write it as "
            f"{_EXAMPLES['random']}."
        )
    return std


def random_like(prompt: Tensor, generator: torch.Generator) -> Tensor:
    """``[P, H]``: Gaussian directions with the norm of each row of ``prompt``: the floor for comparison."""
    noise = torch.randn(prompt.shape, generator=generator)
    return noise * (prompt.float().cpu().norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True))


def _token_ids(backbone: Backbone, text: str) -> list[int]:
    return list(backbone.tokenizer(text, add_special_tokens=False)["input_ids"])


@torch.no_grad()
def _embed(backbone: Backbone, ids: Sequence[int]) -> Tensor:
    """``[len(ids), H]`` float32 on the CPU, through the embedding module: scaled where the model scales."""
    batch = torch.tensor([list(ids)], device=backbone.embedding_matrix.device)
    return backbone.embed(batch)[0].float().cpu()


def _filled(rows: Tensor, backbone: Backbone, prompt_len: int, generator: torch.Generator) -> Tensor:
    missing = prompt_len - len(rows)
    if missing == 0:
        return rows.clone()
    return torch.cat([rows, _embed(backbone, _sample_vocab(backbone, missing, generator))])


def _sample_vocab(backbone: Backbone, count: int, generator: torch.Generator) -> list[int]:
    ids = _ordinary_ids(backbone)
    if count <= len(ids):
        chosen = torch.randperm(len(ids), generator=generator)[:count]
    else:
        chosen = torch.randint(len(ids), (count,), generator=generator)
    return [ids[index] for index in chosen.tolist()]


def _ordinary_ids(backbone: Backbone) -> list[int]:
    """The first ``ORDINARY_ROWS`` ids that stand for ordinary text, all others if there are none.

    Vocabularies are ordered by frequency or nearly so (BPE by merges, unigram by score). Left out: special
    and added tokens, rows behind the tokenizer's end, BERT's ``[unused]``, T5's ``<extra_id>``,
    RoBERTa's ``madeupword``, and pieces without a letter or digit (bytes, punctuation).
    """
    tokenizer = backbone.tokenizer
    size = min(len(tokenizer), backbone.embedding_matrix.shape[0])
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ordinary: list[int] = []
    for start in range(0, size, ORDINARY_ROWS):
        ids = [index for index in range(start, min(start + ORDINARY_ROWS, size)) if index not in special]
        for index, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
            text = tokenizer.convert_tokens_to_string([token])
            if any(character.isalnum() for character in text) and not _is_unused(token):
                ordinary.append(index)
        if len(ordinary) >= ORDINARY_ROWS:
            break
    return ordinary[:ORDINARY_ROWS] or list(range(size))


def _is_unused(token: str) -> bool:
    return token.lstrip("▁Ġ").startswith(("[unused", "<extra_id", "madeupword", "<0x"))
