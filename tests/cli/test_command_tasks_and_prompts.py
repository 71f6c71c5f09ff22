"""``prompt-hub tasks``, ``prompt-hub prompts``, and what the command costs before it does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call, refuses, succeeds

from prompt_hub.tasks import get_task, list_tasks, load_task_file

# -- what it costs -----------------------------------------------------------------------------------

WITHOUT_TORCH = """\
import sys
sys.argv = ["prompt-hub", *{arguments!r}]
from prompt_hub.cli.main import run
try:
    run()
except SystemExit as end:
    code = end.code
heavy = [name for name in ("torch", "transformers", "datasets", "numpy") if name in sys.modules]
sys.exit(f"{{code}} {{heavy}}" if code or heavy else 0)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["tasks", "ls"],
        ["tasks", "ls", "--json"],
        ["tasks", "show", "sst2"],
        ["prompts", "ls", "--help"],
    ],
    ids=" ".join,
)
def test_it_does_not_import_torch(arguments):
    heavy_is_fine = arguments[:2] == ["tasks", "ls"] or arguments[:2] == ["tasks", "show"]
    script = WITHOUT_TORCH.format(arguments=arguments)
    if heavy_is_fine:  # the tasks' metrics need numpy
        script = script.replace(', "numpy"', "")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_prompts_ls_does_not_import_torch(trained):
    script = WITHOUT_TORCH.format(arguments=["prompts", "ls", str(trained("bert").parent)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "my" in done.stdout


def entry_point() -> list[str]:
    command = Path(sys.executable).with_name("prompt-hub")
    return [str(command)] if command.exists() else [sys.executable, "-m", "prompt_hub"]


EMPTY = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'])"


def test_help_comes_in_less_than_half_a_second():
    def seconds(*command: str) -> float:
        """Of the processor: what else runs on the machine must not decide."""
        before = os.times()
        subprocess.run(command, capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # On a slow machine a command that does nothing takes half of that already.
    empty = min(seconds(sys.executable, "-c", EMPTY) for _ in range(4))
    assert min(seconds(*entry_point(), "--help") for _ in range(4)) < max(0.5, 3 * empty)


# -- the command as a process ------------------------------------------------------------------------


def test_a_user_error_as_a_process():
    done = subprocess.run([*entry_point(), "tasks", "show", "ssst2"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Error: Unknown task 'ssst2'. Did you mean 'sst2'?")


def test_predict_as_a_process_reads_a_pipe_and_writes_answers_alone(trained):
    done = subprocess.run(
        [*entry_point(), "predict", str(trained("bert")), "--device", "cpu"],
        input="the film was good\nthe plot\n", capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[2] for line in done.stdout.splitlines()] == ["the film was good", "the plot"]
    assert done.stderr == ""


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bytes_that_are_not_utf8_as_a_process(trained, locale):
    """In these locales Python lets such bytes through as half characters."""
    done = subprocess.run(
        [*entry_point(), "predict", str(trained("bert")), "--device", "cpu"], input=b"caf\xe9\n",
        capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": locale},
    )  # fmt: skip
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"UTF-8" in done.stderr


def test_a_reader_that_stops_early_is_no_error():
    listing = subprocess.Popen(
        [*entry_point(), "tasks", "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert listing.stdout and listing.stderr
    listing.stdout.close()
    listing.wait(30)
    assert "Traceback" not in listing.stderr.read()


# -- tasks -------------------------------------------------------------------------------------------


def test_tasks_ls_lists_every_task(monkeypatch):
    monkeypatch.setattr("prompt_hub.cli.output.stdout.width", 200)
    outcome = succeeds("tasks", "ls")
    assert [task.name for task in list_tasks() if task.name not in outcome.stdout] == []
    names = [task["name"] for task in succeeds("tasks", "ls", "--json").json["tasks"]]
    assert names == [task.name for task in list_tasks()]


def test_tasks_show_is_a_task_file(tmp_path):
    for name in ("sst2", "stsb", "samsum", "mnli", "mini/nli_people"):
        path = tmp_path / f"{name.replace('/', '-')}.yaml"
        path.write_text(succeeds("tasks", "show", name).stdout)
        assert load_task_file(path) == get_task(name)
        assert not succeeds("tasks", "validate", path).stdout


def test_tasks_ls_says_which_rows_are_generated():
    tasks = succeeds("tasks", "ls", "--json").json["tasks"]
    assert {task["name"].startswith("mini/") for task in tasks if task["generated"]} == {True}
    assert sum(task["generated"] for task in tasks) == 16


def test_tasks_show_names_the_nearest_of_the_generated_tasks():
    refuses("tasks", "show", "mini/flim", says=("Unknown task 'mini/flim'", "Did you mean 'mini/film'?"))


def test_tasks_show_takes_an_alias_and_gives_json():
    assert succeeds("tasks", "show", "SST-2", "--json").json["name"] == "sst2"


def test_tasks_validate_says_everything_that_is_wrong(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nclases: [a]\ntemplates: {masked_lm: 'x'}\nlabel_words: {default: [a, b]}\n")
    outcome = refuses(
        "tasks", "validate", path, says=("clases", "Did you mean classes?", "{mask}", "{text_a}")
    )
    assert outcome.stderr.count("\n- ") >= 3


def test_tasks_validate_json_says_the_same(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    outcome = call("tasks", "validate", tmp_path / "mine.yaml", "--json")
    assert outcome.code == 2 and outcome.json["valid"] is False and outcome.json["problems"]


# -- prompts -----------------------------------------------------------------------------------------


def test_prompts_ls_lists_folders_with_task_and_size(trained, monkeypatch):
    monkeypatch.setattr("prompt_hub.cli.output.stdout.width", 300)
    outcome = succeeds("prompts", "ls", trained("bert"))
    assert "my" in outcome.stdout and "4 x 32" in outcome.stdout and "prompt-mask-text" in outcome.stdout
    found = succeeds("prompts", "ls", trained("bert"), "--json").json["prompts"]
    assert [entry["path"] for entry in found] == [str(trained("bert"))]


def test_prompts_ls_of_a_folder_without_prompts_says_so(tmp_path):
    assert f"No prompts below {tmp_path}" in succeeds("prompts", "ls", tmp_path).stderr
    assert succeeds("prompts", "ls", tmp_path, "--json").json == {"prompts": []}


def test_prompts_ls_goes_on_after_a_damaged_one(trained, tmp_path):
    succeeds("prompts", "import", trained("bert"), "-o", tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "prompt_hub.json").write_text("{")
    outcome = succeeds("prompts", "ls", tmp_path, "--json")
    bad, good = outcome.json["prompts"]
    assert "error" in bad and good["task"] == "my"
    assert "bad" in outcome.stderr


def test_prompts_show_tells_origin_and_norms(trained):
    data = succeeds("prompts", "show", trained("bert"), "--json").json
    assert data["task"] == "my" and data["prompt_len"] == 4 and data["norms"]["frobenius"] > 0
    assert json.loads(succeeds("prompts", "show", trained("bert")).stdout) == data


@pytest.mark.parametrize("form", ["peft", "npy"])
def test_an_exported_prompt_is_the_same_when_imported(trained, tmp_path, form):
    target = tmp_path / ("x.npy" if form == "npy" else "peft")
    written = succeeds("prompts", "export", trained("bert"), "-o", target, "--format", form, "--json").json
    assert written == {"path": str(target), "format": form}
    imported = succeeds("prompts", "import", target, "-o", tmp_path / "back", "--json").json["prompts"]
    original = json.loads((trained("bert") / "prompt_hub.json").read_text())
    assert imported[0]["hash"] == original["prompt_hash"]


def test_a_vllm_export_of_a_causal_prompt_holds_the_tensor(trained, tmp_path):
    torch = pytest.importorskip("torch")
    succeeds("prompts", "export", trained("gpt2"), "-o", tmp_path / "x.pt", "--format", "vllm")
    assert torch.load(tmp_path / "x.pt", weights_only=True).shape == (4, 32)


def test_an_imported_prompt_can_be_used_when_task_and_backbone_are_named(trained, tiny_folder, tmp_path):
    np.save(tmp_path / "x.npy", np.full((4, 32), 0.1, np.float32))
    succeeds(
        "prompts",
        "import",
        tmp_path / "x.npy",
        "-o",
        tmp_path / "x",
        "--task",
        "sst2",
        "--family",
        "masked_lm",
    )
    arguments = ("predict", tmp_path / "x", "--backbone", tiny_folder("bert"), "--task", "sst2")
    outcome = succeeds(*arguments, stdin="the film was good\n")
    assert outcome.stdout.startswith(("negative\t", "positive\t"))
    assert "does not say which layout" in outcome.stderr


def test_an_imported_prompt_knows_the_registered_task_it_was_imported_for(tiny_folder, tmp_path):
    np.save(tmp_path / "x.npy", np.full((4, 32), 0.1, np.float32))
    succeeds(
        "prompts", "import", tmp_path / "x.npy", "-o", tmp_path / "x", "--task", "sst2", "--backbone",
        tiny_folder("bert"), "--family", "masked_lm", "--layout", "prompt-mask-text",
    )  # fmt: skip
    outcome = succeeds("predict", tmp_path / "x", stdin="the film was good\n")
    assert outcome.stdout.startswith(("negative\t", "positive\t"))


@pytest.fixture
def original_prompts(shared):
    folder = shared / "paper" / "original_prompts"
    if not folder.is_dir():
        pytest.skip("the paper's prompts are not there")
    return folder


def test_a_prompt_of_the_paper_is_imported_with_what_its_name_says(original_prompts, tmp_path):
    source = original_prompts / "SST2PromptRoberta"
    written = succeeds("prompts", "import", source, "-o", tmp_path / "sst2", "--json").json["prompts"]
    assert written[0]["task"] == "sst2"
    data = succeeds("prompts", "show", tmp_path / "sst2", "--json").json
    assert data["layout"] == "paper" and data["backbone"]["family"] == "masked_lm"
    assert data["dead_rows"] == [0]
    assert (data["prompt_len"], data["backbone"]["hidden"]) == (100, 768)


def test_a_prompt_of_the_papers_layout_is_run_under_it_and_under_another_only_if_forced(
    tiny_folder, tmp_path
):
    np.save(tmp_path / "p.npy", np.zeros((100, 32), np.float32))
    known = ("--backbone", "roberta", "--family", "masked_lm", "--layout", "paper")
    succeeds("prompts", "import", tmp_path / "p.npy", "-o", tmp_path / "sst2", *known)
    use = ("predict", tmp_path / "sst2", "--task", "sst2", "--backbone", tiny_folder("roberta"))
    succeeds(*use, stdin="the film")
    other = (*use, "--layout", "prompt-mask-text")
    refuses(*other, stdin="the film", says=("paper", "prompt-mask-text"))
    # With the prompt in front of them, 100 rows do not fit into 96 positions.
    refuses(*other, "--force", stdin="the film", says=("leaves no room",))
    refuses(*use, "--template", "{text_a} {mask}", stdin="the film", says=("paper", "--template"))


def test_a_folder_of_the_papers_prompts_is_imported_at_once(original_prompts, tmp_path):
    written = succeeds("prompts", "import", original_prompts, "-o", tmp_path / "all", "--json").json[
        "prompts"
    ]
    folders = [path for path in original_prompts.iterdir() if (path / "task_prompt").is_file()]
    assert len(written) == len(folders) > 1
    listed = succeeds("prompts", "ls", tmp_path / "all", "--json").json["prompts"]
    assert len(listed) == len(folders)


def released(folder, **tensors):
    for name, tensor in tensors.items():
        place = folder / name.replace("__", "/")
        place.mkdir(parents=True, exist_ok=True)
        torch.save(tensor, place / "task_prompt")
    return folder


def test_prompts_that_were_released_twice_are_named_and_a_second_import_changes_nothing(tmp_path):
    one, other = torch.ones(4, 8), torch.zeros(4, 8)
    nested = {"restaurantPromptRoberta_proj__IMDBPromptRoberta_proj": one}
    source = released(
        tmp_path / "in", IMDBPromptRoberta_proj=one, restaurantPromptRoberta_proj=other, **nested
    )
    arguments = ("prompts", "import", source, "--layout", "paper", "-o", tmp_path / "out")
    first = succeeds(*arguments, "--json")
    twin = "restaurantPromptRoberta_proj--IMDBPromptRoberta_proj"
    same = {Path(entry["path"]).name: entry.get("same_as") for entry in first.json["prompts"]}
    assert same == {
        "IMDBPromptRoberta_proj": None,
        "restaurantPromptRoberta_proj": None,
        twin: "IMDBPromptRoberta_proj",
    }
    assert "It is the same prompt as IMDBPromptRoberta_proj" in first.words
    again = succeeds(*arguments)
    assert again.words.count("was there already") == 3
    released(tmp_path / "in", IMDBPromptRoberta_proj=torch.full((4, 8), 2.0))
    refuses(*arguments, says=("IMDBPromptRoberta_proj", "another prompt", "--output"))


def test_one_damaged_file_does_not_keep_the_others_out(tmp_path):
    source = released(tmp_path / "in", SST2PromptBert=torch.ones(4, 8), MNLIPromptBert=torch.ones(4, 8))
    (source / "MNLIPromptBert" / "task_prompt").write_bytes(b"PK\x03\x04")
    outcome = call("prompts", "import", source, "--layout", "paper", "-o", tmp_path / "out", "--json")
    assert outcome.code == 2 and "1 of 2 files could not be read: MNLIPromptBert" in outcome.words
    assert set(outcome.json["failures"]) == {"MNLIPromptBert"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["SST2PromptBert"]
