"""Recipes are data that become commands; the commands that come out exist and run."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import call, refuses, succeeds
from typer.main import get_command

import prompt_hub
from prompt_hub.cli.main import app
from prompt_hub.experiments import SCALES, commands, load_recipe, recipe_names
from prompt_hub.tasks import get_task

GIVEN = {"out": "OUT", "data": {"data-dir": "data"}, "device": {}}
EVERY = [(name, scale) for name in recipe_names() for scale in SCALES]


def parsed(arguments: list[str]) -> dict[str, object]:
    """What the command line makes of a command, without running it."""
    command, words = get_command(app), list(arguments)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    return command.make_context(" ".join(arguments[:2]), words, resilient_parsing=False).params


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_command_of_every_recipe_is_one_that_the_command_line_takes(name, scale):
    found = commands(load_recipe(name), scale, GIVEN)
    assert found
    for command in found:
        params = parsed(command)
        for option in ("task", "tasks", "unseen"):
            for task in str(params.get(option) or "").split(","):
                assert not task or get_task(task).name == task
        assert not any("{" in word for word in command), command
    outputs = [str(parsed(command).get("output")) for command in found]
    written = [place for place in outputs if place != "None"]
    assert len(set(written)) == len(written), "two steps would write over each other"


def test_a_recipe_becomes_the_commands_somebody_would_type():
    found = [shlex.join(command) for command in commands(load_recipe("neurons"), "mini", GIVEN)]
    assert found[0] == (
        "train --resume --backbone mini-gpt2 --task mini/film --seed 42 --prompt-len 16 --max-steps 150 "
        "--limit-eval 300 --data-dir data --output OUT/mini-gpt2/sources/mini--film"
    )
    assert len(found) == 2 * 2 + 2 * 2  # backbones x tasks trained, backbones x prompts masked


def test_recipes_share_the_matrix_that_both_need():
    first = commands(load_recipe("zero-shot"), "mini", GIVEN)[0]
    assert first in commands(load_recipe("indicators"), "mini", GIVEN)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A recipe of one's own, of commands that take a second: it imports two prompts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(prompt_hub.__file__).parents[1]))
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.ones((4, 8), dtype=np.float32))
    (tmp_path / "own.yaml").write_text(RECIPE)
    return tmp_path


RECIPE = """
title: Two prompts
steps:
  - run: prompts import {prompt}.npy --family masked_lm --output {out}/{prompt}
    each: {prompt: prompts}
values:
  mini: {prompts: [a, b]}
"""


def test_what_is_done_is_not_done_again_unless_its_output_is_gone(own):
    first = succeeds("reproduce", "own.yaml", "--output", "out", "--json").json
    assert [step["earlier"] for step in first["steps"]] == [False, False]
    assert (own / "out" / "a" / "prompt_hub.json").exists()
    again = succeeds("reproduce", "own.yaml", "--output", "out", "--json").json
    assert [step["earlier"] for step in again["steps"]] == [True, True]
    shutil.rmtree(own / "out" / "a")
    third = succeeds("reproduce", "own.yaml", "--output", "out", "--quiet", "--json").json
    assert [step["earlier"] for step in third["steps"]] == [False, True]
    record = json.loads((own / "out" / "own.json").read_text())
    assert record["status"] == "done" and len(record["result"]["steps"]) == 2


def test_a_command_that_fails_is_named_and_what_was_finished_is_kept(own):
    (own / "b.npy").write_text("no array")
    failed = call("reproduce", "own.yaml", "--output", "out", "--quiet")
    assert failed.code == 2 and failed.stdout == ""
    for said in (
        "Exit code 2 of: prompt-hub prompts import b.npy",
        "in no format that is read here",
        "is kept",
    ):
        assert said in failed.words
    shutil.copy(own / "a.npy", own / "b.npy")
    after = succeeds("reproduce", "own.yaml", "--output", "out", "--quiet", "--json").json
    assert [step["earlier"] for step in after["steps"]] == [True, False]


def test_a_dry_run_prints_the_commands_and_makes_nothing(own):
    printed = succeeds(
        "reproduce", "zero-shot", "--scale", "smollm", "--data-dir", "data", "--dry-run"
    ).stdout
    lines = printed.splitlines()
    assert lines[0].startswith("prompt-hub matrix --train --backbone smollm2-135m --tasks sst2,")
    assert all("--data-dir data" in line for line in lines if " show " not in line)
    assert not (own / "runs").exists()
    assert succeeds("reproduce", "--json").json["recipes"][0].keys() == {"name", "title", "claim"}


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("steps: []", ("'steps' must be a list",)),
        ("steps: [{run: tasks ls}]\nclaims: x", ("claims", "claim")),
        ("steps: [{run: 'tasks show {task}'}]", ("{task}", "stands for nothing", "tasks")),
        ("steps: [{run: tasks ls, each: {task: nothing}}]", ("'nothing'", "not a list")),
        ("steps: [{run: tasks ls}]\nvalues: {huge: {}}", ("Unknown scale 'huge'", "mini, paper, smollm")),
        (
            "steps: [{run: 'ls {a} {b}', each: {a: all, b: all}}]\n"
            f"values: {{mini: {{all: {[0] * 101}}}}}",
            ("more than 10,000 commands", "'all' and 'all'"),
        ),
        ("steps: [", ("is not a valid recipe",)),
    ],
)
def test_a_recipe_that_cannot_be_used_says_what_is_wrong(own, recipe, says):
    (own / "bad.yaml").write_text(recipe)
    refuses("reproduce", "bad.yaml", says=says)


def test_unknown_names_are_refused(own):
    refuses("reproduce", "zeroshot", says=("zeroshot", "zero-shot", ".yaml"))
    refuses("reproduce", "zero-shot", "--scale", "huge", says=("huge", "mini, paper, smollm"))
