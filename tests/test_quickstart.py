"""The tour: every step's numbers, the same numbers twice, nothing trained twice or in vain."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import succeeds

from prompt_hub.errors import UserError
from prompt_hub.quickstart import settings
from prompt_hub.quickstart.run import run_quickstart
from prompt_hub.quickstart.tour import Tour, prepare
from prompt_hub.tasks import get_task

TASKS = ("mini/film", "mini/kitchen", "mini/paraphrase_news")
SAMSUM = [
    {"dialogue": f"the dog runs {word}", "summary": f"the dog is {word}"} for word in ("red", "blue", "happy")
]


@pytest.fixture(autouse=True, scope="module")
def small():
    """A tour of a second instead of minutes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TRAIN_ROWS": 60, "EVAL_ROWS": 30, "HOLD_OUT": 6, "PROMPT_LEN": 4}.items():
            patch.setattr(settings, name, value)
        patch.setattr(settings, "WARM_STEPS", (1, 2, 50))
        yield


@pytest.fixture(scope="module")
def prepared(tiny_folder):
    """``prepared(folder)``: a tour on a tiny backbone."""

    def get(folder: Path, tasks=TASKS, *, kind="gpt2", steps=4, **more) -> Tour:
        return prepare(str(tiny_folder(kind)), tasks, folder, steps=steps, device="cpu", **more)

    return get


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tour") / "out"


@pytest.fixture(scope="module")
def results(prepared, folder) -> dict[str, Any]:
    return run_quickstart(prepared(folder))


def numbers(value: Any) -> Any:
    """Results without times and places."""
    if isinstance(value, dict):
        left_out = ("seconds", "prompt", "figure", "next", "init")
        return {name: numbers(item) for name, item in value.items() if name not in left_out}
    return [numbers(item) for item in value] if isinstance(value, list) else value


def test_every_task_is_scored_beside_its_floors(results):
    assert list(results["training"]["tasks"]) == list(TASKS)
    for found in results["training"]["tasks"].values():
        assert found["n"] == 30 and found["steps"] == 4
        assert set(found["floors"]) == {"majority", "no_prompt", "random_prompt"}
        low, high = found["ci95"]["accuracy"]
        assert low <= found["metrics"]["accuracy"] <= high


def test_every_prompt_is_used_on_every_other_task(results):
    found = results["transfer"]
    assert {(pair["source"], pair["target"]) for pair in found["pairs"]} == {
        (source, target) for source in TASKS for target in TASKS if source != target
    }
    alike = {(pair["source"], pair["target"]) for pair in found["pairs"] if pair["same_type"]}
    assert alike == {TASKS[:2], TASKS[1::-1]}
    assert found["same_type"]["pairs"] == 2 and found["different_type"]["pairs"] == 4


def test_relative_performance_is_the_score_by_that_of_the_targets_own_prompt(results):
    own = {name: found["metrics"]["accuracy"] for name, found in results["training"]["tasks"].items()}
    for pair in results["transfer"]["pairs"]:
        assert pair["own"] == own[pair["target"]]
        assert pair["relative"] == pytest.approx(pair["score"] / own[pair["target"]])


def test_a_warm_start_and_a_start_from_scratch_have_the_same_few_steps(results):
    found = results["warm_start"]
    assert (found["source"], found["target"]) == TASKS[:2]
    for points in found["scores"].values():
        assert [point["steps"] for point in points] == [1, 2]
    zero_shot = next(
        pair for pair in results["transfer"]["pairs"] if (pair["source"], pair["target"]) == TASKS[:2]
    )
    assert found["zero_shot"] == zero_shot["score"]


def test_numbers_figures_and_prompts_lie_in_the_folder(results, folder):
    assert json.loads((folder / "quickstart.json").read_text()) == json.loads(json.dumps(results))
    assert results["status"] == "done"
    for figure in ("scores.png", "transfer.png", "warm_start.png"):
        assert (folder / figure).read_bytes().startswith(b"\x89PNG")
    for task in TASKS:
        assert (folder / "prompts" / task / "prompt_hub.json").is_file()


def test_two_fresh_tours_give_the_same_numbers(results, prepared, tmp_path):
    again = run_quickstart(prepared(tmp_path / "again"))
    assert numbers(json.loads(json.dumps(again))) == numbers(json.loads(json.dumps(results)))


def test_the_same_tour_again_trains_nothing(results, prepared, folder, monkeypatch):
    from prompt_hub.training.trainer import PromptTrainer

    def train(self, *arguments, **options):
        raise AssertionError("a finished prompt is trained again")

    monkeypatch.setattr(PromptTrainer, "train", train)
    again = run_quickstart(prepared(folder))
    assert numbers(json.loads(json.dumps(again))) == numbers(json.loads(json.dumps(results)))


def test_other_settings_into_the_same_folder_train_anew(prepared, tmp_path):
    folder = tmp_path / "out"
    run_quickstart(prepared(folder, TASKS[:2], steps=2))
    changed = run_quickstart(prepared(folder, TASKS[:2], steps=3))
    fresh = run_quickstart(prepared(tmp_path / "fresh", TASKS[:2], steps=3))
    assert numbers(json.loads(json.dumps(changed))) == numbers(json.loads(json.dumps(fresh)))


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [TASKS[:1], TASKS[2:]])
def test_the_commands_it_ends_with_run_as_printed(tasks, prepared, tmp_path):
    found = run_quickstart(prepared(tmp_path / "with space", tasks, kind="roberta", steps=2))
    assert len(found["next"]) == 3
    for line in found["next"]:
        name, *arguments = shlex.split(line)
        assert name == "prompt-hub"
        succeeds(*arguments)
    assert (tmp_path / "with space" / "own" / "prompt_hub.json").is_file()


def test_one_task_has_no_transfer_and_two_types_no_warm_start(prepared, tmp_path):
    alone = run_quickstart(prepared(tmp_path / "one", TASKS[:1], steps=1))
    assert alone["transfer"] is None and alone["warm_start"] is None
    two = run_quickstart(prepared(tmp_path / "two", TASKS[1:], steps=1))
    assert two["transfer"]["same_type"]["pairs"] == 0 and two["transfer"]["same_type"]["relative"] is None
    assert two["warm_start"] is None


def test_tasks_that_generate_text_stay_among_themselves(prepared, tmp_path):
    data = tmp_path / "data"
    for split in ("train", "validation"):
        (data / "samsum").mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row) for row in SAMSUM * 4)
        (data / "samsum" / f"{split}.jsonl").write_text("\n".join(lines))
    tour = prepared(tmp_path / "out", ("mini/film", "samsum", "mini/kitchen"), steps=1, data_dir=data)
    found = run_quickstart(tour)
    pairs = {(pair["source"], pair["target"]) for pair in found["transfer"]["pairs"]}
    assert pairs == {("mini/film", "mini/kitchen"), ("mini/kitchen", "mini/film")}
    assert found["training"]["tasks"]["samsum"]["primary_metric"] == get_task("samsum").metrics[0]


def test_rows_that_a_prompt_was_trained_on_do_not_count_in_its_transfer(prepared, tmp_path):
    rows = [{"text_a": f"the film was {index} good", "label": index % 2} for index in range(40)]
    places = {"sst2": (rows[:30], rows[30:36]), "rotten_tomatoes": (rows[30:], rows[25:33])}
    for task, parts in places.items():
        (tmp_path / "data" / task).mkdir(parents=True)
        for split, part in zip(("train", "validation"), parts, strict=True):
            (tmp_path / "data" / task / f"{split}.jsonl").write_text("\n".join(map(json.dumps, part)))
    tour = prepared(tmp_path / "out", tuple(places), steps=1, data_dir=tmp_path / "data")
    found = run_quickstart(tour)["transfer"]
    assert [(pair["removed_overlap"], pair["n"]) for pair in found["pairs"]] == [(5, 3)]
    assert found["without_rows"] == [["rotten_tomatoes", "sst2"]]


@pytest.mark.parametrize(
    ("tasks", "kind", "says"),
    [
        (("mini/film", "mini/flim"), "gpt2", "Did you mean 'mini/film'"),
        (("mini/film", "samsum"), "roberta", "causal"),
        ((), "gpt2", "--tasks"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(tasks, kind, says, prepared, tmp_path):
    with pytest.raises(UserError, match=says):
        prepared(tmp_path / "out", tasks, kind=kind)
    assert not (tmp_path / "out").exists()


def test_an_unknown_backbone_and_a_folder_with_other_files_are_refused(tmp_path, prepared):
    with pytest.raises(UserError, match="no-such-model"):
        prepare("./no-such-model", TASKS, tmp_path / "out")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        prepared(tmp_path)
