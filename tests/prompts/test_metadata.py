from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import MAX_JSON_BYTES, METADATA_NAME, PromptMetadata, read_metadata

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BASE = {"schema_version": 1, "prompt_len": 1}
NAMES = st.sampled_from(
    ["schema_version", "backbone", "label_words", "task", "seed", "metrics", "parent", "prompt_len", "odd"]
)


def write(folder: Path, text: str | bytes) -> Path:
    (folder / METADATA_NAME).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_metadata_survives_json(tmp_path: Path) -> None:
    metadata = PromptMetadata(
        backbone={"name": "gpt2", "hidden": 32},
        prompt_len=20,
        layout="prompt-text",
        template="{text_a} It was",
        label_words=["bad", "good"],
        task="sst2",
        seed=3,
        metrics={"validation": {"accuracy": 0.9, "n": 872}},
        parent={"hash": "ab", "relation": "warm-start"},
    )
    assert read_metadata(write(tmp_path, metadata.to_json())) == metadata


def test_numbers_of_numpy_are_written_and_nan_becomes_null() -> None:
    metadata = PromptMetadata(
        prompt_len=1, metrics={"accuracy": np.float32(0.5), "n": np.int64(4), "loss": float("nan")}
    )
    assert json.loads(metadata.to_json())["metrics"] == {"accuracy": 0.5, "n": 4, "loss": None}


def test_what_json_cannot_hold_is_refused_with_its_value() -> None:
    with pytest.raises(UserError, match="object"):
        PromptMetadata(prompt_len=1, data={"source": object()}).to_json()


def test_unknown_keys_are_kept() -> None:
    values = json.loads(PromptMetadata(prompt_len=1).to_json()) | {"colour": "blue"}
    metadata = PromptMetadata.from_dict(values)
    assert metadata.extra == {"colour": "blue"}
    assert json.loads(metadata.to_json())["colour"] == "blue"


def test_a_newer_schema_is_refused_naming_both_versions() -> None:
    with pytest.raises(UserError, match=r"schema version 7.*up to 1.*Upgrade"):
        PromptMetadata.from_dict({"schema_version": 7, "prompt_len": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "JSON object"),
        ({}, "schema_version"),
        ({"schema_version": True}, "schema_version"),
        ({"schema_version": 1}, "prompt_len"),
        ({"schema_version": 1, "prompt_len": 0}, "prompt_len"),
        ({**BASE, "label_words": ["a", 1]}, "label_words"),
        ({**BASE, "seed": 1.5}, "seed"),
        ({**BASE, "metrics": [1]}, "metrics"),
        ({**BASE, "backbone": {"hidden": "32"}}, "backbone hidden"),
        ({**BASE, "backbone": {"embedding_hash": 5}}, "backbone embedding_hash"),
    ],
)
def test_wrong_types_are_refused(values: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PromptMetadata.from_dict(values)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"schema_version": NaN}',
        b"[" * 100_000,
        b'{"schema_version": ' + b"9" * 5000 + b"}",
        b" " * (MAX_JSON_BYTES + 1),
    ],
    ids=["empty", "cut", "binary", "nan", "deep", "long number", "large"],
)
def test_damaged_files_are_user_errors(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UserError, match=METADATA_NAME):
        read_metadata(write(tmp_path, text))


def test_a_pipe_in_the_files_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / METADATA_NAME)
    with pytest.raises(UserError, match="not a regular file"):
        read_metadata(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_any_json_is_read_completely_or_refused(values: dict[str, object]) -> None:
    try:
        metadata = PromptMetadata.from_dict({"prompt_len": 1, **values, "schema_version": 1})
    except UserError:
        return
    assert PromptMetadata.from_dict(json.loads(metadata.to_json())).extra == metadata.extra


def test_listing_prompts_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, prompt_hub.prompts.store as store; store.find_prompts('.', recursive=False);"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
