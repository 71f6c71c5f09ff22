"""``auto:FOLDER``: training starts from the prompt that scores best, and the record says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_sources import make_prompt, make_split, make_task, store

from prompt_hub.errors import UserError
from prompt_hub.prompts.collection import load_prompts
from prompt_hub.runs.records import Record
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt
from prompt_hub.transfer import rank
from prompt_hub.transfer.auto_start import auto_folder, with_start

ROWS = make_split(60)


@pytest.fixture
def folder(tiny, tmp_path):
    made = {f"p{seed}": make_prompt(tiny("roberta"), f"task{seed}", seed=seed) for seed in range(3)}
    return store(tmp_path / "prompts", **made)


def arguments(tmp_path: Path, **changes) -> PromptTrainingArguments:
    defaults = dict(output_dir=str(tmp_path / "o"), prompt_len=4, max_steps=2, use_cpu=True, seed=3)
    return PromptTrainingArguments(**{**defaults, **changes})


def test_the_start_is_the_first_of_the_ranking_by_score(tiny, folder, tmp_path):
    args, start = with_start(
        arguments(tmp_path, init=f"auto:{folder}"), tiny("roberta"), make_task(), ROWS, tmp_path / "run"
    )
    first = rank(make_task(), folder, backbone=tiny("roberta"), rows=ROWS, seed=3).iloc[0]
    assert args.init == f"prompt:{folder / first['prompt']}"
    assert (start["score"], start["n"], start["candidates"]) == (first["value"], 60, 3)
    assert len(start["runners_up"]) == 2 and max(start["runners_up"].values()) <= start["score"]


def test_record_and_prompt_say_what_was_chosen(tiny, folder, tmp_path):
    run = tmp_path / "run"
    args, start = with_start(
        arguments(tmp_path, init=f"auto:{folder}"), tiny("roberta"), make_task(), ROWS, run
    )
    result = train_prompt(tiny("roberta"), make_task(), ROWS, args, run, start=start)
    record = Record.load(run / "train.json")
    assert record.settings["start"] == start and record.settings["init"] == f"prompt:{start['place']}"
    parent = result.prompt.metadata.parent
    assert (parent["hash"], parent["chosen_by"]) == (start["hash"], "score")


def test_a_resumed_run_keeps_its_choice_though_the_folder_has_changed(tiny, folder, tmp_path):
    run, backbone = tmp_path / "run", tiny("roberta")
    args, start = with_start(arguments(tmp_path, init=f"auto:{folder}"), backbone, make_task(), ROWS, run)
    train_prompt(backbone, make_task(), ROWS, args, run, start=start)
    chosen = Path(start["place"])
    for name in load_prompts(folder).prompts:
        if folder / name != chosen:
            shutil.rmtree(folder / name)
    again, same = with_start(
        arguments(tmp_path, init=f"auto:{folder}"), backbone, make_task(), ROWS, run, resume=True
    )
    assert same == start and again.init == args.init
    finished = train_prompt(backbone, make_task(), ROWS, again, run, resume=True, start=same)
    assert finished.steps == 2
    fresh = with_start(arguments(tmp_path, init=f"auto:{folder}"), backbone, make_task(), ROWS, run)[1]
    assert fresh["candidates"] == 1


def test_other_initialisers_pass_as_they_are(tiny, tmp_path):
    args = arguments(tmp_path, init="vocab")
    assert with_start(args, tiny("roberta"), make_task(), ROWS, tmp_path) == (args, None)
    assert auto_folder(None) is None and auto_folder("text:auto pilot") is None


def test_an_auto_start_without_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="Write it as auto:FOLDER"):
        auto_folder("auto")
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        auto_folder(f"auto:{tmp_path / 'nowhere'}")
