"""Batches of like length: every row once, the same for the same seed, little padding."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_hub.encoding.batches import LengthBucketSampler, batches_by_length

lengths = st.lists(st.integers(1, 200), max_size=300)


def padded_share(lengths, batches):
    """Padding tokens / all tokens."""
    full = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    return 1 - sum(lengths[index] for batch in batches for index in batch) / full


def in_batches(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


def sst2_like_lengths(count, seed=0):
    """Tokens a row as in SST-2's training split, about 13 with a long tail; three special ones added."""
    chooser = random.Random(seed)
    return [3 + min(60, max(1, round(chooser.lognormvariate(2.1, 0.75)))) for _ in range(count)]


@given(lengths, st.integers(1, 40))
def test_evaluation_batches_hold_every_row_once_longest_first(lengths, size):
    batches = batches_by_length(lengths, size)
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)
    assert all(len(batch) == size for batch in batches[:-1]) and all(batches)


@given(lengths, st.integers(1, 20), st.integers(0, 5), st.integers(0, 3))
def test_a_training_order_is_a_permutation(lengths, size, seed, epoch):
    sampler = LengthBucketSampler(lengths, size, seed)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == list(range(len(lengths))) and len(sampler) == len(lengths)


@given(lengths.filter(lambda found: len(found) > 20), st.integers(2, 9))
def test_within_a_pool_every_batch_is_a_run_of_the_sorted_lengths(lengths, size):
    """Fewer rows than a pool: the batches do not overlap in length."""
    order = list(LengthBucketSampler(lengths[: size * 50], size, 0))
    ranges = sorted(
        (min(lengths[index] for index in batch), max(lengths[index] for index in batch))
        for batch in in_batches(order, size)
        if len(batch) == size
    )
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(ranges))


def test_the_order_depends_on_seed_and_epoch_only():
    rows = sst2_like_lengths(1000)

    def order(seed, epoch):
        sampler = LengthBucketSampler(rows, 16, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    sampler = LengthBucketSampler(rows, 16, 1)
    assert list(sampler) == list(sampler), "an epoch read twice is the same epoch"


def test_batches_do_not_come_in_order_of_length():
    rows = sst2_like_lengths(800)
    longest = [
        max(rows[index] for index in batch)
        for batch in in_batches(list(LengthBucketSampler(rows, 16, 0)), 16)
    ]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


def test_rows_meet_other_rows_in_the_next_epoch():
    rows = sst2_like_lengths(3000)
    sampler = LengthBucketSampler(rows, 16, 0)
    mates = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        mates.append({frozenset(batch) for batch in in_batches(list(sampler), 16)})
    assert len(mates[0] & mates[1]) < len(mates[0]) / 20


def test_an_incomplete_batch_comes_last():
    order = list(LengthBucketSampler(sst2_like_lengths(16 * 70 + 5), 16, 0))
    lengths = sst2_like_lengths(16 * 70 + 5)
    spread = [
        max(lengths[index] for index in batch) - min(lengths[index] for index in batch)
        for batch in in_batches(order, 16)
    ]
    assert sorted(spread)[len(spread) // 2] <= 2


@pytest.mark.parametrize(("count", "most"), [(2_000, 0.06), (20_000, 0.05)])
def test_padding_is_less_than_a_twentieth_on_lengths_like_those_of_sst2(count, most):
    rows = sst2_like_lengths(count)
    assert 11 < sum(rows) / count < 16
    bucketed = padded_share(rows, in_batches(list(LengthBucketSampler(rows, 16, 0)), 16))
    chance = padded_share(rows, in_batches(random.Random(0).sample(range(count), count), 16))
    assert bucketed < most < 0.3 < chance
    assert padded_share(rows, batches_by_length(rows, 16)) < 0.02


def test_padding_on_sst2_itself(shared):
    """Words stand in for tokens."""
    import json

    path = shared / "data" / "sst2" / "train.jsonl"
    if not path.is_file():
        pytest.skip("sst2 is not there")
    with path.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for _, line in zip(range(20_000), stream, strict=False)]
    field = "sentence" if "sentence" in rows[0] else "text_a"
    lengths = [3 + len(row[field].split()) for row in rows]
    assert padded_share(lengths, in_batches(list(LengthBucketSampler(lengths, 16, 0)), 16)) < 0.05
