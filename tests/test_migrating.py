"""``docs/migrating.md``: every call that it names as the one to use here is run, in the order of the page."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import torch

from printed_code import ROOT, Session, blocks
from prompt_hub.prompts.soft_prompt import SoftPrompt
from tiny_models import build

PAGE = ROOT / "docs" / "migrating.md"
WORDS = "the film was good bad great awful plot actor scene story boring lovely what a".split()
MODELS = {"roberta-base": "roberta", "t5-base": "t5", "gpt2": "gpt2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What somebody has who comes from the old code: its checkpoints and prompts, data, backbones."""
    here = tmp_path_factory.mktemp("old")
    chooser = random.Random(3)
    for task in ("sst2", "rotten_tomatoes", "imdb", "tweeteval_sentiment"):
        (here / "data" / task).mkdir(parents=True)
        for split, count in (("train", 40), ("validation", 24)):
            texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(4, 9))) for _ in range(count)]
            rows = [json.dumps({"text_a": text, "label": index % 2}) for index, text in enumerate(texts)]
            (here / "data" / task / f"{split}.jsonl").write_text("\n".join(rows))
    for name, kind in MODELS.items():
        build(kind, here / "models" / name, positions=256)
    torch.manual_seed(0)
    for name in ("SST2PromptRoberta", "IMDBPromptRoberta", "tweetevalsentimentPromptRoberta"):
        (here / "task_prompt_emb" / name).mkdir(parents=True)
        torch.save(torch.randn(100, 32), here / "task_prompt_emb" / name / "task_prompt")
    checkpoint = here / "outputs" / "sst2" / "prompt_emb" / "checkpoint-4000"
    checkpoint.mkdir(parents=True)
    soft = {"prompt_model.template.soft_embeds": torch.randn(100, 32)}
    torch.save(soft, checkpoint / "pytorch_model.bin")
    shutil.copy(ROOT / "example" / "config.json", here / "config.json")
    return here


@pytest.mark.slow
def test_every_call_of_the_page_works_in_its_order(folder, monkeypatch):
    pytest.importorskip("peft")
    session = Session(folder, folder / "data", folder / "models", monkeypatch)
    for language, code in blocks(PAGE):
        (session.bash if language == "bash" else session.python)(code)

    # The numbers went through unchanged.
    checkpoint = torch.load(folder / "outputs/sst2/prompt_emb/checkpoint-4000/pytorch_model.bin")
    old = SoftPrompt.from_pretrained(folder / "runs" / "from-2.0")
    assert torch.equal(old.embeddings, checkpoint["prompt_model.template.soft_embeds"])
    there_and_back = SoftPrompt.from_pretrained(folder / "runs" / "from-peft")
    assert torch.equal(
        there_and_back.embeddings, SoftPrompt.from_pretrained(folder / "runs" / "gpt2-sst2").embeddings
    )


def test_options_and_links_of_the_page_exist():
    text = PAGE.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (PAGE.parent / link).exists(), link
    # An old call has its new one: no block of old code is the last word.
    kinds = re.findall(r"^```(\w+)$", text, flags=re.MULTILINE)
    assert kinds.count("text") >= 8 and kinds[-1] != "text"
