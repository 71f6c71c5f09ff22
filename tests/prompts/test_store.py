from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import METADATA_NAME, WEIGHTS_NAME
from prompt_hub.prompts.store import find_prompts


def names(root: Path, **options: Any) -> list[str]:
    return [str(entry.path.relative_to(root)) for entry in find_prompts(root, **options)]


def test_prompts_are_found_sorted_with_what_is_known(tmp_path: Path, make_prompt: Any) -> None:
    for place in ("b", "a", "runs/one/prompt"):
        make_prompt(task=place).save_pretrained(tmp_path / place)
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["a", "b", "runs/one/prompt"]
    assert names(tmp_path, recursive=False) == ["a", "b"]
    assert names(tmp_path / "a") == ["."]
    entry = find_prompts(tmp_path)[0]
    assert entry.error is None and entry.metadata is not None and entry.metadata.task == "a"


def test_damaged_prompts_are_listed_with_the_reason(tmp_path: Path, make_prompt: Any) -> None:
    for place in ("a", "b", "c", "d"):
        make_prompt(seed=ord(place)).save_pretrained(tmp_path / place)
    (tmp_path / "a" / METADATA_NAME).write_text("{")
    (tmp_path / "b" / WEIGHTS_NAME).unlink()
    os.replace(tmp_path / "d" / WEIGHTS_NAME, tmp_path / "c" / WEIGHTS_NAME)
    entries = find_prompts(tmp_path)
    reasons = ["not valid JSON", "Cannot read", "cut off", "Cannot read"]
    assert all(entry.metadata is None for entry in entries)
    assert all(reason in (entry.error or "") for entry, reason in zip(entries, reasons, strict=True))


def test_links_out_of_the_root_are_not_followed(tmp_path: Path, make_prompt: Any) -> None:
    outside = make_prompt().save_pretrained(tmp_path / "outside")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(outside)
    (root / "cycle").symlink_to(root)
    (root / "files").mkdir()
    for name in (METADATA_NAME, WEIGHTS_NAME):
        (root / "files" / name).symlink_to(outside / name)
    (root / "loop").mkdir()
    (root / "loop" / METADATA_NAME).symlink_to(METADATA_NAME)
    files, loop = find_prompts(root)
    assert files.error is not None and "outside" in files.error
    assert loop.error is not None


def test_the_remains_of_a_killed_save_are_not_listed(tmp_path: Path, make_prompt: Any) -> None:
    make_prompt().save_pretrained(tmp_path / ".prompt.0123.part")
    assert find_prompts(tmp_path) == []


def test_very_deep_folders_end_the_search(tmp_path: Path, make_prompt: Any) -> None:
    make_prompt().save_pretrained(tmp_path.joinpath(*"abcdefghijkl"))
    assert find_prompts(tmp_path) == []


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        find_prompts(tmp_path / "missing")
