"""Scores of one generated text against one reference, each in 0..1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

TextScore = Callable[[str, str], float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(text: str) -> str:
    """Lower case without ASCII punctuation, articles and extra whitespace (SQuAD 1.1, Rajpurkar 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, reference: str) -> float:
    """1 when both texts are equal after ``normalise_answer``."""
    return float(normalise_answer(prediction) == normalise_answer(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over normalised words, counted as bags (SQuAD F1)."""
    predicted, expected = normalise_answer(prediction).split(), normalise_answer(reference).split()
    if not predicted or not expected:
        return float(predicted == expected)
    common = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * common / (len(predicted) + len(expected))


def rouge(variant: str) -> TextScore:
    """ROUGE F-measure with stemming, by the ``rouge_score`` package (Lin 2004)."""

    def score(prediction: str, reference: str) -> float:
        return float(_rouge_scorer(variant).score(reference, prediction)[variant].fmeasure)

    return score


@lru_cache(maxsize=8)
def _rouge_scorer(variant: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([variant], use_stemmer=True)


def bleu_paper(prediction: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
    """Sentence BLEU over tokens, weights (0.7, 0.3, 0, 0), smoothing method 1: the paper's code.

    The paper's tokens are its model's sub-words, so give lists of tokens to compare with its numbers.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    if not prediction or not reference:
        return float(len(prediction) == len(reference))
    smoothing = SmoothingFunction().method1
    return float(
        sentence_bleu([list(reference)], list(prediction), (0.7, 0.3, 0, 0), smoothing_function=smoothing)
    )
