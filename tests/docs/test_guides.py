"""What the first page and the guides print runs as printed, page after page, in one folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from printed_code import ROOT, Session, blocks
from prompt_hub.encoding.encoder import encode_split
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.evaluation.stored import fitting_encoder
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, Split, get_task
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
    for name in ("moods.csv", "more-moods.csv"):
        rows = [
            f'"{" ".join(chooser.choices(WORDS, k=7))}",{("angry", "happy")[index % 2]}'
            for index in range(32)
        ]
        (here / name).write_text("text,mood\n" + "\n".join(rows) + "\n")
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
    backbone, inputs = session["loaded"], session["inputs"]
    assert inputs.shape == (len(session["prompt"]) + session["ids"].shape[1], backbone.identity.hidden)
    stored = SoftPrompt.from_pretrained(folder / "runs" / "film-gpt2")
    encoder, _ = fitting_encoder(backbone, stored, get_task("mini/film"))
    encoded = encode_split(encoder, Split.of("asked", [Example(session["text"])], "the guide"))
    ours = label_scores(encoder, stored.embeddings, encoded, 1)[0]
    assert list(session["words"].values()) == pytest.approx(ours.tolist(), abs=1e-3)
