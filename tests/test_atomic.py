"""One process at a time in a folder, and nothing left of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prompt_hub.atomic import alone_in, contents
from prompt_hub.errors import UserError

OTHER = """
import sys
from pathlib import Path
from prompt_hub.atomic import alone_in
with alone_in(Path(sys.argv[1]), "trains a prompt"):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_while_the_first_is_at_work(tmp_path):
    folder = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "in\n"
    with (
        pytest.raises(UserError, match="Another process trains a prompt"),
        alone_in(folder, "trains a prompt"),
    ):
        pass
    first.communicate("")
    with alone_in(folder, "trains a prompt"):
        assert [each.name for each in folder.iterdir()] == [".at-work"]
    assert not folder.exists()


def test_a_new_folder_stays_once_something_is_in_it(tmp_path):
    with alone_in(tmp_path / "run", "trains a prompt"):
        (tmp_path / "run" / "train.json").touch()
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["train.json"]


def test_a_place_where_nothing_can_be_locked_is_worked_in_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "run", Path("/proc/self/run")):
        done = []
        with alone_in(place, "trains a prompt"):
            done.append(place)
        assert done == [place]


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "in\n"
    first.kill()
    first.wait()
    assert (tmp_path / ".at-work").exists()
    with alone_in(tmp_path, "trains a prompt"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_killed_start_leaves_is_nothing(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".at-work").touch()
    (tmp_path / "train.json.x1.part").write_text("{")
    assert contents(tmp_path) == set()
    (tmp_path / "checkpoints" / "note.txt").write_text("mine")
    assert contents(tmp_path) == {"checkpoints"}


def test_a_link_to_an_empty_folder_is_somebodys(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    assert contents(folder) == {"data"}
