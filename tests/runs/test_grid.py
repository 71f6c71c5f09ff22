"""A grid gives each item to one living worker, and keeps what was finished."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prompt_hub.errors import UserError
from prompt_hub.runs.database import SCHEMA_VERSION
from prompt_hub.runs.grid import FILE, Grid, Item


def item(key: str, *needs: str, kind: str = "cell") -> Item:
    return Item(key, kind, {"name": key}, needs)


@pytest.fixture
def grid(tmp_path):
    with Grid.open(tmp_path) as opened:
        yield opened


def finish_next(grid: Grid, worker: str = "w") -> str | None:
    found = grid.claim(worker)
    if found is None:
        return None
    assert grid.finish(found.key, {"of": found.key}, 0.5)
    return found.key


def test_items_are_done_in_order_after_what_they_need(grid):
    assert (
        grid.add([item("a", kind="train"), item("ab", "a"), item("b", kind="train"), item("c", "ab", "b")])
        == 4
    )
    first, second = grid.claim("one"), grid.claim("two")
    assert (first.key, second.key) == ("a", "b") and grid.claim("three") is None
    assert grid.counts() == {"open": 2, "taken": 2, "done": 0, "failed": 0}
    grid.finish("b", {"x": 1}, 2.0)
    assert grid.claim("three") is None
    grid.finish("a", {"x": 2}, 4.0)
    assert [finish_next(grid) for _ in range(3)] == ["ab", "c", None]
    assert grid.counts()["done"] == 4
    done = grid.results("train")
    assert [(d.key, d.work, d.result, d.seconds, d.worker, d.computed) for d in done] == [
        ("a", {"name": "a"}, {"x": 2}, 4.0, "one", 1),
        ("b", {"name": "b"}, {"x": 1}, 2.0, "two", 1),
    ]
    assert grid.mean_seconds() == {"train": 3.0, "cell": 0.5}
    assert grid.result("b") == {"x": 1} and grid.result("nobody") is None


def test_what_is_there_is_not_added_again_but_its_work_is_kept_up_to_date(grid):
    grid.add([item("a"), item("b")])
    finish_next(grid)
    assert grid.add([Item("a", "cell", {"name": "new"}), Item("b", "cell", {"name": "new"}), item("c")]) == 1
    assert grid.results()[0].work == {"name": "a"} and grid.claim("w").work == {"name": "new"}
    assert grid.counts() == {"open": 1, "taken": 1, "done": 1, "failed": 0}


def test_a_need_that_is_nowhere_is_refused_and_nothing_is_added(grid):
    with pytest.raises(ValueError, match="needs 'b'"):
        grid.add([item("a"), item("c", "b")])
    assert sum(grid.counts().values()) == 0


def test_a_claim_can_be_kept_to_some_keys(grid):
    grid.add([item("a"), item("b"), item("c")])
    assert grid.claim("w", only={"b", "c"}).key == "b" and grid.counts({"a", "b"})["taken"] == 1
    assert grid.claim("w", only=set()) is None


def test_what_needs_a_failed_item_fails_because_of_it_and_can_be_tried_again(grid):
    grid.add([item("a", kind="train"), item("b", "a"), item("c", "b"), item("d")])
    grid.claim("w")
    assert grid.fail("a", "ValueError: no rows", "Traceback ...")
    assert finish_next(grid) == "d" and finish_next(grid) is None
    failures = grid.failures()
    assert [failure.key for failure in failures] == ["a", "b", "c"]
    assert failures[0].details == "Traceback ..." and failures[0].because is None
    assert {failure.error for failure in failures[1:]} == {"because train a failed: ValueError: no rows"}
    assert {failure.because for failure in failures[1:]} == {"a"}
    grid.add([item("later", "c")])
    assert grid.failures()[-1].error == "because train a failed: ValueError: no rows"
    assert grid.retry_failed() == 4 and not grid.failures()
    assert [finish_next(grid) for _ in range(5)] == ["a", "b", "c", "later", None]


def test_a_result_that_is_not_json_is_refused_and_the_item_still_held(grid):
    grid.add([item("a")])
    grid.claim("w")
    with pytest.raises(TypeError):
        grid.finish("a", {"x": object()}, 1.0)
    assert grid.finish("a", {"x": 1}, 1.0)


def test_what_was_not_claimed_cannot_be_finished(grid):
    grid.add([item("a")])
    with pytest.raises(ValueError, match="claim it first"):
        grid.finish("a", {}, 1.0)


def test_a_closed_grid_gives_back_what_it_held(tmp_path):
    with Grid.open(tmp_path) as first:
        first.add([item("a")])
        first.claim("one")
        with Grid.open(tmp_path) as second:
            assert second.claim("two") is None
    with Grid.open(tmp_path) as third:
        assert third.claim("three").key == "a"


def test_a_silent_worker_loses_its_item_and_cannot_overwrite_the_result(tmp_path):
    slow, quick = Grid.open(tmp_path, lease=0.1), Grid.open(tmp_path)
    slow._keep_leases = lambda: None  # as if the process hung
    slow.add([item("a")])
    slow.claim("slow")
    assert quick.claim("quick") is None
    time.sleep(0.15)
    assert quick.claim("quick").key == "a"
    assert slow.finish("a", {"by": "slow"}, 9.0) is False
    assert quick.finish("a", {"by": "quick"}, 1.0) is True
    (done,) = quick.results()
    assert (done.result, done.worker, done.computed, done.begun) == ({"by": "quick"}, "quick", 2, 2)
    slow.close()
    quick.close()


def test_a_working_process_keeps_its_item_longer_than_a_lease(tmp_path):
    with Grid.open(tmp_path, lease=0.3) as worker, Grid.open(tmp_path) as other:
        worker.add([item("a")])
        worker.claim("w")
        for _ in range(10):
            time.sleep(0.1)
            assert other.claim("other") is None
        assert worker.finish("a", {}, 1.0)


def test_a_worker_on_another_machine_is_known_by_its_lease_alone(tmp_path, monkeypatch):
    with Grid.open(tmp_path, lease=600) as grid:
        grid.add([item("a")])
        monkeypatch.setattr("prompt_hub.runs.leases.this_host", lambda: "elsewhere")
        grid.claim("far", pid=2**22 + 1)  # no process here has this id
        monkeypatch.undo()
        assert grid.claim("near") is None
        grid._connection.execute("UPDATE items SET until = ?", (time.time() - 1,))
        assert grid.claim("near").key == "a"


def worker_that(does: str, folder: Path) -> subprocess.Popen:
    code = (
        f"import sys, time\nfrom prompt_hub.runs.grid import Grid\ngrid = Grid.open({str(folder)!r})\n{does}"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_the_item_of_a_killed_process_is_claimed_again_at_once(grid, tmp_path):
    grid.add([item("a")])
    process = worker_that("grid.claim('dead'); print('claimed', flush=True); time.sleep(60)", tmp_path)
    assert process.stdout.readline() == "claimed\n"
    assert grid.claim("alive") is None and grid.left_undone_by(process.pid) == "a"
    process.kill()
    while (
        found := grid.claim("alive")
    ) is None:  # no wait(): a killed child that nobody asked for is gone too
        time.sleep(0.01)
    assert found.key == "a" and grid.finish("a", {}, 1.0)
    process.wait()
    assert (grid.results()[0].begun, grid.results()[0].computed) == (2, 1)


def test_an_item_that_nobody_alive_holds_can_be_failed_by_anyone(grid, tmp_path):
    grid.add([item("a"), item("b")])
    process = worker_that("grid.claim('dead'); print('claimed', flush=True); time.sleep(60)", tmp_path)
    process.stdout.readline()
    assert grid.fail("a", "it dies") is False
    process.kill()
    process.wait()
    assert grid.fail("a", "it dies") is True and grid.failures()[0].error == "it dies"


WORK = """
while (found := grid.claim(sys.argv[0])) is not None:
    started = time.time()
    time.sleep(0.01)
    grid.finish(found.key, {"square": found.work["n"] ** 2, "span": [started, time.time()]}, 0.01)
"""


@pytest.mark.slow
def test_processes_killed_at_random_moments_lose_nothing_and_repeat_only_what_they_were_at(tmp_path):
    chooser, kills = random.Random(0), 0
    with Grid.open(tmp_path) as grid:
        grid.add(Item(str(n), "square", {"n": n}, (str(n - 7),) if n >= 7 else ()) for n in range(300))
        while grid.counts()["done"] < 300:
            process = worker_that(WORK, tmp_path)
            try:
                process.wait(0.15 + 0.3 * chooser.random() if kills < 10 else 60)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        done = grid.results()
        intact = grid._connection.execute("PRAGMA integrity_check").fetchone()[0]
    assert kills >= 5 and intact == "ok"
    assert [(d.result["square"], d.computed) for d in done] == [(n * n, 1) for n in range(300)]
    assert sum(d.begun - 1 for d in done) <= kills


def test_two_processes_at_once_share_the_work(tmp_path):
    with Grid.open(tmp_path) as grid:
        grid.add(Item(str(n), "square", {"n": n}) for n in range(200))
    processes = [worker_that(WORK, tmp_path) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    with Grid.open(tmp_path) as grid:
        done = grid.results()
    assert [d.result["square"] for d in done] == [n * n for n in range(200)]
    assert {d.begun for d in done} == {1}


def test_threads_may_share_a_grid(grid):
    grid.add(item(str(n)) for n in range(60))
    done: list[str] = []

    def work() -> None:
        while (key := finish_next(grid)) is not None:
            done.append(key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done, key=int) == [str(n) for n in range(60)]


def test_many_processes_may_create_one_grid_at_once(tmp_path):
    processes = [worker_that("grid.close()", tmp_path / "new") for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4


@pytest.mark.parametrize(
    ("version", "age"), [(SCHEMA_VERSION - 1, "an older"), (SCHEMA_VERSION + 1, "a newer")]
)
def test_another_schema_is_refused_and_left_as_it_is(tmp_path, version, age):
    Grid.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(UserError, match=f"{age} version of Prompt Hub: schema {version}"):
        Grid.open(tmp_path)
    assert sqlite3.connect(tmp_path / FILE).execute("PRAGMA user_version").fetchone() == (version,)


def test_a_file_that_is_no_grid_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database " * 100)
    with pytest.raises(UserError, match="not a database"):
        Grid.open(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"not a database " * 100


def test_another_programs_database_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE items (x)")
    connection.close()
    with pytest.raises(UserError, match="another program"):
        Grid.open(tmp_path)


def test_a_file_cut_off_while_it_was_made_is_a_new_grid(tmp_path):
    (tmp_path / FILE).touch()
    with Grid.open(tmp_path) as grid:
        assert grid.add([item("a")]) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write to .*file/grid.*writable folder"):
        Grid.open(tmp_path / "file" / "grid")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="writable folder"):
        Grid.open(tmp_path / "locked")


def test_no_grid_is_made_where_one_is_only_to_be_read(tmp_path):
    with pytest.raises(UserError, match="holds no grid"):
        Grid.open(tmp_path, create=False)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error_for_people_and_costs_nothing_that_was_finished(grid, tmp_path):
    grid.add([item("a"), item("b")])
    finish_next(grid)
    grid.claim("w")
    pages = grid._connection.execute("PRAGMA page_count").fetchone()[0]
    grid._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UserError, match=r"grid.sqlite: database or disk is full. Make room"):
        grid.finish("b", {"answers": "x" * 100_000}, 1.0)
    with Grid.open(tmp_path) as other:
        assert [done.key for done in other.results()] == ["a"]
        assert other.claim("other") is None  # it is still held
    grid._connection.execute("PRAGMA max_page_count = 100000")
    assert grid.finish("b", {"answers": "x" * 100_000}, 1.0)
    assert [done.key for done in grid.results()] == ["a", "b"]
