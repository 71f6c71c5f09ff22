"""What a command must not replace, and where its words go when nobody can take them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import call, refuses, succeeds
from safetensors.torch import save_file

from prompt_hub.atomic import alone_in
from prompt_hub.cli.output import print_table, stdout
from prompt_hub.prompts.soft_prompt import SoftPrompt


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def other(trained, tmp_path) -> Path:
    """A prompt folder that must stay as it is."""
    return Path(shutil.copytree(trained("gpt2"), tmp_path / "other"))


# -- what is there already ---------------------------------------------------------------------------


def test_an_export_replaces_nothing_but_itself(trained, other, tmp_path):
    before = content(other)
    mine = str(trained("llama"))
    refuses("prompts", "export", mine, "--output", other, says=("holds something else",))
    for form, name in (
        ("npy", "prompt_hub.json"),
        ("npy", "README.md"),
        ("vllm", "adapter_model.safetensors"),
    ):
        line = ("prompts", "export", mine, "--format", form, "--output", other / name)
        refuses(*line, says=(name, "holds something else"))
    assert content(other) == before
    for form, name in (("peft", "peft"), ("npy", "a.npy"), ("vllm", "a.pt"), ("vllm", "a.safetensors")):
        line = ("prompts", "export", mine, "--format", form, "--output", tmp_path / name)
        succeeds(*line)
        succeeds(*line)
        another = ("prompts", "export", other, "--format", form, "--output", tmp_path / name)
        refuses(*another, says=("holds something else",))


def test_a_prompt_is_exported_into_its_own_folder(other):
    before = SoftPrompt.from_pretrained(other).hash
    succeeds("prompts", "export", other, "--output", other)
    assert SoftPrompt.from_pretrained(other).hash == before


def test_an_export_does_not_join_other_files(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refuses("prompts", "export", trained("llama"), "--output", tmp_path, says=("holds other files",))
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_a_report_replaces_a_report_alone(other):
    before = content(other)
    for name in ("prompt_hub.json", "train.json", "README.md"):
        refuses("report", other, "--output", other / name, says=(name, "is no report"))
    assert content(other) == before
    succeeds("report", other)
    succeeds("report", other)


def test_a_record_replaces_one_of_its_kind(trained, other, files):
    line = ("eval", trained("bert"), "--eval", files.eval, "--device", "cpu", "--floors", "none", "--output")
    refuses(*line, other / "train.json", says=("train.json", "no record of eval"))
    succeeds(*line, other / "eval.json")
    succeeds(*line, other / "eval.json")


def test_a_new_prompt_wants_a_folder_of_its_own(trained, other, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("text\n")
    line = ("prompts", "combine", trained("gpt2"), other, "--output")
    refuses(*line, tmp_path / "data", says=("holds other files",))
    refuses(*line, other, says=("already holds a prompt",))
    assert not (tmp_path / "data" / "prompt_hub.json").exists()


def test_an_index_of_somebody_else_stays(other):
    (other.parent / "index.json").write_text('{"pages": []}')
    refuses("prompts", "publish", other.parent, says=("is not the index of a collection",))
    assert (other.parent / "index.json").read_text() == '{"pages": []}'


def test_a_name_that_cannot_be_published_says_which_character_is_why(other):
    shutil.copytree(other, other.parent / "cafe\u0301")
    outcome = succeeds("prompts", "publish", other.parent)
    assert r"holds '\u0301'" in outcome.words


# -- prompts of a file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"), [(("a:b", "a?b", "z"), ("'a:b'", "'a?b'", "--key")), (("{}", "z"), ("'{}'", "--key"))]
)
def test_keys_that_give_no_folder_each_stop_the_import_before_it_begins(tmp_path, keys, says):
    save_file(
        {key: torch.ones(2, 4) * place for place, key in enumerate(keys, 1)}, tmp_path / "a.safetensors"
    )
    line = ("prompts", "import", tmp_path / "a.safetensors", "--output", tmp_path / "new")
    refuses(*line, says=says)
    assert not (tmp_path / "new").exists()


def test_a_place_that_is_taken_stops_the_import_before_it_begins(other, tmp_path):
    save_file({"a": torch.ones(2, 4), "other": torch.ones(2, 4)}, tmp_path / "a.safetensors")
    refuses(
        "prompts", "import", tmp_path / "a.safetensors", "--output", tmp_path, says=("holds another prompt",)
    )
    assert not (tmp_path / "a").exists()


def test_a_key_names_its_task_in_any_case(tmp_path):
    keys = ("SST2", "imdb", "Restaurant", "nothing")
    save_file(
        {key: torch.ones(2, 4) * place for place, key in enumerate(keys, 1)}, tmp_path / "a.safetensors"
    )
    line = ("prompts", "import", tmp_path / "a.safetensors", "--output", tmp_path / "new", "--json")
    tasks = {Path(each["path"]).name: each["task"] for each in succeeds(*line).json["prompts"]}
    assert tasks == {
        "SST2": "sst2", "imdb": "imdb", "Restaurant": "semeval14_restaurant", "nothing": None,
    }  # fmt: skip


# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("report", "-o", ""), "The value of -o is empty"),
        (("report", "--output="), "The value of --output is empty"),
        (("report", ""), "Argument 2 is empty"),
    ],
)
def test_an_empty_name_is_not_this_folder(arguments, says):
    refuses(*arguments, says=(says,))


def test_a_name_that_is_too_long(trained, files, tmp_path):
    long = "x" * 300
    says = ("File name too long", "xxx...")
    refuses("prompts", "ls", tmp_path / long, says=says)
    refuses("prompts", "combine", trained("gpt2"), trained("gpt2"), "-o", tmp_path / long, says=says)
    refuses("neurons", "sites", "--backbone", long, says=says)


def test_a_loop_of_links_is_passed_over(other):
    (other.parent / "loop.json").symlink_to("loop.json")
    (other.parent / "loop").symlink_to("loop")
    assert succeeds("report", other.parent).code == 0


@pytest.mark.parametrize(("data", "says"), [(b"", "does not begin with GGUF"), (b"GGUF", "cut off")])
def test_a_model_file_that_ends_early(tmp_path, data, says):
    (tmp_path / "model.gguf").write_bytes(data)
    refuses("neurons", "sites", "--backbone", tmp_path / "model.gguf", says=("model.gguf", says))


# -- two at once -------------------------------------------------------------------------------------


def test_two_comparisons_of_starts_do_not_share_a_folder(trained, files, own_columns, tmp_path):
    line = (
        "warm-start", "--source", trained("gpt2"), "--train", files.other, "--eval", files.eval, *own_columns,
        "--seeds", "1", "--max-steps", "2", "--device", "cpu", "--output", tmp_path / "w",
    )  # fmt: skip
    with alone_in(tmp_path / "w", "compares starts"):
        refuses(*line, says=("Another process compares starts",))
    assert not (tmp_path / "w").exists() or not any((tmp_path / "w").iterdir())


# -- streams -----------------------------------------------------------------------------------------


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """``line`` in bash; $hub is the command."""
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=120,
        env={**os.environ, "hub": f"{sys.executable} -m prompt_hub", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", ["tasks ls", "tasks ls --json", "tasks show sst2"])
def test_a_full_disk_under_stdout_is_said(arguments):
    done = shell(f"$hub {arguments} > /dev/full")
    assert done.returncode == 2
    assert done.stderr == "Error: No space left on device. What was finished is kept.\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_notes_that_cannot_be_written_stop_nothing(other, tmp_path):
    done = shell(
        f"$hub prompts export {other} --format npy --output {tmp_path / 'a.npy'} --json 2> /dev/full"
    )
    assert done.returncode == 0 and json.loads(done.stdout)["format"] == "npy"


def test_closed_streams(other):
    assert shell("$hub tasks ls --json >&-").returncode == 0
    assert shell("$hub tasks ls 2>&-").returncode == 0
    done = shell(f"$hub predict {other} --device cpu <&-")
    assert done.returncode == 2 and "stdin holds no text" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["0", "1", "30", "80"])
def test_a_wide_table_loses_nothing_on_a_narrow_terminal(monkeypatch, capsys, columns):
    monkeypatch.setattr(stdout, "_width", int(columns))
    head = ["prompt of", *map(str, range(1, 31))]
    print_table("", head, [["a name of some length", *(f"[{50 + place}]" for place in range(30))]], stdout)
    printed = capsys.readouterr().out
    assert all(f"[{50 + place}]" in printed for place in range(30))
    assert "a name of some" in printed


def test_the_width_is_that_of_the_terminal_where_a_table_fits(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    outcome = call("tasks", "ls")
    assert outcome.code == 0 and max(map(len, outcome.stdout.splitlines())) <= 80
