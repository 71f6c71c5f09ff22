"""The same contract on a Ray cluster; here a local one with two workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from prompt_hub.errors import UserError
from prompt_hub.runs.executors import run_on_ray
from prompt_hub.runs.grid import Grid, Item

SQUARES = "small_workers:squares"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra 'ray')")


def fill(folder: Path, count: int) -> None:
    with Grid.open(folder) as grid:
        grid.add(Item(str(n), "square", {"n": n}, (str(n - 2),) if n >= 2 else ()) for n in range(count))


def squares_in(folder: Path) -> dict[str, int]:
    with Grid.open(folder, create=False) as grid:
        return {done.key: done.result["square"] for done in grid.results()}


def squares_of(numbers) -> dict[str, int]:
    return {str(n): n * n for n in numbers}


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine, started once for the tests of this file."""
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *(path for path in sys.path if path)])
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    sys.path.remove(here)
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def test_without_ray_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'prompt-hub\[ray\]'"):
        run_on_ray(tmp_path, SQUARES, {}, 2)


def test_no_jobs_are_refused(tmp_path):
    with pytest.raises(UserError, match="number of jobs is -1"):
        run_on_ray(tmp_path, SQUARES, {}, -1)


@needs_ray
@pytest.mark.slow
def test_two_actors_share_the_work_and_are_set_up_once_each(tmp_path, cluster):
    fill(tmp_path, 12)
    run_on_ray(tmp_path, SQUARES, {"folder": str(tmp_path), "seconds": 0.2}, 2)
    assert squares_in(tmp_path) == squares_of(range(12))
    with Grid.open(tmp_path) as grid:
        done = grid.results()
    assert len({d.result["pid"] for d in done} - {os.getpid()}) == len(list(tmp_path.glob("made-*"))) == 2
    assert {(d.begun, d.computed, d.result["threads"]) for d in done} == {(1, 1, "1")}


@needs_ray
@pytest.mark.slow
def test_what_follows_from_results_is_done_by_the_same_actors(tmp_path, cluster):
    fill(tmp_path, 4)
    rounds = [{"4", "5"}, {"6", "7"}, set()]

    def then() -> set[str]:
        with Grid.open(tmp_path) as grid:
            assert grid.counts()["open"] == grid.counts()["taken"] == 0
            grid.add(Item(key, "square", {"n": int(key)}) for key in rounds[0])
        return rounds.pop(0)

    run_on_ray(tmp_path, SQUARES, {"folder": str(tmp_path), "seconds": 0.2}, 2, only=set("0123"), then=then)
    assert squares_in(tmp_path) == squares_of(range(8)) and rounds == []
    assert len(list(tmp_path.glob("made-*"))) == 2


@needs_ray
@pytest.mark.slow
def test_failing_items_on_ray_are_recorded_and_stop_nothing(tmp_path, cluster):
    fill(tmp_path, 6)
    run_on_ray(tmp_path, SQUARES, {"folder": str(tmp_path), "fails_at": [3], "not_json_at": [4]}, 2)
    assert squares_in(tmp_path) == squares_of([0, 1, 2])
    with Grid.open(tmp_path) as grid:
        errors = {failure.key: failure.error for failure in grid.failures()}
    assert errors["3"] == "ValueError: 3 is not wanted" and "not JSON serializable" in errors["4"]
    assert errors["5"] == "because square 3 failed: ValueError: 3 is not wanted"


@needs_ray
@pytest.mark.slow
def test_the_item_of_a_killed_actor_is_done_by_another(tmp_path, cluster):
    fill(tmp_path, 6)
    run_on_ray(tmp_path, SQUARES, {"folder": str(tmp_path), "dies_at": [2], "once": True}, 2)
    assert squares_in(tmp_path) == squares_of(range(6))


@needs_ray
@pytest.mark.slow
def test_an_item_that_kills_every_actor_fails(tmp_path, cluster):
    fill(tmp_path, 4)
    run_on_ray(tmp_path, SQUARES, {"folder": str(tmp_path), "dies_at": [3]}, 2)
    assert squares_in(tmp_path) == squares_of(range(3))
    with Grid.open(tmp_path) as grid:
        assert "ended while at it" in grid.failures()[0].error


@needs_ray
@pytest.mark.slow
def test_an_actor_that_cannot_be_set_up_is_an_error_and_blames_no_item(tmp_path, cluster):
    fill(tmp_path, 3)
    with pytest.raises(UserError, match="Backbone 'x' is not there"):
        run_on_ray(tmp_path, "small_workers:unable", {}, 2)
    with Grid.open(tmp_path) as grid:
        assert grid.counts()["open"] == 3


def command(folder: Path, seconds: float, address: str | None = None) -> subprocess.Popen:
    code = (
        "from prompt_hub.runs.executors import run_on_ray\n"
        f"context = {{'folder': {str(folder)!r}, 'seconds': {seconds}}}\n"
        f"run_on_ray({str(folder)!r}, {SQUARES!r}, context, 2, address={address!r})"
    )
    here = os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": here},
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_ray
@pytest.mark.slow
def test_a_killed_command_on_a_cluster_goes_on(tmp_path, cluster):
    fill(tmp_path, 10)
    address = cluster.get_runtime_context().gcs_address
    process = command(tmp_path, 0.3, address)
    while len(squares_in(tmp_path)) < 3 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert 3 <= len(squares_in(tmp_path)) < 10
    again = command(tmp_path, 0, address)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert squares_in(tmp_path) == squares_of(range(10))
    with Grid.open(tmp_path) as grid:
        assert {done.computed for done in grid.results()} == {1}


@needs_ray
@pytest.mark.slow
def test_without_an_address_a_cluster_is_started_and_ended(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    fill(tmp_path, 4)
    process = command(tmp_path, 0)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert squares_in(tmp_path) == squares_of(range(4))


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named(tmp_path):
    fill(tmp_path, 4)
    process = command(tmp_path, 0, "127.0.0.1:1")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "UserError: No Ray cluster can be reached at '127.0.0.1:1'" in said


LOSES_A_NODE = """
import threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
from prompt_hub.runs.executors import run_on_ray
from prompt_hub.runs.grid import Grid

folder = Path({folder!r})
cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1}})
other = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()

def lose():
    while True:
        with Grid.open(folder, create=False) as grid:
            if len({{done.result["pid"] for done in grid.results()}}) == 2:  # both nodes are at work
                break
        time.sleep(0.05)
    cluster.remove_node(other, allow_graceful=False)
    (folder / "lost").touch()

threading.Thread(target=lose, daemon=True).start()
run_on_ray(folder, {factory!r}, {{"folder": str(folder), "seconds": 0.4}}, 2, address=cluster.address)
cluster.shutdown()
"""


@needs_ray
@pytest.mark.slow
def test_a_cluster_of_two_machines_that_loses_one_ends_with_the_full_grid(tmp_path):
    fill(tmp_path, 24)
    here = os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)])
    done = subprocess.run(
        [sys.executable, "-c", LOSES_A_NODE.format(folder=str(tmp_path), factory=SQUARES)],
        env={**os.environ, "PYTHONPATH": here}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "lost").exists() and squares_in(tmp_path) == squares_of(range(24))
    with Grid.open(tmp_path) as grid:
        results = grid.results()
    # What the lost machine was at was begun twice, and nothing was computed twice.
    assert max(each.begun for each in results) == 2 and {each.computed for each in results} == {1}
