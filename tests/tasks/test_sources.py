"""A split comes from the folder that is named, else from PROMPT_HUB_DATA, else from the Hub."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prompt_hub.errors import UserError
from prompt_hub.tasks import Task, get_task, list_tasks, load_split, task_from_dict

ABSENT = ("ag_news", "wnli")


def rows(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, records)))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.delenv("PROMPT_HUB_DATA", raising=False)


@pytest.mark.parametrize(
    "task", [t for t in list_tasks() if t.name not in ABSENT], ids=lambda task: task.name
)
def test_the_real_data_loads_for_every_task(shared: Path, task: Task) -> None:
    for name in ("train", "validation"):
        split = load_split(task, name, shared / "data")
        lines = (shared / "data" / task.name / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
        assert len(split) == sum(bool(line) for line in lines)
        first = json.loads(lines[0])
        example = split.examples[0]
        assert example.text_a == first.get("text_a", first.get("source"))
        assert example.text_b == first.get("text_b")
        if task.kind == "classification":
            raw = Counter(task.label_map[str(json.loads(line)["label"])] for line in lines if line)
            assert Counter(task.classes[int(label)] for label in split.labels()) == raw  # type: ignore[arg-type]
        elif task.kind == "generation":
            assert example.label == first["target"]
        else:
            assert example.label == first["label"]


def test_qnli_has_the_question_first(shared: Path) -> None:
    examples = load_split(get_task("qnli"), "validation", shared / "data").examples
    assert sum(example.text_a.endswith("?") for example in examples) > 0.95 * len(examples)
    assert sum(str(example.text_b).endswith("?") for example in examples) < 0.05 * len(examples)


def test_entailed_hypotheses_get_the_class_of_the_word_yes(tmp_path: Path) -> None:
    rows(
        tmp_path / "mnli/validation.jsonl",
        {"text_a": "A man sleeps.", "text_b": "Someone sleeps.", "label": 0},
    )
    task = get_task("mnli")
    (example,) = load_split(task, "validation", tmp_path).examples
    assert task.label_words_for("masked_lm")[int(example.label)] == "yes"  # type: ignore[arg-type]


def test_the_named_folder_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("named", "variable"):
        rows(tmp_path / place / "sst2/train.jsonl", {"text_a": place, "label": 1})
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path / "variable"))
    sst2 = get_task("sst2")
    assert load_split(sst2, "train", tmp_path / "named").examples[0].text_a == "named"
    assert load_split(sst2, "train").examples[0].text_a == "variable"


def test_a_folder_may_hold_csv_and_a_test_split(tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2/test.csv").write_text("sentence,label\nfine film,positive\n")
    split = load_split(get_task("sst2"), "test", tmp_path)
    assert (split.name, split.labels()) == ("test", [1])
    with pytest.raises(UserError, match=r"has no train split .*test\.csv"):
        load_split(get_task("sst2"), "train", tmp_path)


def test_a_folder_without_the_task_says_what_it_holds(tmp_path: Path) -> None:
    rows(tmp_path / "mnli/train.jsonl", {})
    with pytest.raises(UserError, match=r"no task 'sst2'. It holds: mnli"):
        load_split(get_task("sst2"), "train", tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        load_split(get_task("sst2"), "train", tmp_path / "nowhere")


def test_a_split_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Unknown split 'valid'\. Did you mean 'validation'"):
        load_split(get_task("sst2"), "valid", tmp_path)


def test_without_a_network_the_error_names_task_place_and_way_out(offline: None) -> None:
    with pytest.raises(UserError, match=r"task 'sst2' .*nyu-mll/glue \(sst2\).*HF_HUB_OFFLINE.*--data-dir"):
        load_split(get_task("sst2"), "train")


def test_a_task_that_the_variable_does_not_hold_is_sought_on_the_hub(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path))
    with pytest.raises(UserError, match="Hub data set stanfordnlp/imdb"):
        load_split(get_task("imdb"), "train")


def test_a_variable_that_names_no_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path / "typo"))
    with pytest.raises(UserError, match=r"PROMPT_HUB_DATA names the folder .*typo, which does not exist"):
        load_split(get_task("imdb"), "train")


def test_a_split_that_the_hub_has_without_labels_is_refused_before_loading(offline: None) -> None:
    with pytest.raises(UserError, match="no labelled test split on the Hub"):
        load_split(get_task("sst2"), "test")


def parquet(path: Path, records: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


def test_a_repository_on_disk_is_read_under_its_hub_name(offline: None, tmp_path: Path) -> None:
    squad = {
        "question": "who?",
        "context": "Ada.",
        "answers": {"text": ["Ada", "A."], "answer_start": [0, 0]},
    }
    parquet(tmp_path / "rajpurkar/squad/plain_text/validation-00000-of-00001.parquet", [squad])
    (example,) = load_split(get_task("squad"), "validation", tmp_path).examples
    assert example.text_a == "question: who? context: Ada."
    assert example.references == ("Ada", "A.")


def test_a_repository_with_configs_gives_the_tasks_own(offline: None, tmp_path: Path) -> None:
    root = tmp_path / "nyu-mll/glue"
    for config, text in (("sst2", "good film"), ("cola", "good grammar")):
        parquet(root / config / "train-00000-of-00001.parquet", [{"sentence": text, "label": 1, "idx": 0}])
    (root / "README.md").write_text(
        "---\nconfigs:\n"
        + "".join(
            f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
            for name in ("cola", "sst2")
        )
        + "---\n"
    )
    assert load_split(get_task("sst2"), "train", tmp_path).examples[0].text_a == "good film"


def test_a_converted_branch_is_read_from_the_tasks_folder(offline: None, tmp_path: Path) -> None:
    root = tmp_path / "EleutherAI/hendrycks_ethics"
    parquet(root / "justice/test/0000.parquet", [{"scenario": "fair", "label": 1}])
    parquet(root / "deontology/test/0000.parquet", [{"scenario": "duty", "excuse": "no", "label": 0}])
    assert load_split(get_task("justice"), "validation", tmp_path).examples[0].text_a == "fair"


def test_a_repository_as_the_tasks_folder_may_use_our_split_names(offline: None, tmp_path: Path) -> None:
    records = [{"text": f"film {index}", "label": index % 2} for index in range(20)]
    parquet(tmp_path / "imdb/data/validation-00000-of-00001.parquet", [*records, {"text": "  ", "label": 0}])
    split = load_split(get_task("imdb"), "validation", tmp_path)
    assert (len(split), split.dropped) == (20, 1), "blank texts of a public data set are dropped"
    some = load_split(get_task("imdb"), "validation", tmp_path, limit=5, seed=1)
    assert [e for e in split.examples if e in some.examples] == some.examples and len(some) == 5


def test_a_limit_draws_the_same_rows_from_a_file_and_a_repository(offline: None, tmp_path: Path) -> None:
    records = [{"text": f"film {index}", "label": index % 2} for index in range(50)]
    parquet(tmp_path / "a/imdb/data/train-00000-of-00001.parquet", records)
    rows(tmp_path / "b/imdb/train.jsonl", *records)
    drawn = [load_split(get_task("imdb"), "train", tmp_path / name, limit=7, seed=3) for name in "ab"]
    assert drawn[0].examples == drawn[1].examples
    assert drawn[0].fingerprint == drawn[1].fingerprint


def test_an_unreadable_repository_is_a_user_error(offline: None, tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2/notes.bin").write_bytes(b"\0")
    with pytest.raises(UserError, match="Cannot load the train split of task 'sst2' from the folder"):
        load_split(get_task("sst2"), "train", tmp_path)


def test_a_task_without_a_place_on_the_hub_says_where_to_put_its_files(offline: None) -> None:
    data = {
        key: value
        for key, value in get_task("sst2").to_dict().items()
        if key not in ("hub", "aliases", "paper")
    }
    task = task_from_dict({**data, "name": "mine"})
    with pytest.raises(UserError, match=r"no place on the Hub.*mine/train\.jsonl"):
        load_split(task, "train")
