"""``data download`` fills a data folder; ``configs`` writes what ``train --config`` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from command import call, refuses, succeeds

from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, get_task, list_tasks, load_split
from prompt_hub.tasks.download import row_of


def parquet(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """Two data sets as they lie on the Hub."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.delenv("PROMPT_HUB_DATA", raising=False)
    root = tmp_path / "mirror"
    for split, texts in (("train", ("good", "bad", "fine")), ("validation", ("great", "dull"))):
        rows = [{"sentence": text, "label": index % 2, "idx": index} for index, text in enumerate(texts)]
        parquet(root / "nyu-mll/glue/sst2" / f"{split}-00000-of-00001.parquet", rows)
        answers = {"text": ["in June", "June"], "answer_start": [0, 3]}
        squad = [{"context": f"{text} text", "question": "When?", "answers": answers} for text in texts]
        parquet(root / "rajpurkar/squad/plain_text" / f"{split}-00000-of-00001.parquet", squad)
    return root


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_of_a_copy_of_the_hub_become_a_data_folder(mirror, tmp_path):
    data = tmp_path / "data"
    command = ("data", "download", "--tasks", "sst2,squad", "--data-dir", data, "--from", mirror, "--json")
    found = succeeds(*command).json
    assert [(each["task"], each["split"], each["status"], each["n"]) for each in found["splits"]] == [
        ("sst2", "train", "written", 3), ("sst2", "validation", "written", 2),
        ("squad", "train", "written", 3), ("squad", "validation", "written", 2),
    ]  # fmt: skip
    assert lines(data / "sst2" / "validation.jsonl") == [
        {"text_a": "great", "label": "negative"}, {"text_a": "dull", "label": "positive"},
    ]  # fmt: skip
    assert lines(data / "squad" / "train.jsonl")[0]["target"] == ["in June", "June"]
    for each in found["splits"]:
        task = get_task(each["task"])
        copy, there = load_split(task, each["split"], data), load_split(task, each["split"], mirror)
        assert copy.examples == there.examples and copy.fingerprint == each["fingerprint"]


def test_what_is_there_is_kept_and_what_is_missing_is_fetched(mirror, tmp_path):
    data = tmp_path / "data"
    command = ("data", "download", "--tasks", "sst2", "--data-dir", data, "--from", mirror, "--json")
    succeeds(*command)
    (data / "sst2" / "train.jsonl").write_text('{"text_a": "mine", "label": 1}\n')
    (data / "sst2" / "validation.jsonl").unlink()
    assert [each["status"] for each in succeeds(*command).json["splits"]] == ["kept", "written"]
    assert lines(data / "sst2" / "train.jsonl") == [{"text_a": "mine", "label": 1}]
    assert [each["status"] for each in succeeds(*command, "--overwrite").json["splits"]] == ["written"] * 2
    assert len(lines(data / "sst2" / "train.jsonl")) == 3


def test_one_that_cannot_be_had_is_named_and_the_others_are_kept(mirror, tmp_path):
    data = tmp_path / "data"
    outcome = call("data", "download", "--tasks", "sst2,mnli", "--data-dir", data, "--from", mirror)
    assert outcome.code == 2 and "2 of 4 splits could not be had" in outcome.words
    assert "'mnli'" in outcome.words and (data / "sst2" / "train.jsonl").exists()
    assert not (data / "mnli").exists()


def test_offline_the_error_says_so(tmp_path, monkeypatch):
    import datasets
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    outcome = call("data", "download", "--tasks", "sst2", "--data-dir", tmp_path / "data")
    assert outcome.code == 2 and "Traceback" not in outcome.stderr
    for said in ("2 of 2 splits", "nyu-mll/glue (sst2)", "HF_HUB_OFFLINE is set", "--from"):
        assert said in outcome.words


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_every_label_of_every_task_reads_back_from_a_written_row(task, tmp_path):
    second = "two" if task.has_text_b else None
    if task.kind == "generation":
        examples = [Example("one", None, "a", ("a",)), Example("one", None, "a", ("a", "b"))]
    elif task.kind == "regression":
        examples = [Example("one", second, score) for score in (0.0, 2.5)]
    else:
        examples = [Example("one", second, index) for index in range(len(task.classes))]
    folder = tmp_path / task.name
    folder.mkdir(parents=True)
    rows = [json.dumps(row_of(task, example)) for example in examples]
    (folder / "train.jsonl").write_text("\n".join(rows))
    assert list(load_split(task, "train", tmp_path).examples) == examples


def test_names_that_cannot_be_downloaded_are_refused(tmp_path):
    download = ("data", "download", "--data-dir", tmp_path / "data")
    refuses(*download, "--tasks", "mini/film", says=("mini/film", "generated"))
    refuses(*download, "--tasks", "sst3", says=("sst3", "sst2"))
    refuses(*download, "--tasks", "sst2", "--splits", "dev", says=("'dev'", "validation"))
    refuses(*download, "--tasks", "sst2", "--from", tmp_path / "nowhere", says=("nowhere", "<owner>/<name>"))


def test_a_grid_of_files_trains_prompts(tmp_path, tiny_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "sst2").mkdir(parents=True)
    for split in ("train", "validation"):
        rows = [json.dumps({"text_a": f"the film was {index}", "label": index % 2}) for index in range(24)]
        (tmp_path / "data" / "sst2" / f"{split}.jsonl").write_text("\n".join(rows))
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PROMPT_HUB_BACKBONES", str(tiny_folder("gpt2").parent))
    made = succeeds(
        "configs", "--backbones", "gpt2", "--tasks", "sst2,mini/film", "--seeds", "1,2",
        "--set", "prompt-len=3", "--set", "max_steps=2", "--set", "device=cpu", "--json",
    ).json  # fmt: skip
    assert made["files"][0] == "configs/gpt2/sst2_1.yaml" and len(made["files"]) == 4
    assert "configs/gpt2/mini--film_2.yaml" in made["files"]
    first = yaml.safe_load((tmp_path / "configs/gpt2/sst2_1.yaml").read_text())
    assert first == {
        "backbone": "gpt2", "task": "sst2", "seed": 1, "prompt_len": 3, "max_steps": 2, "device": "cpu",
        "output": "runs/gpt2/sst2_1",
    }  # fmt: skip
    found = succeeds("train", "--config", "configs/gpt2/sst2_1.yaml", "--quiet", "--json").json
    assert (found["steps"], found["task"], found["hyperparameters"]["prompt_len"]) == (2, "sst2", 3)
    # The command line wins.
    again = succeeds(
        "train", "--config", "configs/gpt2/sst2_2.yaml", "--prompt-len", "5", "--quiet", "--json"
    ).json
    assert SoftPrompt.from_pretrained("runs/gpt2/sst2_2").prompt_len == 5 and again["steps"] == 2


def test_the_originals_configuration_files_are_taken(tmp_path, tiny_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = {
        "do_train": True, "prompt_len": 3, "max_steps": 2, "eval_steps": 1000, "save_steps": 1000,
        "per_device_train_batch_size": 4, "learning_rate": 5e-4, "lr_scheduler_type": "constant",
        "warmup_steps": 0, "overwrite_output_dir": True, "seed": 42, "output_dir": "outputs/sst2_42",
        "backbone": str(tiny_folder("gpt2")), "dataset": "mini/film", "max_source_length": 128,
    }  # fmt: skip
    (tmp_path / "sst2_42.json").write_text(json.dumps(old))
    limits = ("--limit-train", "40", "--limit-eval", "10", "--device", "cpu", "--quiet", "--json")
    outcome = succeeds("train", "--config", "sst2_42.json", *limits)
    assert "without effect here: do_train, save_steps, overwrite_output_dir" in outcome.words
    settings = outcome.json["hyperparameters"]
    assert settings["learning_rate"] == 5e-4 and settings["prompt_len"] == 3
    assert (tmp_path / "outputs" / "sst2_42" / "prompt_hub.json").exists()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "prompt_length: 3", ("prompt_length", "prompt_len")),
        ("a.yaml", "task: sst2\ndataset: imdb", ("'task' twice", "'dataset'")),
        ("a.yaml", "task: [sst2]", ("'task'", "list")),
        ("a.json", "{", ("a.json", "is not a valid file of options")),
        ("a.yaml", "- task", ("one mapping",)),
        ("a.txt", "task: sst2", (".yaml or .json",)),
        ("a.yaml", "max_steps: many", ("--max-steps", "integer")),
    ],
)
def test_a_file_of_options_that_cannot_be_used_says_what_is_wrong(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    refuses("train", "--config", tmp_path / name, says=says)


def test_a_grid_that_cannot_be_is_refused(tmp_path):
    grid = ("configs", "--output", tmp_path / "c", "--backbones", "gpt2", "--tasks")
    refuses(*grid, "sst3", says=("sst3", "sst2"))
    refuses(*grid, "sst2", "--set", "prompt-len", says=("'prompt-len'", "OPTION=VALUE"))
    refuses(*grid, "sst2", "--set", "promptlen=3", says=("promptlen", "prompt_len"))
    refuses(*grid, "sst2", "--set", "seed=3", says=("seed", "--seeds"))
    refuses(*grid, "sst2", "--seeds", "one", says=("one",))
