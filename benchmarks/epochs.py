"""Epochs of made-up texts, and a few batches that stand for one."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from compared_systems import System
from shapes import SST2_LENGTH_COUNTS, Rows, Shape, random_rows

TRAIN_BATCH, EVAL_BATCH = 16, 32
# An epoch of 50 training batches is what LengthBucketSampler sorts at a time; 27 evaluation batches are
# SST-2's validation set.
TRAIN_ROWS, EVAL_ROWS = 50 * TRAIN_BATCH, 27 * EVAL_BATCH
TEXTS = Path("sst2", "train.jsonl")
# Tokens of a byte-level BPE tokenizer per blank-separated word of SST-2 (23.4 / 19.3).
_TOKENS_PER_WORD = 1.21


def prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    # PEFT asks transformers for a name that is going away, once a model.
    warnings.filterwarnings("ignore", category=FutureWarning)


def length_counts(data_dir: Path | None) -> Sequence[int]:
    """How often a text has 0, 1, 2, ... tokens."""
    if data_dir is None:
        return SST2_LENGTH_COUNTS
    lines = (data_dir / TEXTS).read_text(encoding="utf-8").splitlines()
    words = [len(json.loads(line)["text_a"].split()) for line in lines]
    return np.bincount([round(_TOKENS_PER_WORD * count) for count in words]).tolist()


def epoch(
    system: System, shape: Shape, mode: str, counts: Sequence[int], small: bool, least: int = 1
) -> list[Rows]:
    """An epoch of at least ``least`` batches as the system draws them; mode: train or eval."""
    if mode == "train":
        rows = random_rows(shape, counts, max(TRAIN_ROWS, least * TRAIN_BATCH), small, seed=2)
        return system.train_batches(rows, TRAIN_BATCH)
    rows = random_rows(shape, counts, max(EVAL_ROWS, least * EVAL_BATCH), small, seed=3)
    return system.eval_batches(rows, EVAL_BATCH)


def work(
    system: System, shape: Shape, mode: str, counts: Sequence[int], small: bool, least: int = 1
) -> tuple[list[Rows], Callable[[Rows], Any]]:
    """``epoch``, and what is done with a batch."""
    batches = epoch(system, shape, mode, counts, small, least)
    return batches, system.train_step if mode == "train" else system.scores


def width(rows: Rows) -> int:
    return max(map(len, rows))


def cross_section(batches: list[Rows], count: int) -> list[Rows]:
    """``count`` batches evenly spaced in order of width, which cost on average what the epoch costs."""
    ordered = sorted(batches, key=width)
    return [ordered[int((index + 0.5) * len(ordered) / count)] for index in range(count)]


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
