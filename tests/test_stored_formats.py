"""Files of every released version still load, and those of a later one are refused, not changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from command import refuses, succeeds

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import Record
from prompt_hub.transfer import load_table
from prompt_hub.transfer.cross_model.base import CrossModelMap
from prompt_hub.transfer.plan import made_by

FORMATS = Path(__file__).parent / "fixtures" / "formats"
VERSIONS = sorted(folder.name for folder in FORMATS.iterdir())


@pytest.fixture(params=VERSIONS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a version wrote: a prompt, a matrix, a map, a record."""
    return Path(shutil.copytree(FORMATS / request.param, tmp_path / "stored"))


def test_a_prompt_loads(stored: Path) -> None:
    prompt = SoftPrompt.from_pretrained(stored / "prompt")
    assert (prompt.hash, prompt.embeddings.shape) == ("d9047460116e2aa8", (2, 112))
    assert (prompt.metadata.task, prompt.metadata.backbone_name) == ("mini/film", "mini-gpt2")
    assert prompt.train_rows is not None and len(prompt.train_rows) == 16 and prompt.initial is not None


def test_a_matrix_loads_and_its_command_finds_nothing_to_do(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_table(stored / "matrix").set_index(["source", "target"])["score"]
    assert table["mini/hotel", "mini/film"] == 0.5 and table["majority", "mini/hotel"] == 0.75
    before = sqlite3.connect(stored / "matrix" / "grid.sqlite").execute("SELECT * FROM items").fetchall()
    monkeypatch.chdir(stored)
    succeeds(*made_by(stored / "matrix")["command"][1:])
    after = sqlite3.connect(stored / "matrix" / "grid.sqlite").execute("SELECT * FROM items").fetchall()
    assert after == before


def test_a_map_and_a_record_load(stored: Path) -> None:
    found = CrossModelMap.from_pretrained(stored / "map")
    of_source = PromptMetadata(backbone=found.source.to_dict(), task="mini/film")
    image = found.apply(SoftPrompt(torch.ones(2, 80), of_source))
    assert image.embeddings.shape == (2, 112) and image.metadata.backbone_name == "mini-gpt2"
    record = Record.load(stored / "eval.json")
    assert record is not None and record.kind == "eval" and record.status == "done"


def test_a_later_version_is_refused_and_not_changed(stored: Path) -> None:
    for place, key, read in (
        (stored / "prompt" / "prompt_hub.json", "schema_version", SoftPrompt.from_pretrained),
        (stored / "map" / "map.json", "schema_version", CrossModelMap.from_pretrained),
        (stored / "eval.json", "record_version", None),
    ):
        contents = json.loads(place.read_text())
        assert contents[key] == 1
        later = json.dumps({**contents, key: 2})
        place.write_text(later)
        with pytest.raises(UserError, match=r"newer|Upgrade|reads up to"):
            read(place.parent) if read is not None else Record.load(place)
        assert place.read_text() == later
    grid = stored / "matrix" / "grid.sqlite"
    connection = sqlite3.connect(grid)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    refuses("matrix", "show", stored / "matrix", says=("a newer version of Prompt Hub",))
