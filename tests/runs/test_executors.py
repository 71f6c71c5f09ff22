"""The work of a grid is done whatever happens to its workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prompt_hub.errors import UserError
from prompt_hub.runs.executors import run_here
from prompt_hub.runs.grid import Grid, Item
from prompt_hub.runs.work import thread_settings

SQUARES = "small_workers:squares"


@pytest.fixture(autouse=True)
def _workers_are_found(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def fill(folder: Path, count: int) -> None:
    with Grid.open(folder) as grid:
        grid.add(Item(str(n), "square", {"n": n}) for n in range(count))


def done_in(folder: Path) -> dict[str, int]:
    with Grid.open(folder, create=False) as grid:
        return {done.key: done.result["square"] for done in grid.results()}


def squares_of(numbers) -> dict[str, int]:
    return {str(n): n * n for n in numbers}


def counted(folder: Path, what: str) -> int:
    return len(list(folder.glob(f"{what}-*")))


def context(folder: Path, **more) -> dict:
    return {"folder": str(folder), **more}


def test_one_job_works_in_this_process_and_is_set_up_once(tmp_path):
    fill(tmp_path, 5)
    run_here(tmp_path, SQUARES, context(tmp_path), 1)
    assert done_in(tmp_path) == squares_of(range(5)) and counted(tmp_path, "made") == 1
    with Grid.open(tmp_path) as grid:
        assert {done.result["pid"] for done in grid.results()} == {os.getpid()}


def test_several_jobs_share_the_work_and_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("prompt_hub.runs.executors.cores", lambda: 7)
    fill(tmp_path, 12)
    run_here(tmp_path, SQUARES, context(tmp_path, seconds=0.1), 2)
    assert done_in(tmp_path) == squares_of(range(12)) and counted(tmp_path, "did") == 12
    with Grid.open(tmp_path) as grid:
        done = grid.results()
    assert len({d.result["pid"] for d in done} - {os.getpid()}) == counted(tmp_path, "made") == 2
    assert {d.result["threads"] for d in done} == {"3"}


@pytest.mark.parametrize(("asked", "threads"), [(None, "4"), ("2", "2"), ("16", "4")])
def test_a_worker_takes_its_share_of_the_cores_or_what_the_user_asked_for(monkeypatch, asked, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert thread_settings(2, 8)["OMP_NUM_THREADS"] == threads
    assert thread_settings(8, 2)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_item_that_fails_is_recorded_and_stops_nothing(tmp_path, jobs):
    fill(tmp_path, 6)
    more = {"fails_at": [1], "refuses": [3], "not_json_at": [4]}
    run_here(tmp_path, SQUARES, context(tmp_path, **more), jobs)
    assert done_in(tmp_path) == squares_of([0, 2, 5])
    with Grid.open(tmp_path) as grid:
        first, second, third = grid.failures()
        assert first.error == "ValueError: 1 is not wanted" and "small_workers.py" in first.details
        assert second.error == "3 is refused" and "not JSON serializable" in third.error
        grid.retry_failed(only={"1"})
    run_here(tmp_path, SQUARES, context(tmp_path), jobs)
    assert done_in(tmp_path) == squares_of([0, 1, 2, 5])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_that_cannot_be_set_up_is_an_error_and_blames_no_item(tmp_path, jobs):
    fill(tmp_path, 3)
    with pytest.raises(UserError, match="Backbone 'x' is not there"):
        run_here(tmp_path, "small_workers:unable", {}, jobs)
    with pytest.raises((KeyError, RuntimeError), match="model"):
        run_here(tmp_path, "small_workers:broken", {}, jobs)
    with Grid.open(tmp_path) as grid:
        assert grid.counts() == {"open": 3, "taken": 0, "done": 0, "failed": 0}


def test_nothing_is_set_up_where_nothing_is_open(tmp_path):
    fill(tmp_path, 2)
    run_here(tmp_path, SQUARES, context(tmp_path), 1)
    for jobs in (1, 2):
        run_here(tmp_path, "small_workers:unable", {}, jobs)


def test_only_the_named_items_are_done(tmp_path):
    fill(tmp_path, 5)
    run_here(tmp_path, SQUARES, context(tmp_path), 1, only={"2", "4"})
    assert done_in(tmp_path) == squares_of([2, 4])


def test_items_that_nobody_will_make_ready_are_not_waited_for(tmp_path):
    with Grid.open(tmp_path) as grid:
        grid.add([Item("first", "square", {"n": 1}), Item("second", "square", {"n": 2}, ("first",))])
    run_here(tmp_path, SQUARES, context(tmp_path), 1, only={"second"})
    assert done_in(tmp_path) == {}


def test_no_jobs_are_refused(tmp_path):
    with pytest.raises(UserError, match="number of jobs is 0"):
        run_here(tmp_path, SQUARES, {}, 0)


def test_the_item_of_a_killed_worker_is_done_by_another(tmp_path):
    fill(tmp_path, 6)
    run_here(tmp_path, SQUARES, context(tmp_path, dies_at=[2], once=True), 2)
    assert done_in(tmp_path) == squares_of(range(6))
    assert counted(tmp_path, "did") == 7


def test_an_item_that_kills_every_worker_fails_and_the_rest_is_done(tmp_path):
    fill(tmp_path, 6)
    run_here(tmp_path, SQUARES, context(tmp_path, dies_at=[2]), 2)
    assert done_in(tmp_path) == squares_of([0, 1, 3, 4, 5])
    with Grid.open(tmp_path) as grid:
        (failure,) = grid.failures()
    assert failure.key == "2" and "ended while at it (signal SIGKILL)" in failure.error


def test_workers_that_die_in_their_set_up_fail_the_item_that_they_took_up(tmp_path):
    fill(tmp_path, 2)
    run_here(tmp_path, "small_workers:dead", {}, 2)
    with Grid.open(tmp_path) as grid:
        assert grid.counts()["failed"] == 2


def command(folder: Path, jobs: int, seconds: float) -> subprocess.Popen:
    # A shell that started the tests in the background may have had them ignore Ctrl-C.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from prompt_hub.runs.executors import run_here\n"
        f"run_here({str(folder)!r}, {SQUARES!r}, {context(folder, seconds=seconds)!r}, {jobs})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_command_killed_at_random_moments_goes_on_and_repeats_only_what_it_was_at(tmp_path, jobs):
    fill(tmp_path, 60)
    chooser, kills = random.Random(jobs), 0
    while len(done_in(tmp_path)) < 60:
        before = counted(tmp_path, "did")
        process = command(tmp_path, jobs, 0.02)
        if kills < 5:
            wait_for(lambda b=before, p=process: counted(tmp_path, "did") > b or p.poll() is not None)
            time.sleep(0.2 * chooser.random())
            process.kill()
            kills += 1
        assert process.wait(60) in (0, -signal.SIGKILL)
        process.stderr.close()
    assert done_in(tmp_path) == squares_of(range(60))
    with Grid.open(tmp_path) as grid:
        done = grid.results()
    assert {d.computed for d in done} == {1}
    assert 60 <= counted(tmp_path, "did") <= sum(d.begun for d in done) <= 60 + kills * jobs


def test_two_commands_at_once_share_the_work(tmp_path):
    fill(tmp_path, 30)
    processes = [command(tmp_path, 1, 0.05) for _ in range(2)]
    for process in processes:
        assert process.wait(60) == 0
        process.stderr.close()
    assert done_in(tmp_path) == squares_of(range(30))
    assert counted(tmp_path, "did") == 30 and counted(tmp_path, "made") == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_the_workers_and_opens_what_they_were_at(tmp_path, jobs):
    fill(tmp_path, 10)
    process = command(tmp_path, jobs, 30)
    wait_for(lambda: counted(tmp_path, "did") == jobs)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (
        process.returncode != 0
        and said.count("Traceback") == 1
        and said.rstrip().endswith("KeyboardInterrupt")
    )
    with Grid.open(tmp_path) as grid:
        assert grid.counts() == {"open": 10, "taken": 0, "done": 0, "failed": 0}


def test_workers_end_when_their_command_is_killed(tmp_path):
    fill(tmp_path, 10)
    process = command(tmp_path, 2, 30)
    wait_for(lambda: counted(tmp_path, "did") == 2)
    process.kill()
    process.communicate(timeout=20)
    with Grid.open(tmp_path) as grid:
        wait_for(lambda: grid.counts()["taken"] == 0, 20)


def test_a_full_disk_ends_the_command_and_what_was_finished_stays(tmp_path, monkeypatch):
    fill(tmp_path, 3)
    finish = Grid.finish

    def full_at_the_second(grid, key, result, seconds):
        if key == "1":
            grid._connection.execute("PRAGMA max_page_count = 1")
            result = {**result, "answers": "x" * 100_000}
        return finish(grid, key, result, seconds)

    monkeypatch.setattr(Grid, "finish", full_at_the_second)
    with pytest.raises(UserError, match=r"disk is full\. Make room and run the same command again"):
        run_here(tmp_path, SQUARES, context(tmp_path), 1)
    monkeypatch.undo()
    assert done_in(tmp_path) == squares_of([0])
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    run_here(tmp_path, SQUARES, context(tmp_path), 1)
    assert done_in(tmp_path) == squares_of(range(3)) and counted(tmp_path, "did") == 4


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_follows_from_results_is_done_by_the_same_workers(tmp_path, jobs):
    fill(tmp_path, 4)
    rounds = []

    def then() -> set[str]:
        with Grid.open(tmp_path) as grid:
            assert grid.counts()["open"] == grid.counts()["taken"] == 0
            last = [int(key) for key in (rounds[-1] if rounds else {"0"})]
            new = {str(max(last) + 10 * step): max(last) + 10 * step for step in (1, 2)}
            rounds.append(set(new) if len(rounds) < 3 else set())
            grid.add(Item(key, "square", {"n": n}) for key, n in new.items() if rounds[-1])
        return rounds[-1]

    run_here(tmp_path, SQUARES, context(tmp_path, seconds=0.05), jobs, only={"0", "1", "2", "3"}, then=then)
    assert done_in(tmp_path) == squares_of([0, 1, 2, 3, 10, 20, 30, 40, 50, 60])
    assert rounds[-1] == set() and len(rounds) == 4 and counted(tmp_path, "made") == jobs


def test_workers_that_die_in_a_later_round_are_replaced(tmp_path):
    fill(tmp_path, 4)
    rounds = [{"4", "5"}, set()]

    def then() -> set[str]:
        with Grid.open(tmp_path) as grid:
            grid.add(Item(key, "square", {"n": int(key)}) for key in rounds[0])
        return rounds.pop(0)

    asked = context(tmp_path, seconds=0.2, dies_at=[4, 5], once=True)
    run_here(tmp_path, SQUARES, asked, 2, only=set("0123"), then=then)
    assert done_in(tmp_path) == squares_of(range(6)) and counted(tmp_path, "made") >= 3
