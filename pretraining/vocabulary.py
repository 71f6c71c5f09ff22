"""Vocabulary lists from the corpus, and the tokenizers of each kind of model made from them.

Every frequent word is one token. Words that the corpus lacks are put together from pieces, which an ordinary
BPE or WordPiece training on the same words gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recipe import POSITIONS
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

PIECES = 500
"""Entries of a list that are kept for pieces of words (besides the single bytes or characters)."""
SENTINELS = 16
SPECIAL = {
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "gpt2": ["<|endoftext|>"],
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "t5": ["<pad>", "</s>", "<unk>", *(f"<extra_id_{n}>" for n in range(SENTINELS))],
}
NAMES: dict[str, dict[str, Any]] = {
    "roberta": dict(
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>",
        # A space before the mask belongs to it, as in RoBERTa's own tokenizer.
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    ),
    "gpt2": dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"),
    "bert": dict(
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    ),
    "t5": dict(
        pad_token="<pad>", eos_token="</s>", unk_token="<unk>", additional_special_tokens=SPECIAL["t5"][3:]
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """kind: ``bpe`` or ``wordpiece``. tokens: the list, special tokens not counted. merges: of BPE pieces."""

    kind: str
    tokens: list[str]
    merges: list[tuple[str, str]]

    def tokenizer(self, special: list[str]) -> Tokenizer:
        """Ids are those of ``special``, then those of the list."""
        ids = {token: index for index, token in enumerate([*special, *self.tokens])}
        if self.kind == "bpe":
            # ignore_merges: a word of the list is one token even where no merges lead to it.
            tokenizer = Tokenizer(models.BPE(vocab=ids, merges=self.merges, ignore_merges=True))
            tokenizer.decoder = decoders.ByteLevel()
        else:
            unknown = next((token for token in special if "unk" in token.lower()), "[UNK]")
            tokenizer = Tokenizer(models.WordPiece(vocab=ids, unk_token=unknown))
            tokenizer.decoder = decoders.WordPiece()
        prepare(tokenizer, self.kind)
        return tokenizer


def prepare(tokenizer: Tokenizer, kind: str) -> None:
    """Set how text is cut into words: lowercase, and the same word at a text's start as inside it."""
    if kind == "bpe":
        # A space goes in front of a text that starts with a word, none in front of ``.`` behind a mask.
        excess = normalizers.Replace(Regex(r"^ (?![\p{L}\p{N}])"), "")
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), normalizers.Prepend(" "), excess]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def learn_vocabulary(kind: str, texts: Iterable[str], size: int) -> Vocabulary:
    """Bytes or characters, ``PIECES`` pieces, and the most frequent words of the texts: ``size`` tokens."""
    empty = Tokenizer(models.BPE() if kind == "bpe" else models.WordPiece(unk_token="[UNK]"))
    prepare(empty, kind)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(
            word for word, _ in empty.pre_tokenizer.pre_tokenize_str(empty.normalizer.normalize_str(text))
        )
    if kind == "bpe":
        tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
        # The alphabet has the space as a letter of its own, so counted words train without any splitting.
        pieces = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=len(tokens) + PIECES, initial_alphabet=tokens, show_progress=False
        )
    else:
        letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
        tokens = [*letters, *(f"##{letter}" for letter in letters if letter.isalnum())]
        pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        pieces.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordPieceTrainer(
            vocab_size=len(tokens) + PIECES, initial_alphabet=letters, special_tokens=["[UNK]"],
            show_progress=False,
        )  # fmt: skip
    # Each distinct word once: the pieces serve words that the corpus lacks, so frequency there says little.
    pieces.train_from_iterator(sorted(words), trainer)
    learned = pieces.get_vocab()
    merges: list[tuple[str, str]] = []
    if kind == "bpe":
        import json

        merges = [tuple(pair) for pair in json.loads(pieces.to_str())["model"]["merges"]]
    known = dict.fromkeys(tokens)
    known.update(dict.fromkeys(token for token in sorted(learned, key=learned.get) if token != "[UNK]"))
    for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])):
        if len(known) >= size:
            break
        known.setdefault(word)
    return Vocabulary(kind, list(known), merges)


def model_tokenizer(vocabulary: Vocabulary, kind: str) -> PreTrainedTokenizerFast:
    """The Hugging Face tokenizer of a model type of ``SPECIAL``, with its special tokens around a text."""
    special = SPECIAL[kind]
    tokenizer = vocabulary.tokenizer(special)
    if kind == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
        )
    elif kind == "bert":
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    elif kind == "t5":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=POSITIONS, **NAMES[kind])
