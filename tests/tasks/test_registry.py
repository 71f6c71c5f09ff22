"""The tasks that come with the package load, follow the paper, and hostile task files are refused."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from prompt_hub.errors import UserError
from prompt_hub.mini.generator import MAKERS
from prompt_hub.tasks import Task, get_task, list_tasks, load_task_file, task_from_dict, task_names
from prompt_hub.tasks import registry as registry_module

TASKS = {task.name: task for task in list_tasks()}
GENERATED = {name: task for name, task in TASKS.items() if task.generator}
REGISTRY = Path(registry_module.__file__).parent / "registry"


def test_there_are_39_tasks_of_which_17_are_the_papers_and_16_are_generated() -> None:
    assert len(task_names()) == 39
    assert sum(task.paper for task in TASKS.values()) == 17
    assert len(GENERATED) == 16


def test_every_generator_has_its_task_with_its_label_words_as_classes() -> None:
    assert list(GENERATED) == sorted(f"mini/{name}" for name in MAKERS)
    for name, task in GENERATED.items():
        assert name == f"mini/{task.generator}"
        assert task.classes == task.label_words_for("causal_lm") == MAKERS[task.generator][2]


def test_the_templates_of_generated_tasks_hold_no_cue() -> None:
    for task in GENERATED.values():
        texts = "{text_a} {text_b}" if task.has_text_b else "{text_a}"
        assert task.templates == {
            "masked_lm": f"{{mask}} {texts}",
            "causal_lm": texts,
            "seq2seq_lm": texts,
        }


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("laptop", "semeval14_laptop"),
        ("restaurant", "semeval14_restaurant"),
        ("movierationales", "movie_rationales"),
        ("tweetevalsentiment", "tweeteval_sentiment"),
        ("ethicsdeontology", "ethics_deontology"),
        ("ethicsjustice", "ethics_justice"),
        ("IMDB", "imdb"),
        ("SST-2", "sst2"),
        ("Nq-Open", "nq_open"),
        ("multi_NEWS", "multi_news"),
        ("STS-B", "stsb"),
        ("Mini/Film", "mini/film"),
        ("mini-film", "mini/film"),
        ("mini_nli_people", "mini/nli_people"),
        ("mini/nli-people", "mini/nli_people"),
    ],
)
def test_the_originals_spellings_find_their_task(spelling: str, name: str) -> None:
    assert get_task(spelling).name == name


def test_no_two_tasks_share_a_spelling() -> None:
    spellings = [
        {registry_module._spelling(word) for word in (task.name, *task.aliases)} for task in TASKS.values()
    ]
    assert sum(map(len, spellings)) == len(set().union(*spellings))


def test_an_unknown_task_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="Did you mean 'snli'"):
        get_task("snlii")


@pytest.mark.parametrize("name", ["mini/flim", "mini/fil", "mini/../film", "min/film"])
def test_a_mistyped_generated_task_is_an_unknown_name_and_no_missing_file(name: str) -> None:
    with pytest.raises(UserError, match=r"Unknown task .* Did you mean 'mini/film'\?.*YAML file"):
        get_task(name)


def test_a_registered_name_comes_before_a_file_of_that_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    for name in ("film", "mine"):
        (tmp_path / "mini" / name).write_text((REGISTRY / "sst2.yaml").read_text())
    assert get_task("mini/film").name == "mini/film"
    assert get_task("mini/mine").name == "sst2", "a task file needs no ending"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_has_a_template_for_every_family_that_can_do_it(task: Task) -> None:
    families = ["causal_lm", "seq2seq_lm"] + ["masked_lm"] * (task.kind != "generation")
    for family in families:
        template = task.template_for(family)
        assert ("{text_b}" in template) == task.has_text_b
        if family == "masked_lm":
            assert template in ("{mask} {text_a}", "{mask} {text_a} {text_b}")
        if family == "causal_lm" and not task.generator:
            assert template.endswith(":")
        if task.kind != "generation":
            assert len(task.label_words_for(family)) == max(2, len(task.classes))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_class_can_be_reached_from_a_raw_label(task: Task) -> None:
    raw = MAKERS[task.generator][2] if task.generator else tuple(task.label_map)
    assert {task.label_map.get(label, label) for label in raw} == set(task.classes)


def test_sst2_reads_as_written_in_the_design() -> None:
    assert TASKS["sst2"].template_for("causal_lm") == "{text_a}\nSentiment:"
    assert TASKS["sst2"].label_words_for("causal_lm") == ("negative", "positive")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imdb", ("negative", "positive")),
        ("tweeteval_sentiment", ("negative", "moderate", "positive")),
        ("semeval14_laptop", ("negative", "moderate", "positive", "conflict")),
        ("mnli", ("no", "neutral", "yes")),
        ("snli", ("no", "neutral", "yes")),
        ("qnli", ("no", "yes")),
        ("rte", ("no", "yes")),
        ("qqp", ("false", "true")),
        ("mrpc", ("false", "true")),
    ],
)
def test_masked_label_words_are_the_papers_in_its_class_order(name: str, words: tuple[str, ...]) -> None:
    assert TASKS[name].label_words_for("masked_lm") == words


def test_mnli_raw_labels_meet_the_papers_class_order() -> None:
    mnli = TASKS["mnli"]
    assert [mnli.classes.index(mnli.label_map[raw]) for raw in "012"] == [2, 1, 0]
    assert mnli.paper_segments == ("{text_b}", "{text_a}")


@pytest.mark.parametrize("path", sorted(REGISTRY.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_registry_file_means_the_same_to_any_yaml_reader(path: Path) -> None:
    assert task_from_dict(yaml.safe_load(path.read_text())) == load_task_file(path)
    assert path.relative_to(REGISTRY).as_posix() == f"{load_task_file(path).name}.yaml"


def test_a_task_file_of_the_user_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((REGISTRY / "qqp.yaml").read_text().replace('"false", "true"', "no, yes"))
    task = get_task(str(path))
    assert task.label_words_for("masked_lm") == ("no", "yes"), "unquoted no and yes stay words"


def test_a_task_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: No such file"):
        get_task(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(UserError, match="Cannot read"):
        load_task_file(tmp_path)


BILLION_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BILLION_LAUGHS, "line 2 .*alias"),
        ("name: !!python/object/apply:os.system ['true']", "tag"),
        ("name: x\nname: y", "line 2 .*appears twice"),
        ("[" * 200_000, "levels deep"),
        ("{a: " * 5_000, "levels deep"),
        ("{[a]: b}", "key must be plain text"),
        ("name: [", "line 1"),
        ("name: x\n\tkind: y", "line 2"),
        ("", "mapping of fields"),
        ("- a\n- b", "mapping of fields"),
        ("name: a\n---\nname: b", "single document"),
        ("name: '\x07'", "not a valid task file"),
    ],
    ids=[
        "alias bomb",
        "tag",
        "twice",
        "deep",
        "deep maps",
        "key",
        "open",
        "tab",
        "empty",
        "list",
        "two",
        "bell",
    ],
)
def test_a_hostile_or_broken_task_file_is_refused_quickly(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(text)
    started = time.perf_counter()
    with pytest.raises(UserError, match=complaint):
        load_task_file(path)
    assert time.perf_counter() - started < 5


def test_a_huge_or_binary_task_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UserError, match="at most 1,000,000"):
        load_task_file(path)
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load_task_file(path)


def test_importing_the_tasks_loads_no_heavy_library() -> None:
    code = (
        "import sys, prompt_hub.tasks as t; t.list_tasks(); "
        "print([m for m in ('torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'nltk', 'pyarrow') "
        "if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
