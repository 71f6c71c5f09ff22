"""A user's file is read as it stands, and each fault is named by file and line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_hub.errors import UserError
from prompt_hub.tasks import Example, load_file, task_from_dict
from prompt_hub.tasks.files import read_table

TOY = task_from_dict(
    {
        "name": "toy",
        "kind": "classification",
        "classes": ["bad", "good"],
        "label_map": {"1": "bad", "2": "good"},
        "drop_labels": ["-1"],
        "columns": {"text_a": "review", "label": "stars"},
        "templates": {"default": "{text_a}"},
        "label_words": {"default": ["bad", "good"]},
    }
)
SCORES = task_from_dict(
    {
        "name": "scores",
        "kind": "regression",
        "label_range": [0, 5],
        "columns": {"text_a": "a", "text_b": "b", "label": "y"},
        "templates": {"default": "{text_a} {text_b}"},
        "label_words": {"default": ["no", "yes"]},
    }
)
ANSWERS = task_from_dict(
    {
        "name": "answers",
        "kind": "generation",
        "columns": {"source": "question: {q} context: {c}", "target": "answers.text"},
        "templates": {"default": "{text_a}"},
    }
)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


def test_csv_keeps_quotes_commas_newlines_and_a_byte_order_mark_apart(write: Any) -> None:
    path = write("a.csv", b'\xef\xbb\xbfreview,stars\r\n"so ""good"", yes\nreally",2\r\n\r\nbad,1\r\n')
    split = load_file(path, TOY)
    assert [(e.text_a, e.label) for e in split.examples] == [('so "good", yes\nreally', 1), ("bad", 0)]


def test_tsv_quotes_are_ordinary_characters(write: Any) -> None:
    path = write("a.tsv", 'review\tstars\n"quoted" he said, "all"\t2\n"\t1\n')
    assert [e.text_a for e in load_file(path, TOY).examples] == ['"quoted" he said, "all"', '"']


def test_a_tsv_written_with_csv_quoting_is_refused(write: Any) -> None:
    path = write("a.tsv", 'review\tstars\n"he said ""no"" twice"\t2\n')
    with pytest.raises(UserError, match=r"line 2 looks like a quoted CSV field"):
        load_file(path, TOY)


def test_json_lines_may_hold_line_separators_inside_a_text(write: Any) -> None:
    text = "one\u2028two\x85three"
    path = write("a.jsonl", json.dumps({"review": text, "stars": 2}, ensure_ascii=False) + "\n\n")
    assert load_file(path, TOY).examples == [Example(text, None, 1)]


def test_json_and_parquet_hold_the_same_rows(write: Any, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"review": "fine", "stars": 2}, {"review": "poor", "stars": 1}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    from_json = load_file(write("a.json", json.dumps(rows)), TOY)
    from_parquet = load_file(tmp_path / "a.parquet", TOY)
    assert from_json.examples == from_parquet.examples
    assert from_json.fingerprint == from_parquet.fingerprint


def test_labels_are_read_alike_from_text_int_float_and_class_name(write: Any) -> None:
    rows = [{"review": "x", "stars": label} for label in ("2", 2, 2.0, " 2 ", "good")]
    path = write("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert load_file(path, TOY).labels() == [1] * 5


def test_booleans_meet_a_map_of_words_or_of_numbers(write: Any) -> None:
    path = write("a.jsonl", '{"review": "x", "stars": true}\n{"review": "x", "stars": false}')
    for keys in (("false", "true"), ("0", "1")):
        task = task_from_dict({**TOY.to_dict(), "label_map": dict(zip(keys, TOY.classes, strict=True))})
        assert load_file(path, task).labels() == [1, 0]


def test_dropped_labels_are_counted(write: Any) -> None:
    split = load_file(write("a.csv", "review,stars\nx,-1\ny,1\n"), TOY)
    assert (len(split), split.dropped) == (1, 1)
    with pytest.raises(UserError, match="every row has a label that task 'toy' leaves out"):
        load_file(write("b.csv", "review,stars\nx,-1\n"), TOY)


def test_the_packages_own_column_names_work_for_every_task(write: Any) -> None:
    assert load_file(write("a.csv", "text_a,label\nx,2\n"), TOY).labels() == [1]


def test_unlabelled_rows_need_no_label_column(write: Any) -> None:
    path = write("a.csv", "review\nx\n")
    assert load_file(path, TOY, unlabelled=True).labels() == [None]
    odd = write("b.csv", "review,stars\nx,unknown\n")
    assert load_file(odd, TOY, unlabelled=True).labels() == [None]


def test_a_text_longer_than_the_csv_modules_limit_is_read_and_the_limit_put_back(write: Any) -> None:
    before = csv.field_size_limit()
    split = load_file(write("a.csv", f"review,stars\n{'x' * 200_000},2\n"), TOY)
    assert len(split.examples[0].text_a) == 200_000
    assert csv.field_size_limit() == before


def test_a_target_is_a_column_a_pattern_or_a_path_with_all_accepted_texts(write: Any) -> None:
    row = {"q": "who?", "c": "Ada wrote {it}", "answers": {"text": ["Ada", "Ada L.", "Ada"]}}
    (example,) = load_file(write("a.jsonl", json.dumps(row)), ANSWERS).examples
    assert example == Example("question: who? context: Ada wrote {it}", None, "Ada", ("Ada", "Ada L."))


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_csv_whose_header_has_no_comma_is_separated_by_what_it_has(write: Any, sign: str) -> None:
    text = f'review{sign}stars\na, b{sign}1\n"with{sign}in"{sign}2\n'
    assert [example.text_a for example in load_file(write("a.csv", text), TOY).examples] == [
        "a, b",
        f"with{sign}in",
    ]
    assert read_table(write("a.csv", '"one;column"\nx\n')).columns == ("one;column",)


@pytest.mark.parametrize(
    ("labels", "written"),
    [({"0": "bad", "1": "good"}, ["0.0", "1.0"]), ({"False": "bad", "True": "good"}, None)],
)
def test_a_label_in_another_spelling_of_the_same_value(write: Any, labels: Any, written: Any) -> None:
    task = replace(TOY, label_map=labels)
    if written:
        path = write("a.csv", "review,stars\n" + "".join(f"x,{label}\n" for label in written))
    else:
        path = write("a.jsonl", '{"review": "x", "stars": false}\n{"review": "x", "stars": true}\n')
    assert load_file(path, task).labels() == [0, 1]


def test_scores_are_numbers_in_the_range(write: Any) -> None:
    assert load_file(write("a.csv", "a,b,y\nx,z,4.5\n"), SCORES).labels() == [4.5]
    for value in ("5.1", "-1", "nan", "much"):
        with pytest.raises(UserError, match=rf"line 2: score '{value}' is not a number from 0 to 5"):
            load_file(write("a.csv", f"a,b,y\nx,z,{value}\n"), SCORES)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "review,stars\ngood,1\nx,y,2\n", r"a\.csv, line 3 has 3 fields, the header has 2"),
        ("a.csv", 'review,stars\n"a\nb",1\nx\n', r"line 4 has 1 fields"),
        ("a.csv", 'review,stars\nok,1\n"never closed,1\n', r"starts at line 3 is broken"),
        ("a.csv", 'review,stars\n"a"b,1\n', r"starts at line 2 is broken"),
        ("a.csv", "review,review\nx,1\n", r"names 'review' more than once"),
        ("a.csv", "review,stars\n", "has no rows"),
        ("a.csv", "", "is empty"),
        ("a.csv", " \n\n", "is empty"),
        ("a.csv", "reviews,stars\nx,1\n", r"no column 'review' .*Did you mean 'reviews'.*reviews, stars"),
        ("a.csv", "review,rating\nx,1\n", r"no column 'stars' for label .*review, rating"),
        ("a.csv", "review;stars\nx;y;1\n", r"line 2 has 3 fields, .* contain a semicolon in double quotes"),
        (
            "a.csv",
            "review,stars\nx,3\n",
            r"line 2: label '3' is not a label of task 'toy'.*1, 2, bad, good.*such as 3=bad,OTHER=good",
        ),
        ("a.csv", "review,stars\nx,god\n", r"Did you mean 'good'"),
        ("a.csv", "review,stars\nx,\n", r"line 2 has no label. Fill it in, or remove the row"),
        ("a.csv", "review,stars\nx,1\n  ,1\n", r"line 3: text_a is empty"),
        ("a.csv", b"review,stars\nx,1\n\xff,1\n", r"line 3 is not UTF-8 \(byte 0xff\)"),
        ("a.csv", b"review,stars\nx\0,1\n", r"line 2 holds a NUL byte"),
        ("a.csv", "review,stars\nx,1\n".encode("utf-16"), "UTF-16"),
        ("a.jsonl", '{"review": "x", "stars": 1}\n{"review": \n', r"line 2 is not valid JSON: .* at column"),
        ("a.jsonl", '["x", 1]\n', "line 1 is no JSON object but list"),
        ("a.jsonl", '{"review": "x", "stars": 1}\n{"review": "x"}\n', r"line 2 has no label \('stars'\)"),
        ("a.jsonl", '{"review": "x", "stars": null}\n', "line 1 has no label"),
        ("a.jsonl", '{"review": "x", "stars": NaN}\n', "line 1 has no label"),
        ("a.jsonl", '{"review": null, "stars": 1}\n', "text_a is empty"),
        ("a.jsonl", '{"review": 5, "stars": 1}\n', "text_a is int '5', not text"),
        ("a.jsonl", '{"review": "\\ud83d", "stars": 1}\n', "half of a surrogate pair"),
        ("a.jsonl", "[" * 100_000, "line 1 is not valid JSON"),
        ("a.jsonl", '{"review": "x", "stars": ' + "9" * 5000 + "}", "line 1 is not valid JSON"),
        ("a.json", '{"review": "x"}', "must hold a list of objects"),
        ("a.json", "[\n{},\n{x}]", r"a\.json, line 3 is not valid JSON"),
        ("a.json", "[1]", "row 1 is no object"),
        ("a.json", "[]", "has no rows"),
        ("a.parquet", "not parquet", "as Parquet"),
        ("a.txt", "x", "Allowed endings"),
    ],
)
def test_a_fault_is_named_by_file_and_line(write: Any, name: str, content: Any, complaint: str) -> None:
    path = write(name, content)
    with pytest.raises(UserError, match=complaint) as caught:
        load_file(path, TOY)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["gone.csv", "gone.jsonl", "gone.parquet"])
def test_a_vanished_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"{name}: No such file"):
        load_file(tmp_path / name, TOY)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match="Cannot read"):
        load_file(tmp_path / "a.csv", TOY)


def test_a_generation_row_needs_a_target(write: Any) -> None:
    for answers in ({"text": []}, {"text": [""]}, {"text": [3]}):
        row = {"q": "q", "c": "c", "answers": answers}
        with pytest.raises(UserError, match="line 1: target"):
            load_file(write("a.jsonl", json.dumps(row)), ANSWERS)
    with pytest.raises(UserError, match="has no target"):
        load_file(write("a.jsonl", '{"q": "q", "c": "c", "answers": 3}'), ANSWERS)


def test_a_limit_draws_rows_by_seed_and_keeps_their_order(write: Any) -> None:
    path = write("a.csv", "review,stars\n" + "".join(f"text {i:03},{1 + i % 2}\n" for i in range(100)))

    def texts(limit: int | None, seed: int = 0) -> list[str]:
        return [example.text_a for example in load_file(path, TOY, limit=limit, seed=seed).examples]

    assert texts(10) == texts(10) == sorted(texts(10))
    assert texts(10) != texts(10, seed=1)
    assert set(texts(10)) < set(texts(30))
    assert texts(100) == texts(1000) == texts(None)
    for limit in (0, -3):
        with pytest.raises(UserError, match="limit must be 1 or more"):
            load_file(path, TOY, limit=limit)


SNIPPETS = [
    b'"',
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"review",
    b"stars",
    b"1",
    b"\xff",
    b"\0",
    b"x",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(SNIPPETS), max_size=25),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".parquet"]),
)
def test_bytes_of_any_kind_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    for content in (b"".join(pieces), b"review,stars\n" + b"".join(pieces)):
        path.write_bytes(content)
        try:
            load_file(path, TOY)
        except UserError as error:
            assert path.name in str(error)
