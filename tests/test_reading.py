"""Files from strangers: no pipe in a file's place, no JSON that could not be written again."""

from __future__ import annotations

import os

import pytest

from prompt_hub.reading import parse_json, read_regular


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ('{"a": 1' + "0" * 400 + "}", "digits"),
        ("[" * 100_000 + "]" * 100_000, "deeply"),
        ("{", "Expecting"),
    ],
)
def test_what_could_not_be_written_again_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_json(text)


def test_ordinary_json_is_read_as_ever():
    assert parse_json('{"a": "\\ud83d\\ude00", "b": 12345678901234567890, "c": [1.5, null]}') == {
        "a": "\U0001f600", "b": 12345678901234567890, "c": [1.5, None],
    }  # fmt: skip
    assert parse_json('["' + "7" * 400 + '"]') == ["7" * 400]


def test_a_pipe_and_a_device_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name)
    (tmp_path / "file").write_bytes(b"text")
    assert read_regular(tmp_path / "file") == b"text"
