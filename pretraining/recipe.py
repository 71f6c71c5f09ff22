"""The sizes and constants of the four mini backbones, and the fingerprint of all that they are made from."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
POSITIONS = 192
"""Longest input in tokens, soft prompt included."""
VOCABULARY = 2300
"""Entries of each vocabulary list, special tokens not counted."""
CORPUS_DOCUMENTS = 800_000
CORPUS_SEED = 0
LEAD_SHARES = {"two-way": 0.85, "forward": 0.05}
"""The two editions of the corpus: how many of the judgements stand in front of what they judge.

Masked language models read both ways. The others learn little from an answer that comes before its reasons.
"""
HELD_OUT_DOCUMENTS = 4000
"""Documents behind the corpus's end, never trained on, that give the accuracies in the log."""


@dataclass(frozen=True)
class Recipe:
    """How one backbone is built and trained.

    kind: model type. vocabulary: ``bpe`` or ``wordpiece``. edition: of ``LEAD_SHARES``. width, inner: hidden
    and feed-forward sizes. rate: peak learning rate of AdamW; matrix_rate: of Muon, which trains the
    matrices of the layers (0: AdamW does). batch_tokens: tokens a step. noise: share of the tokens hidden;
    answer_noise: chance that an answer word is. asked: share of the rows of a masked language model in which
    every answer is hidden and ``asked_noise`` of the rest. answer_weight: how often an answer word's loss
    counts. moved: share of the rows that do not start at the first position. started_late: share of the
    rows of a masked language model whose first token stands in front of the answer. prefix: share of the
    documents given to a sequence-to-sequence model as beginning and continuation. short_passes: the first
    passes leave out documents of more than ``short`` tokens.
    """

    name: str
    kind: str
    vocabulary: str
    edition: str
    width: int
    layers: int
    heads: int
    inner: int
    steps: int
    decoder_layers: int = 0
    rate: float = 2e-3
    matrix_rate: float = 2e-3
    warmup: int = 500
    weight_decay: float = 0.01
    batch_tokens: int = 4096
    noise: float = 0.18
    answer_noise: float = 0.1
    answer_weight: float = 3.0
    asked: float = 0.65
    asked_noise: float = 0.0
    moved: float = 0.3
    started_late: float = 0.3
    prefix: float = 0.5
    short: int = 14
    short_passes: int = 0
    seed: int = 1


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("mini-roberta", "roberta", "bpe", "two-way", width=128, layers=4, heads=4, inner=512,
               steps=18_000, answer_weight=10.0, asked=0.8, short_passes=6),
        Recipe("mini-bert", "bert", "wordpiece", "two-way", width=96, layers=4, heads=4, inner=384,
               steps=15_000),
        Recipe("mini-gpt2", "gpt2", "bpe", "forward", width=112, layers=4, heads=4, inner=448, steps=8_000,
               answer_weight=20.0, short_passes=6),
        Recipe("mini-t5", "t5", "wordpiece", "forward", width=80, layers=3, heads=4, inner=256, steps=6_000,
               decoder_layers=3, prefix=0.8, answer_noise=0.5, answer_weight=6.0, short_passes=6),
    )
}  # fmt: skip


def recipe_sha256(name: str) -> str:
    """SHA-256 over all that decides what the backbone of this name becomes.

    That is its recipe, the constants above, the pretraining scripts and the text generators. Comments,
    docstrings and the layout of the sources do not count.
    """
    facts = [asdict(RECIPES[name]), POSITIONS, VOCABULARY, CORPUS_DOCUMENTS, CORPUS_SEED, LEAD_SHARES]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for folder in ("pretraining", "src/prompt_hub/mini"):
        for file in sorted((REPOSITORY / folder).glob("*.py")):
            if file.name != "recipe.py":
                digest.update(f"\0{folder}/{file.name}\0{_bare(file.read_text('utf-8'))}".encode())
    return digest.hexdigest()


def _bare(source: str) -> str:
    """Python source without comments and docstrings, in one layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
