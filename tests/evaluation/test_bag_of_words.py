"""The baselines without a backbone find what words and lengths tell, and no more."""

from __future__ import annotations

import random

import pytest

from prompt_hub.errors import UserError
from prompt_hub.evaluation.bag_of_words import bag_of_words, length_only
from prompt_hub.tasks import Example, Split, get_task

SST2, QNLI = get_task("sst2"), get_task("qnli")


def split(count: int, seed: int, first: str = "", second: str | None = None) -> Split:
    """Noise of four words, and in rows of class 1 the words ``first`` and ``second`` beside it."""
    chooser = random.Random(seed)
    examples = []
    for index in range(count):
        label = index % 2
        noise = [" ".join(chooser.choices("the a film plot day".split(), k=4)) for _ in range(2)]
        text_a = f"{noise[0]} {first}" if label else noise[0]
        text_b = None if second is None else f"{noise[1]} {second}" if label else noise[1]
        examples.append(Example(text_a, text_b, label))
    return Split.of("train", examples, "made for the test")


def test_a_word_that_tells_the_class_is_found() -> None:
    found = bag_of_words(SST2, split(200, 0, "good"), split(100, 1, "good"))
    assert (found.score, found.n, found.primary_metric, found.task) == (1.0, 100, "accuracy", "sst2")
    assert found.metrics == {"accuracy": 1.0, "combined_score": 1.0}
    assert found.ci95 == (1.0, 1.0)


def test_noise_scores_about_chance_with_an_interval_round_it() -> None:
    found = bag_of_words(SST2, split(400, 0), split(400, 1))
    low, high = found.ci95
    assert 0.4 < low < found.score < high < 0.6


def test_the_order_of_neighbouring_words_counts() -> None:
    def ordered(count: int, seed: int) -> Split:
        return Split.of(
            "x",
            [
                Example(
                    f"{'not bad but good' if row.label else 'not good but bad'} {row.text_a}", None, row.label
                )
                for row in split(count, seed).examples
            ],
            "",
        )

    assert bag_of_words(SST2, ordered(200, 0), ordered(100, 1)).score == 1.0


def test_the_two_texts_are_counted_apart() -> None:
    """The same word stands in every row: in the first text of one class, in the second of the other."""

    def crossed(count: int, seed: int) -> Split:
        rows = split(count, seed, second="").examples
        return Split.of(
            "x",
            [
                Example(
                    f"{row.text_a} good" if row.label else row.text_a,
                    str(row.text_b) if row.label else f"{row.text_b} good",
                    row.label,
                )
                for row in rows
            ],
            "",
        )

    assert bag_of_words(QNLI, crossed(200, 0), crossed(100, 1)).score == 1.0


@pytest.mark.parametrize("baseline", [bag_of_words, length_only])
def test_a_baseline_gives_the_same_result_every_time(baseline) -> None:
    train, test = split(120, 0), split(60, 1)
    assert baseline(SST2, train, test) == baseline(SST2, train, test)


def test_lengths_are_found_in_either_text() -> None:
    assert length_only(SST2, split(200, 0, "a b c d e"), split(100, 1, "f g h i j")).score == 1.0
    assert length_only(QNLI, split(200, 0, "", "a b c d e"), split(100, 1, "", "f g h i j")).score == 1.0
    assert length_only(SST2, split(400, 0), split(400, 1)).score < 0.6


@pytest.mark.parametrize("baseline", [bag_of_words, length_only])
def test_what_is_no_classification_or_has_one_class_is_refused(baseline) -> None:
    with pytest.raises(UserError, match=r"stsb.*regression"):
        baseline(get_task("stsb"), split(4, 0), split(4, 1))
    one_class = Split.of("train", split(8, 0).examples[::2], "half.csv")
    unlabelled = Split.of("train", [Example("a film"), Example("a plot", None, 1)], "half.csv")
    for train in (one_class, unlabelled, Split.of("train", [], "half.csv")):
        with pytest.raises(UserError, match=r"half\.csv.*two classes or more"):
            baseline(SST2, train, split(4, 1))
