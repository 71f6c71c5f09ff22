"""Files that somebody made to do harm, one by one: each ends in a message, and nothing else happens."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
import sqlite3
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file

from prompt_hub.atomic import alone_in
from prompt_hub.cli.output import visible
from prompt_hub.cli.saving import folder_named
from prompt_hub.errors import UserError
from prompt_hub.evaluation.answers import Answers
from prompt_hub.experiments.recipe import commands, load_recipe
from prompt_hub.prompts.tensor_files import read_numpy, read_torch
from prompt_hub.reports.tables import latex_comment
from prompt_hub.runs.grid import Grid
from prompt_hub.tasks import get_task
from prompt_hub.tasks.files import read_table
from prompt_hub.tasks.rows import label_key
from prompt_hub.tasks.sources import load_split
from prompt_hub.training.run import train_prompt
from prompt_hub.training_args import PromptTrainingArguments


@pytest.mark.parametrize("key", ["..", ".", "///..", "\0", "\ud800"])
def test_a_key_does_not_lead_out_of_the_output_folder(key):
    try:
        name = folder_named(key)
    except UserError:
        return
    assert name.isascii() and "/" not in name and not name.startswith(".")


def test_keys_stay_readable():
    assert folder_named("IMDBPromptRoberta") == "IMDBPromptRoberta"
    assert folder_named("roberta/sst2 (1)") == "roberta--sst2 -1-"


def test_an_import_neither_leaves_its_folder_nor_replaces_files(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "README.md").write_text("mine")
    save_file({"..": torch.zeros(2, 4), "a": torch.ones(2, 4)}, tmp_path / "stranger.safetensors")
    import_ = ["prompts", "import", str(tmp_path / "stranger.safetensors")]
    for more in (
        ["--output", str(tmp_path / "runs/new")],
        ["--key", "a", "--output", str(tmp_path / "runs")],
    ):
        command = [sys.executable, "-m", "prompt_hub", *import_, *more]
        assert subprocess.run(command, capture_output=True).returncode == 2
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["README.md"]
    assert (tmp_path / "runs" / "README.md").read_text() == "mine"


def test_compression_that_numpy_never_uses_is_not_unfolded(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("prompt.npy", b"\0" * 10_000_000)
    with pytest.raises(UserError, match="numpy never uses"):
        read_numpy(tmp_path / "bomb.npz")


class Large:
    def __reduce__(self):
        return bytearray, (10**10,)


def nested(depth):
    found = ()
    for _ in range(depth):
        found = (found, found)
    return found


@pytest.mark.parametrize("value", [Large(), nested(40)], ids=["memory", "time"])
def test_a_pickle_takes_what_its_length_does(tmp_path, value):
    torch.save({"a": torch.zeros(2, 4)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for member in good.infolist():
            data = good.read(member)
            is_pickle = member.filename.endswith("data.pkl")
            bad.writestr(member.filename, pickle.dumps({"a": value}, 2) if is_pickle else data)
    assert set(read_torch(tmp_path / "good.pt")) == {"a"}
    with pytest.raises(UserError, match="no file of tensors does"):
        read_torch(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    "changes",
    [
        {"total": 400_000_000},
        {"scores": {"as": "bits", "n": 400_000_000, "base64": base64.b64encode(b"\0").decode()}},
        {"scores": {"as": "float32", "n": 8, "base64": ""}},
        {"rows": {"as": "bits", "n": 8, "base64": base64.b64encode(b"\1").decode()}},
    ],
)
def test_answers_are_as_many_as_their_bytes(changes):
    whole = Answers(8, np.arange(8), np.ones(8)).to_dict()
    assert len(Answers.from_dict(whole)) == 8
    with pytest.raises(ValueError, match=r"answer|bytes"):
        Answers.from_dict({**whole, **changes})


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("change", ["PRAGMA user_version = 2", "PRAGMA application_id = 77"])
def test_a_refused_grid_is_not_touched(tmp_path, change):
    with Grid.open(tmp_path):
        pass
    path = tmp_path / "grid.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(change)
    connection.close()
    before = digest(path)
    with pytest.raises(UserError, match=r"newer version|another program"):
        Grid.open(tmp_path)
    assert digest(path) == before and [each.name for each in tmp_path.iterdir()] == ["grid.sqlite"]


def test_a_grid_with_a_view_is_refused(tmp_path):
    with Grid.open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "grid.sqlite")
    connection.execute("ALTER TABLE items RENAME TO old")
    connection.execute("CREATE VIEW items AS SELECT *, hex(zeroblob(450000000)) AS more FROM old")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="not those of a grid"):
        Grid.open(tmp_path)


def test_a_name_with_line_breaks_stays_in_its_comment():
    assert latex_comment("a\n\\input{/etc/passwd}\r\u2028b") == "% a \\input{/etc/passwd} b"


def test_a_terminal_is_not_commanded():
    assert visible("a\x1b[2Jb\u202ec\ud800\n\t") == "a\\x1b[2Jb\\u202ec\\ud800\n\t"


def test_a_small_parquet_file_does_not_become_millions_of_rows(tmp_path):
    count = 2_000_000
    column = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(count, np.int32)), pyarrow.array(["x"])
    )
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": column, "label": column}), path, compression="zstd")
    with pytest.raises(UserError, match="would unfold to 2,000,000 rows"):
        read_table(path)
    few = pyarrow.table({"text": ["a"] * 600, "label": [number % 2 for number in range(600)]})
    pyarrow.parquet.write_table(few, path)
    rows = read_table(path).rows
    assert [row.line for row in rows] == list(range(1, 601)) and rows[300].values == {"text": "a", "label": 0}


@pytest.mark.parametrize(
    "place", ["hf://datasets/a/b.csv", "https://a.b/c.csv", "../../c.csv", "/etc/passwd"]
)
def test_a_data_folder_does_not_send_for_rows_elsewhere(tmp_path, place):
    folder = tmp_path / "sst2"
    folder.mkdir()
    (folder / "x.csv").write_text("sentence,label\na,0\n")
    (folder / "README.md").write_text(
        f'---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: "{place}"\n---\n'
    )
    with pytest.raises(UserError, match="only files of the folder are read"):
        load_split(get_task("sst2"), "train", data_dir=tmp_path)


def test_a_pipe_in_place_of_rows_is_refused(tmp_path):
    (tmp_path / "sst2").mkdir()
    os.mkfifo(tmp_path / "sst2" / "train.jsonl")
    with pytest.raises(UserError, match="not a regular file"):
        load_split(get_task("sst2"), "train", data_dir=tmp_path)


@pytest.mark.parametrize("run", ["reproduce x.yaml", "prompts push a b/c", "'{verb}' x.yaml"])
def test_a_recipe_runs_no_recipes_and_sends_nothing(tmp_path, run):
    path = tmp_path / "r.yaml"
    path.write_text(f'title: t\nclaim: ""\nsteps:\n  - run: "{run}"\nvalues:\n  mini:\n    verb: reproduce\n')
    with pytest.raises(UserError, match="a step may not run"):
        commands(load_recipe(str(path)), "mini", {"out": "o", "data": {}, "device": "cpu"})


def test_half_a_character_is_no_label():
    with pytest.raises(UserError, match="surrogate"):
        label_key("\ud800bad")


def test_a_second_training_in_the_same_folder_is_refused(tiny, tmp_path):
    task, args = get_task("mini/film"), PromptTrainingArguments(str(tmp_path), max_steps=1)
    rows = load_split(task, "train", limit=8)
    with alone_in(tmp_path / "run", "trains a prompt"), pytest.raises(UserError, match="Another process"):
        train_prompt(tiny("gpt2"), replace(task), rows, args, tmp_path / "run")
