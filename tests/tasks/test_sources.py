"""A split comes from the folder that is named, else from PROMPT_HUB_DATA, else from Hub or generator."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prompt_hub.errors import UserError
from prompt_hub.mini import generator
from prompt_hub.tasks import Task, get_task, list_tasks, load_split, task_from_dict

ABSENT = ("ag_news", "wnli")
FILM, STATEMENTS = get_task("mini/film"), get_task("mini/nli_people")


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
    "task",
    [task for task in list_tasks() if task.name not in ABSENT and not task.generator],
    ids=lambda task: task.name,
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


# -- generated tasks ---------------------------------------------------------------------------------


@pytest.fixture
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPT_HUB_DATA", raising=False)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize("task", [FILM, STATEMENTS], ids=lambda task: task.name)
def test_a_generated_task_needs_no_folder_and_no_network(
    offline: None, no_variable: None, task: Task, name: str
) -> None:
    split = load_split(task, name)
    items = generator.rows(task.generator, name)
    assert (split.name, split.dropped) == (name, 0)
    assert split.source == "generated by prompt_hub.mini (seed 2022)"
    assert [(row.text_a, row.text_b) for row in split.examples] == [(row.text_a, row.text_b) for row in items]
    assert [task.classes[int(label)] for label in split.labels()] == [row.label for row in items]  # type: ignore[arg-type]


def test_a_generated_task_goes_with_others_from_a_folder_that_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(tmp_path / "sst2/train.jsonl", {"text_a": "fine", "label": 1})
    made = load_split(FILM, "train", tmp_path)
    assert made.source.startswith("generated")
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path))
    assert load_split(FILM, "train").fingerprint == made.fingerprint


def test_a_folder_that_holds_a_generated_task_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path / "mini/film/train.jsonl", {"text_a": "my own film.", "label": "great"})
    (example,) = load_split(FILM, "train", tmp_path).examples
    assert (example.text_a, example.label) == ("my own film.", 1)
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path))
    assert load_split(FILM, "train").examples == [example]
    with pytest.raises(UserError, match=r"has no test split .*It holds: train\.jsonl"):
        load_split(FILM, "test")


def test_a_mistyped_folder_is_refused_for_a_generated_task_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_split(FILM, "train", tmp_path / "typo")
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path / "typo"))
    with pytest.raises(UserError, match="does not exist"):
        load_split(FILM, "train")


def test_a_limit_draws_generated_rows_as_it_draws_those_of_a_file(tmp_path: Path, no_variable: None) -> None:
    every = load_split(STATEMENTS, "validation")
    records = [
        {"text_a": row.text_a, "text_b": row.text_b, "label": STATEMENTS.classes[int(row.label)]}  # type: ignore[arg-type]
        for row in every.examples
    ]
    rows(tmp_path / "mini/nli_people/validation.jsonl", *records)
    for limit, seed in ((7, 0), (7, 3), (40, 3), (9999, 3)):
        drawn = load_split(STATEMENTS, "validation", limit=limit, seed=seed)
        assert drawn.examples == load_split(STATEMENTS, "validation", tmp_path, limit, seed).examples
        assert len(drawn) == min(limit, len(every))
    few, more = (load_split(STATEMENTS, "validation", limit=limit, seed=3).examples for limit in (7, 40))
    assert [row for row in more if row in few] == few
    with pytest.raises(UserError, match="limit must be 1 or more"):
        load_split(FILM, "train", limit=0)


def test_classes_of_ones_own_apply_to_generated_rows(no_variable: None) -> None:
    two = replace(
        STATEMENTS,
        name="mine",
        classes=("true", "false"),
        label_map={"yes": "true", "no": "false"},
        drop_labels=("maybe",),
    )
    split = load_split(two, "test")
    items = generator.rows("nli_people", "test")
    assert split.dropped == sum(item.label == "maybe" for item in items)
    assert split.labels() == [["yes", "no"].index(item.label) for item in items if item.label != "maybe"]


def test_a_generator_that_does_not_fit_is_a_user_error(no_variable: None) -> None:
    with pytest.raises(UserError, match=r"Unknown generator 'flim'\. Did you mean 'film'"):
        load_split(replace(FILM, generator="flim"), "train")
    with pytest.raises(UserError, match=r"generated by .* has no column 'text_b' for text_b of task 'x'"):
        load_split(replace(STATEMENTS, name="x", generator="film", classes=("terrible", "great")), "train")
    with pytest.raises(UserError, match="no row that task 'mini/film' can use"):
        load_split(replace(FILM, drop_labels=("terrible", "great")), "train")
