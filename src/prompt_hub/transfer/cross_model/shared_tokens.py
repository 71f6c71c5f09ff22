"""Tokens that two vocabularies share: the known points from which a map is fitted without training.

Tokenizers write the same piece of text in different ways (``Ġfilm``, ``▁film`` and ``film`` all begin a
word), so tokens are compared by the text that they stand for.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.errors import UserError

_NOT_TEXT = re.compile(r"<0x[0-9A-Fa-f]{2}>|\[unused\d+\]|<extra_id_\d+>|madeupword\d+")


@dataclass(frozen=True)
class SharedTokens:
    """texts: as text, in the order of the source's ids. found: how many there are; ``texts`` may be fewer.

    source: ``[n, H_s]``, target: ``[n, H_t]``, float64: embeddings as they enter the two models.
    """

    texts: list[str]
    found: int
    source: Tensor
    target: Tensor


def shared_tokens(source: Backbone, target: Backbone, max_tokens: int | None = None) -> SharedTokens:
    """Embeddings of the tokens that both vocabularies have; special tokens and zero rows are left out.

    max_tokens: at most so many, those with the lowest ids in the source's vocabulary, where the frequent
    ones stand. Raises ``UserError`` where nothing is shared.
    """
    ours, theirs = token_texts(source.tokenizer), token_texts(target.tokenizer)
    texts = sorted(ours.keys() & theirs.keys(), key=ours.__getitem__)
    rows = _embeddings(source, [ours[text] for text in texts])
    images = _embeddings(target, [theirs[text] for text in texts])
    usable = (rows.norm(dim=1) > 0) & (images.norm(dim=1) > 0)
    kept = usable.nonzero().flatten()
    if not len(kept):
        raise UserError(
            f"The vocabularies of {source.describe()} and {target.describe()} share no token, so no map can "
            "be fitted from them. Choose backbones whose tokenizers were made for the same language."
        )
    used = kept[:max_tokens]
    return SharedTokens([texts[index] for index in used.tolist()], len(kept), rows[used], images[used])


def token_texts(tokenizer: Any) -> dict[str, int]:
    """The text of each token to its id; a space in front where the token begins a word.

    Left out: special and added tokens, single bytes that are no character, placeholders, white space alone.
    Of several tokens with one text the first counts.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    left_out = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    as_text = _SCHEMES[_marker(vocabulary)]
    texts: dict[str, int] = {}
    for token, index in sorted(vocabulary.items(), key=lambda item: item[1]):
        if index in left_out or _NOT_TEXT.fullmatch(token):
            continue
        text = as_text(token)
        if text is not None and text.strip():
            texts.setdefault(text, index)
    return texts


def _marker(vocabulary: dict[str, int]) -> str:
    """The sign by which the tokenizer tells where words begin or go on; "" if it has none."""
    counts = {marker: sum(token.startswith(marker) for token in vocabulary) for marker in ("Ġ", "▁", "##")}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] else ""


def _byte_table() -> dict[str, int]:
    """Byte-level tokenizers write printable bytes as themselves, the others as characters from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_table()


def _from_bytes(token: str) -> str | None:
    try:
        return bytes(_BYTES[character] for character in token).decode()
    except (KeyError, UnicodeDecodeError):
        return None


def _from_wordpiece(token: str) -> str:
    if token.startswith("##"):
        return token[2:]
    # Punctuation is split off whatever stands before it, so it says nothing about a space.
    punctuation = all(unicodedata.category(character).startswith(("P", "S")) for character in token)
    return token if punctuation else f" {token}"


_SCHEMES = {
    "Ġ": _from_bytes,
    "▁": lambda token: token.replace("▁", " "),
    "##": _from_wordpiece,
    "": lambda token: token,
}


@torch.no_grad()
def _embeddings(backbone: Backbone, ids: list[int]) -> Tensor:
    """``[n, H]`` float64 on the CPU, scaled as the model scales them (some multiply by sqrt(H))."""
    rows = backbone.embed(torch.tensor(ids, dtype=torch.long, device=backbone.device))
    return rows.to("cpu", torch.float64).reshape(len(ids), backbone.hidden)
