"""Records are whole or absent."""

from __future__ import annotations

import json

import pytest

from prompt_hub.errors import UserError
from prompt_hub.runs.records import Record, write_json


def test_a_record_says_what_was_asked_what_came_out_and_with_what(tmp_path):
    record = Record("eval", {"task": "sst2"})
    record.save(tmp_path / "r.json")
    assert Record.load(tmp_path / "r.json").status == "running"
    record.finish(tmp_path / "r.json", {"n": 3})
    loaded = Record.load(tmp_path / "r.json")
    assert (loaded.status, loaded.result, loaded.settings) == ("done", {"n": 3}, {"task": "sst2"})
    assert loaded.environment["packages"]["torch"] and loaded.created <= loaded.finished


def test_no_record_is_none_and_a_broken_one_is_an_error(tmp_path):
    assert Record.load(tmp_path / "none.json") is None
    for text in ('{"kind": "eval", "sett', "[]", '{"record_version": 1}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(UserError, match="anew"):
            Record.load(tmp_path / "r.json")


def test_a_record_of_a_newer_version_is_refused(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps({"record_version": 99}))
    with pytest.raises(UserError, match="newer version"):
        Record.load(tmp_path / "r.json")


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "r.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        loop: list = []
        loop.append(loop)
        write_json(path, loop)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["r.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="writable"):
        write_json(tmp_path / "file" / "r.json", {})
