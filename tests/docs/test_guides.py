"""What the first page and the guides print runs as printed, page after page, in one folder."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from printed_code import ROOT, Session, blocks
from tiny_models import build

DOCS = ROOT / "docs"
PAGES = [
    DOCS / "index.md",
    *(DOCS / "guides" / f"{name}.md" for name in (
        "own-data", "own-model", "choosing-a-source", "many-machines", "serving",
    )),
]  # fmt: skip
WORDS = "the film was good bad great awful plot actor scene story boring lovely what a".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the guides take for granted: two files of one's own, and two models in folders."""
    here = tmp_path_factory.mktemp("guides")
    (here / "data").mkdir()
    chooser = random.Random(4)
    for name, count in (("my.csv", 64), ("another.csv", 24)):
        rows = [f'"{" ".join(chooser.choices(WORDS, k=6))}",{1 + index % 2}' for index in range(count)]
        (here / name).write_text("review,stars\n" + "\n".join(rows) + "\n")
    build("roberta", here / "models" / "roberta-base", positions=256)
    build("llama", here / "our-backbone", positions=256)
    return here


@pytest.mark.slow
def test_the_first_page_and_the_guides_run_as_printed(folder, monkeypatch):
    session = Session(folder, folder / "data", folder / "models", monkeypatch)
    said = {}
    for page in PAGES:
        for language, code in blocks(page):
            out = (session.bash if language == "bash" else session.python)(code)
            said.setdefault(page.stem, []).append(out)

    assert said["index"][-1].startswith("great\t")
    assert session["backbone"].family == "masked_lm"
    # The lines of the guide that use transformers alone give what Prompt Hub gives.
    prompt, backbone, inputs = session["prompt"], session["loaded"], session["inputs"]
    assert inputs.shape == (prompt.shape[0] + session["ids"].shape[1], backbone.identity.hidden)
    ours = session.bash("echo 'i found the story careless.' | prompt-hub predict runs/film-gpt2 --json")
    told = json.loads(ours)["predictions"][0]["probabilities"]
    words = session["words"]
    assert max(words, key=words.get).strip() == max(told, key=told.get)
