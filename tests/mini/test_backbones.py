"""The embedded backbones: small, ordinary folders, made by the recipe in ``pretraining/``."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from prompt_hub.backbones import load_backbone
from prompt_hub.mini.backbones import MINI_BACKBONES, mini_backbone
from prompt_hub.mini.generator import MAKERS

PRETRAINING = Path(__file__).parents[2] / "pretraining"
MEGABYTE = 1_000_000


def config_of(name: str) -> dict:
    return json.loads((mini_backbone(name) / "config.json").read_text(encoding="utf-8"))


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.syspath_prepend(str(PRETRAINING))
    import corpus

    yield corpus
    sys.modules.pop("corpus")


def test_the_folders_are_small():
    sizes = {
        name: sum(file.stat().st_size for file in mini_backbone(name).iterdir()) for name in MINI_BACKBONES
    }
    assert max(sizes.values()) <= 3 * MEGABYTE, sizes
    assert sum(sizes.values()) <= 10 * MEGABYTE, sizes


def test_widths_differ():
    widths = [load_backbone(name, device="cpu").hidden for name in MINI_BACKBONES]
    assert len(set(widths)) == len(widths)


def test_there_are_two_vocabularies_written_in_two_ways():
    def words(name: str) -> set[str]:
        stored = json.loads((mini_backbone(name) / "tokenizer.json").read_text(encoding="utf-8"))
        return set(stored["model"]["vocab"])

    kinds = {name: "Ġfilm" if "Ġfilm" in words(name) else "film" for name in MINI_BACKBONES}
    assert set(kinds.values()) == {"Ġfilm", "film"}
    assert all(kind in words(name) for name, kind in kinds.items())


@pytest.mark.parametrize("name", MINI_BACKBONES)
def test_it_loads_by_its_name_and_knows_the_label_words(name):
    backbone = load_backbone(name, device="cpu")
    assert backbone.name == name
    assert backbone.max_positions is None or backbone.max_positions >= 128
    for _, _, labels in MAKERS.values():
        for word in labels:
            assert len(backbone.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1, word


@pytest.mark.parametrize("name", MINI_BACKBONES)
def test_the_config_names_the_corpus_that_the_generator_still_makes(name, corpus):
    said = config_of(name)["prompt_hub_corpus"]
    first = corpus.documents(said["seed"], 1000, said["lead_share"])
    assert corpus.fingerprint(document.text for document in first) == said["first_thousand_sha256"]
    assert said["documents"] > 100_000 and len(said["sha256"]) == 64


@pytest.mark.parametrize("name", MINI_BACKBONES)
def test_the_config_names_the_recipe_that_stands_in_the_repository(name, monkeypatch):
    monkeypatch.syspath_prepend(str(PRETRAINING))
    import recipe

    try:
        assert config_of(name)["prompt_hub_recipe"] == recipe.recipe_sha256(name), (
            "The recipe or the text generator changed after the backbone was trained: run make mini."
        )
    finally:
        sys.modules.pop("recipe")


def test_no_document_of_the_corpus_holds_a_row_that_is_tested_on(corpus):
    from prompt_hub.mini.generator import rows

    kept_out = {item.text for name in MAKERS for item in rows(name, "test")}
    for document in corpus.documents(0, 3000, 0.5):
        assert not any(text in document.text for text in kept_out if len(text) > 60)


def test_the_corpus_can_be_read_from_anywhere(corpus):
    straight = [document.text for document in corpus.documents(3, 50, 0.5)]
    assert straight[40] == corpus.document(3, 40, 0.5).text
    assert len(set(straight)) > 45
    digest = hashlib.sha256("".join(text + "\n" for text in straight).encode()).hexdigest()
    assert corpus.fingerprint(straight) == digest
