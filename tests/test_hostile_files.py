"""Readers of files from strangers give a value or a ``UserError``, whatever the files hold.

The inputs are those of ``make fuzz``: valid files, the kept corpus, and changed ones that hypothesis chooses.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzz import watch
from fuzz.mutate import mutated
from fuzz.run import kept, seeds, try_one
from fuzz.targets import STORED, TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SLOW = {"backbone-config", "tokenizer", "tokenizer-config", "weights", "gguf", "matrix", "grid"}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _stored_files_stay_as_they_are() -> Iterator[None]:
    before = {path: path.read_bytes() for path in STORED.rglob("*") if path.is_file()}
    yield
    assert {path: path.read_bytes() for path in STORED.rglob("*") if path.is_file()} == before


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_files_are_read(name: str) -> None:
    assert seeds(name)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_is_read_or_refused(name: str) -> None:
    assert seeds(name)
    for data in kept(name):
        try_one(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    valid = seeds(name)

    @given(st.sampled_from(valid), st.randoms(use_true_random=False))
    @settings(
        max_examples=40 if name in SLOW else 200, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def attempt(data: bytes, chooser: random.Random) -> None:
        try_one(target, mutated(data, target.is_document, chooser))

    attempt()


@pytest.mark.parametrize(
    "misdeed",
    [
        lambda folder: __import__("os").system("true"),
        lambda folder: open(folder.parent.parent / "outside", "w").close(),
        lambda folder: (folder.parent.parent / "outside").mkdir(),
        lambda folder: (
            (folder / "a").symlink_to("/etc/passwd")
            or (folder / "a").rename(folder.parent.parent / "elsewhere")
        ),
        lambda folder: __import__("socket").create_connection(("127.0.0.1", 1), 0.1),
        lambda folder: bytearray(3 << 29).decode("ascii"),
        lambda folder: 1 / 0,
    ],
    ids=["starts", "writes", "makes", "moves", "connects", "memory", "raises"],
)
def test_the_watch_sees_what_must_not_happen(misdeed: Any, tmp_path: Path) -> None:
    scratch = tmp_path / "inside" / "scratch"
    scratch.mkdir(parents=True)

    def read() -> None:
        try:
            misdeed(scratch)
        except OSError:
            return

    with pytest.raises((watch.Breach, ZeroDivisionError)), watch.inside(scratch.parent):
        watch.check(read)


@pytest.mark.parametrize("wait", [lambda: None, lambda: time.sleep(0.1)], ids=["computes", "sleeps"])
def test_the_watch_sees_a_reader_that_takes_too_long(wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SECONDS_AT_MOST", 0.2)

    def read() -> None:
        try:
            while True:
                wait()
        except watch.Breach:  # as a parser that takes everything for damage
            return

    with pytest.raises(watch.Breach, match=r"more than 0\.2 s"):
        watch.check(read)


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"vocab_size": 5 * 10**8}, "its files hold"),
        ({"n_positions": 10**9}, "its files hold"),
        ({"n_layer": 10**6}, "more than 1,000 are not read"),
    ],
)
def test_no_memory_is_taken_for_what_a_configuration_only_declares(
    change: dict[str, int], complaint: str, tmp_path: Path
) -> None:
    import json

    from fuzz.targets import _tiny_backbone, beside

    from prompt_hub.backbones import load_backbone
    from prompt_hub.errors import UserError

    config = json.loads((_tiny_backbone() / "config.json").read_text())
    data = json.dumps(config | change).encode()
    folder = beside(tmp_path / "backbone", _tiny_backbone(), "config.json", data)

    def read() -> None:
        with pytest.raises(UserError, match=complaint):
            load_backbone(str(folder))

    watch.check(read)
