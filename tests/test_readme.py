"""The README's examples run as printed, in their order, on small backbones under the names printed there."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from printed_code import ROOT, Session, blocks, environment, run
from tiny_models import build

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(ROOT / "README.md")
WORDS = "the film was good bad great awful plot actor scene story boring lovely what a".split()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """What the README takes for granted: data, files of one's own, backbones by those names."""
    folder = tmp_path_factory.mktemp("readme")
    chooser = random.Random(2)

    def text() -> str:
        return " ".join(chooser.choices(WORDS, k=chooser.randint(3, 9)))

    for task in ("sst2", "rotten_tomatoes"):
        (folder / "data" / task).mkdir(parents=True)
        for split, count in (("train", 64), ("validation", 24)):
            rows = [json.dumps({"text_a": text(), "label": index % 2}) for index in range(count)]
            (folder / "data" / task / f"{split}.jsonl").write_text("\n".join(rows))
    for name, count in (("my.csv", 64), ("another.csv", 24)):
        rows = [f'"{text()}",{1 + index % 2}' for index in range(count)]
        (folder / name).write_text("review,stars\n" + "\n".join(rows) + "\n")
    for name in ("moods.csv", "more-moods.csv"):
        moods = [f'"{text()}",{"happy" if index % 2 else "angry"}' for index in range(48)]
        (folder / name).write_text("text,mood\n" + "\n".join(moods) + "\n")
    np.save(folder / "prompt.npy", np.random.default_rng(0).normal(size=(6, 32)).astype(np.float32))
    for name in ("SST2PromptRoberta", "IMDBPromptRoberta"):
        (folder / "task_prompt_emb" / name).mkdir(parents=True)
        torch.save(torch.randn(100, 32), folder / "task_prompt_emb" / name / "task_prompt")
    tasks = [f"task_{number}" for number in range(4)]
    np.savez(folder / "prompts.npz", **{task: np.random.rand(6, 32).astype(np.float32) for task in tasks})
    cells = [",".join([task, *(f"{chooser.random():.3f}" for _ in tasks)]) for task in tasks]
    (folder / "zero_shot.csv").write_text("\n".join([",".join(["target", *tasks]), *cells]))
    for name, kind in (("roberta-base", "roberta"), ("roberta-large", "roberta"), ("smollm2-135m", "llama")):
        build(kind, folder / "models" / name, positions=256)
    shutil.copytree(ROOT / "example", folder / "example")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "bash"])
def test_the_readmes_commands_run_as_printed(code, world, monkeypatch):
    Session(world, world / "data", world / "models", monkeypatch).bash(code)


@pytest.mark.slow
def test_the_readmes_python_runs_as_printed_from_top_to_bottom(world):
    code = "".join(code for language, code in BLOCKS if language == "python")
    run("python", code, world, environment(world / "data", world / "models"))


def test_the_readme_names_the_two_commands_and_only_files_that_exist():
    assert "make quickstart" in README and "make test" in README
    for link in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_there_is_something_to_run():
    assert len([code for language, code in BLOCKS if language == "bash"]) >= 4
    assert len([code for language, code in BLOCKS if language == "python"]) >= 4
