"""Rows are hashed by what they say, shared rows are dropped, and a hold-out keeps the class shares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from prompt_hub.errors import UserError
from prompt_hub.tasks import (
    Example,
    Split,
    drop_overlap,
    get_task,
    hold_out,
    load_split,
    row_hash,
    row_hashes,
)


def split_of(labels: list[object]) -> Split:
    examples = [Example(f"text {index}", None, label) for index, label in enumerate(labels)]  # type: ignore[arg-type]
    return Split.of("train", examples, "test")


def test_tokenised_and_untokenised_copies_have_one_hash() -> None:
    assert row_hash(Example("It's fine , isn 't it ?")) == row_hash(Example("it's fine, isn't it?", label=1))
    assert row_hash(Example("Straße")) == row_hash(Example("STRASSE"))


def test_different_rows_have_different_hashes() -> None:
    rows = [
        Example("a"),
        Example("b"),
        Example("a", "b"),
        Example("ab"),
        Example("b", "a"),
        Example(":)"),
        Example(":("),
    ]
    assert len({row_hash(row) for row in rows}) == len(rows)


def test_hashes_fit_int64_and_do_not_depend_on_the_process() -> None:
    hashes = row_hashes([Example(f"sentence {index}") for index in range(200)])
    assert hashes.dtype == np.int64
    assert (hashes < 0).any() and (hashes > 0).any()
    assert row_hash(Example("hello", "world")) == -773412258009894949


def test_drop_overlap_removes_shared_rows_and_counts_them() -> None:
    split = split_of([0, 1, 0])
    smaller, removed = drop_overlap(split, row_hashes([Example("TEXT 1!")]))
    assert (removed, len(smaller), smaller.dropped) == (1, 2, 1)
    assert smaller.fingerprint != split.fingerprint
    assert drop_overlap(split, {12345}) == (split, 0)


def test_three_quarters_of_rotten_tomatoes_validation_is_in_sst2_train(shared: Path) -> None:
    validation = load_split(get_task("rotten_tomatoes"), "validation", shared / "data")
    train = load_split(get_task("sst2"), "train", shared / "data")
    kept, removed = drop_overlap(validation, row_hashes(train.examples))
    assert removed == 750
    assert len(kept) == 1066 - 750


def test_the_fingerprint_sees_order_label_and_text() -> None:
    base = split_of([0, 1])
    assert split_of([0, 1]).fingerprint == base.fingerprint
    assert split_of([1, 0]).fingerprint != base.fingerprint
    assert Split.of("x", base.examples[::-1], "test").fingerprint != base.fingerprint


def test_a_hold_out_is_a_partition_with_the_shares_of_the_classes() -> None:
    split = split_of([0] * 700 + [1] * 200 + [2] * 100)
    train, dev = hold_out(split, fraction=0.1, seed=3)
    assert Counter(dev.labels()) == {0: 70, 1: 20, 2: 10}
    texts = [example.text_a for example in (*train.examples, *dev.examples)]
    assert sorted(texts) == sorted(example.text_a for example in split.examples)
    assert [int(e.text_a[5:]) for e in dev.examples] == sorted(int(e.text_a[5:]) for e in dev.examples)


def test_a_hold_out_depends_on_its_seed_only() -> None:
    split = split_of([0, 1] * 50)
    assert hold_out(split, seed=1) == hold_out(split, seed=1)
    assert hold_out(split, seed=1)[1] != hold_out(split, seed=2)[1]


@pytest.mark.parametrize("count", [2, 3, 10, 5001])
@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_both_parts_of_a_hold_out_have_a_row_and_dev_at_most_the_maximum(count: int, fraction: float) -> None:
    train, dev = hold_out(split_of([index / count for index in range(count)]), fraction, maximum=500)
    assert len(train) >= 1 and 1 <= len(dev) <= 500 and len(train) + len(dev) == count


def test_a_hold_out_needs_two_rows_and_a_fraction() -> None:
    with pytest.raises(UserError, match=r"1 row\(s\), 2 or more"):
        hold_out(split_of([0]))
    for fraction in (0, 1, -1, float("nan")):
        with pytest.raises(UserError, match="between 0 and 1"):
            hold_out(split_of([0, 1]), fraction)
    with pytest.raises(UserError, match="maximum"):
        hold_out(split_of([0, 1]), maximum=0)


def test_a_source_with_braces_is_no_format_string() -> None:
    train, _ = hold_out(Split.of("train", split_of([0, 1]).examples, "{0}/data.csv"))
    assert "{0}/data.csv" in train.source


def test_references_are_all_accepted_texts_where_there_are_several() -> None:
    examples = [Example("q", None, "a", ("a", "b")), Example("q", None, "a", ("a",)), Example("q", None, 1)]
    assert Split.of("x", examples, "test").references() == [("a", "b"), "a", 1]
