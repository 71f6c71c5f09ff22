"""The main job from the command line: train on one's own rows, score, use."""

from __future__ import annotations

import json

import pytest
from command import call, refuses, succeeds, write_csv, write_jsonl

from prompt_hub.cli.options import Columns, task_from_options
from prompt_hub.tasks import task_from_dict


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_train_on_own_rows_prints_scores_to_stderr_and_one_json_line_to_stdout(
    tiny_folder, files, own_columns, short, tmp_path, kind
):
    outcome = succeeds(
        "train", "--backbone", tiny_folder(kind), "--train", files.train, "--eval", files.eval,
        *own_columns, *short, "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    result = outcome.json
    assert result["n"] == 16 and result["steps"] == 4 and result["task"] == "my"
    assert result["prompt"] == str(tmp_path / "out")
    assert set(result["floors"]) == {"majority", "no_prompt", "random_prompt"}
    assert f"{result['metrics']['accuracy']:.3f}" in outcome.stderr
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_train_without_json_leaves_stdout_empty(tiny_folder, files, own_columns, short, tmp_path):
    outcome = succeeds(
        "train", "--backbone", tiny_folder("bert"), "--train", files.train, *own_columns, *short,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert outcome.stdout == ""
    assert "No validation rows were given" in outcome.stderr


@pytest.mark.parametrize("way", [["--together"], []], ids=["together", "one by one"])
def test_train_with_several_seeds_stores_a_prompt_each(tiny_folder, files, own_columns, short, tmp_path, way):
    outcome = succeeds(
        "train", "--backbone", tiny_folder("gpt2"), "--train", files.train, "--eval", files.eval,
        *own_columns, *short, "--seeds", "1,2", *way, "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    result = outcome.json
    scores = [run["metrics"]["accuracy"] for run in result["runs"]]
    assert result["score"]["values"] == scores and result["score"]["mean"] == sum(scores) / 2
    for seed, run in zip((1, 2), result["runs"], strict=True):
        assert run["prompt"] == str(tmp_path / "out" / f"seed-{seed}")
        again = succeeds("eval", run["prompt"], "--eval", files.eval, "--json").json
        assert again["metrics"] == run["metrics"]
        assert f"{run['metrics']['accuracy']:.3f}" in outcome.stderr
    line = ("train", "--backbone", tiny_folder("gpt2"), "--train", files.train, *own_columns, *short)
    refuses(*line, "--seeds", "3,2", "--output", tmp_path / "out", says=("seed-2 already holds",))
    refuses(*line, "--together", says=("name them with --seeds 1,2,3",))
    refuses(*line, "--seeds", "4,4", says=("names one twice",))


def test_predict_answers_each_row_under_the_prompt_that_it_names(
    tiny_folder, files, own_columns, short, tmp_path
):
    succeeds(
        "train", "--backbone", tiny_folder("gpt2"), "--train", files.train, *own_columns, *short,
        "--seeds", "1,2", "--together", "--output", tmp_path / "out",
    )  # fmt: skip
    texts = ["a lovely film", "an awful plot and a boring actor", "the house", "a sad dog runs"]
    owners = ["seed-2", "seed-1", "seed-1", "seed-2"]
    requests = write_jsonl(
        tmp_path / "requests.jsonl",
        [{"who": owner, "text_a": text} for owner, text in zip(owners, texts, strict=True)],
    )
    line = ("predict", tmp_path / "out", requests, "--prompt-column")
    answers = succeeds(*line, "who", "--json").json["predictions"]
    assert [answer["prompt"] for answer in answers] == owners
    for answer, text in zip(answers, texts, strict=True):
        (tmp_path / "one.txt").write_text(text)
        alone = succeeds("predict", tmp_path / "out" / answer["prompt"], tmp_path / "one.txt", "--json").json
        [expected] = alone["predictions"]
        assert answer["text_a"] == text and answer["label"] == expected["label"]
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    first = succeeds(*line, "who").stdout.splitlines()[0].split("\t")
    assert first[0] == "seed-2" and first[-1] == "a lovely film"
    refuses(*line, "prompt", says=("has no column 'prompt'", "who, text_a"))
    refuses(*line, "who", "--task", "sst2", says=("leave out --task",))
    refuses("predict", tmp_path / "out", "--prompt-column", "who", says=("give the rows as a .csv",))
    nobody = write_jsonl(tmp_path / "nobody.jsonl", [{"who": "", "text_a": "a"}])
    refuses("predict", tmp_path / "out", nobody, "--prompt-column", "who", says=("line 1 names no prompt",))
    lost = write_jsonl(tmp_path / "lost.jsonl", [{"who": "seed-9", "text_a": "a"}])
    refuses("predict", tmp_path / "out", lost, "--prompt-column", "who", says=("seed-9",))


def test_what_train_reports_is_what_eval_finds_again(trained, files):
    stored = json.loads((trained("bert") / "prompt_hub.json").read_text())["metrics"]["validation"]
    found = succeeds("eval", trained("bert"), "--eval", files.eval, "--json").json
    assert found["metrics"]["accuracy"] == pytest.approx(stored["accuracy"], abs=1e-12)
    assert found["n"] == stored["n"] == 16
    assert found["floors"] == stored["floors"]


def test_eval_of_another_csv_needs_no_columns_again(trained, files):
    result = succeeds("eval", trained("gpt2"), "--eval", files.other, "--json").json
    assert result["n"] == 16 and sum(result["predicted"].values()) == 16
    assert set(result["predicted"]) == {"bad", "good"}


def test_two_evals_in_a_row_give_identical_numbers(trained, files):
    first, second = (succeeds("eval", trained("bert"), "--eval", files.other, "--json").json for _ in "ab")
    for result in (first, second):
        result.pop("seconds")
    assert first == second


def test_a_batch_size_does_not_change_the_answers(trained, files):
    answers = [
        succeeds("eval", trained("bert"), "--eval", files.other, "--batch-size", size, "--json").json
        for size in (1, 7, 64)
    ]
    assert answers[0]["predicted"] == answers[1]["predicted"] == answers[2]["predicted"]
    assert answers[0]["metrics"] == answers[1]["metrics"] == answers[2]["metrics"]


def test_eval_of_a_file_with_other_column_names_keeps_the_label_words(trained, tmp_path):
    rows = write_csv(tmp_path / "shop.csv", [("a red house", 2), ("a blue cat", 1)], "body,grade")
    result = succeeds(
        "eval", trained("bert"), "--eval", rows, "--text-a", "body", "--label", "grade", "--json"
    ).json
    assert result["task"] == "shop" and set(result["predicted"]) == {"bad", "good"}


def test_eval_of_a_file_with_labels_of_its_own(trained, tmp_path, files):
    moods = [("a blue cat", "angry"), ("a red house", "happy"), ("a green dog", "angry")]
    others = write_csv(tmp_path / "moods.csv", moods, "body,mood")
    columns = ("--text-a", "body", "--label", "mood")
    asked = ("eval", trained("bert"), "--eval", others, *columns)
    refuses(*asked, says=("'angry' is not a label", "--label-words", "angry=bad,OTHER=good"))
    result = succeeds(*asked, "--label-words", "happy=good,angry=bad", "--json").json
    assert list(result["predicted"]) == ["bad", "good"] and result["floors"]["majority"]["accuracy"] == 2 / 3
    # The words of the stored task stay, and so does their order: its template and words are what was trained.
    same = write_csv(tmp_path / "same.csv", moods)
    again = succeeds(
        "eval", trained("bert"), "--eval", same, "--label-words", "happy=good,angry=bad", "--json"
    )
    assert again.json["predicted"] == result["predicted"] and again.json["metrics"] == result["metrics"]


def test_eval_says_that_its_record_is_not_stored(trained, files, tmp_path):
    asked = ("eval", trained("bert"), "--eval", files.eval)
    assert "--output FILE.json keeps the record" in succeeds(*asked).stderr
    assert "Not stored" not in succeeds(*asked, "--output", tmp_path / "eval.json").stderr


def test_train_says_what_eval_would_of_rows_that_it_has_seen(
    tiny_folder, files, own_columns, short, tmp_path
):
    seen = "32 of 32 texts were also in the prompt's training data"
    trained = succeeds(
        "train", "--backbone", tiny_folder("bert"), "--train", files.train, "--eval", files.train,
        *own_columns, *short, "--output", tmp_path / "out",
    )  # fmt: skip
    assert seen in trained.stderr
    assert seen in succeeds("eval", tmp_path / "out", "--eval", files.train).stderr


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(f"the film {word}", 2) for word in "abcdefghijkl"], "Every training row has the label 'good'"),
        ([("the film", 1), ("the plot", 2)], "Training rows: 2."),
        ([(f"film {index}", 1 + index % 2) for index in range(60)], "held out no checkpoint was better than"),
    ],
)
def test_train_without_rows_to_score_on_says_what_is_wrong(
    tiny_folder, own_columns, short, tmp_path, rows, says
):
    path = write_csv(tmp_path / "rows.csv", rows)
    outcome = succeeds(
        "train", "--backbone", tiny_folder("bert"), "--train", path, *own_columns, *short, "--lr", "1e-9",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert says in outcome.stderr


def trained_by_task_file(tiny_folder, short, folder, definition, labels):
    """A prompt trained on a task file, and a CSV with other texts under other column names."""
    (folder / "task.yaml").write_text(definition)
    rows = write_csv(
        folder / "rows.csv", [(f"the film {word}", label) for word in "abcd" for label in labels]
    )
    succeeds(
        "train", "--backbone", tiny_folder("bert"), "--task", folder / "task.yaml", "--train", rows, *short,
        "--output", folder / "out",
    )  # fmt: skip
    other = [(f"a dog {word}", label) for word in "abcd" for label in labels]
    return folder / "out", write_csv(folder / "other.csv", other, "body,grade")


def test_eval_of_other_columns_when_two_labels_mean_one_class(tiny_folder, short, tmp_path):
    definition = """\
name: stars
classes: [poor, fine]
label_map: {"1": poor, "2": poor, "3": fine}
columns: {text_a: review, label: stars}
templates: {masked_lm: "{mask} {text_a}"}
label_words: {default: [bad, good]}
"""
    prompt, rows = trained_by_task_file(tiny_folder, short, tmp_path, definition, (1, 2, 3))
    columns = ("--text-a", "body", "--label", "grade")
    result = succeeds("eval", prompt, "--eval", rows, *columns, "--json").json
    assert result["n"] == 12 and len(result["predicted"]) == 2


@pytest.mark.parametrize("family", ["masked_lm", "causal_lm"])
def test_a_file_with_other_columns_keeps_template_and_label_words_of_the_prompts_task(tmp_path, family):
    stored = {
        "name": "tone",
        "classes": ["neg", "pos"],
        "columns": {"text_a": "review", "label": "stars"},
        "templates": {"masked_lm": "{text_a} the story was {mask}", "causal_lm": "{text_a} ."},
        "label_words": {"causal_lm": ["sad", "happy"], "masked_lm": ["awful", "great"]},
        "max_length": 50,
    }
    rows = write_csv(tmp_path / "rows.csv", [("a dog", "neg"), ("a cat", "pos")], "body,grade")
    own = task_from_dict(stored)
    found = task_from_options(None, rows, Columns(text_a="body", label="grade"), own)
    assert found.label_words_for(family) == own.label_words_for(family)
    assert found.template_for(family) == own.template_for(family)
    assert found.max_length == own.max_length


def test_eval_on_another_task_drops_rows_that_the_prompt_was_trained_on(trained, files, tmp_path):
    seen = files.train.read_text().splitlines()[1:4]
    rows = tmp_path / "shop.csv"
    rows.write_text("body,grade\n" + "\n".join([*seen, "the garden was lovely,2"]) + "\n")
    outcome = succeeds(
        "eval", trained("bert"), "--eval", rows, "--text-a", "body", "--label", "grade", "--json"
    )
    assert outcome.json["removed_overlap"] == 3 and outcome.json["n"] == 1
    assert "3 rows were left out because the prompt was trained on their text" in outcome.stderr


def test_eval_stores_the_record_it_is_asked_for(trained, files, tmp_path):
    result = succeeds(
        "eval", trained("bert"), "--eval", files.other, "--output", tmp_path / "record.json", "--json"
    ).json
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["kind"] == "eval" and record["status"] == "done"
    assert record["result"]["metrics"] == result["metrics"]


def test_eval_does_not_replace_a_file_that_is_no_record(trained, files, tmp_path):
    precious = tmp_path / "precious.csv"
    precious.write_text("text\nirreplaceable\n")
    call("eval", trained("bert"), "--eval", files.other, "--output", precious)
    assert precious.read_text() == "text\nirreplaceable\n"


def test_eval_floors_can_be_chosen_or_left_out(trained, files):
    def floors(value):
        return set(
            succeeds("eval", trained("bert"), "--eval", files.other, "--floors", value, "--json").json[
                "floors"
            ]
        )

    assert floors("none") == set()
    assert floors("majority, no_prompt") == {"majority", "no_prompt"}


def test_limit_eval_takes_that_many_rows(trained, files):
    result = succeeds("eval", trained("bert"), "--eval", files.other, "--limit-eval", 5, "--json").json
    assert result["n"] == 5


def test_predict_answers_every_line_of_stdin_in_order(trained):
    texts = ["the film was great", "a plot", "the dog was awful and boring and sad", "good"]
    outcome = succeeds("predict", trained("bert"), stdin="\n".join(texts) + "\n")
    lines = [line.split("\t") for line in outcome.stdout.splitlines()]
    assert [line[2] for line in lines] == texts
    for label, probabilities, _ in lines:
        parsed = {name: float(value) for name, value in (part.split("=") for part in probabilities.split())}
        assert sum(parsed.values()) == pytest.approx(1, abs=2e-4)
        assert label == max(parsed, key=parsed.get)


def test_each_text_gets_the_answer_it_gets_alone(trained):
    texts = ["the film was great and the plot was lovely", "a plot", "the dog was awful", "good"]
    together = succeeds("predict", trained("gpt2"), "--json", stdin="\n".join(texts)).json["predictions"]
    assert len({answer["probabilities"]["good"] for answer in together}) == len(texts)
    for text, answer in zip(texts, together, strict=True):
        alone = succeeds("predict", trained("gpt2"), "--json", stdin=text).json["predictions"][0]
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], abs=2e-6)


def test_predict_gives_the_same_for_stdin_text_file_and_csv(trained, tmp_path):
    texts = ["the film was great", "the plot was awful"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    write_csv(tmp_path / "rows.csv", [(text, "") for text in texts], "review,note")
    write_csv(tmp_path / "named.csv", [(text, "") for text in texts], "body,note")
    write_jsonl(tmp_path / "rows.jsonl", [{"review": text} for text in texts])
    from_stdin = succeeds("predict", trained("bert"), "--json", stdin="\n".join(texts)).json
    assert from_stdin["n"] == 2
    for arguments in (["texts.txt"], ["rows.csv"], ["rows.jsonl"], ["named.csv", "--text-a", "body"]):
        path, *rest = arguments
        found = succeeds("predict", trained("bert"), tmp_path / path, *rest, "--json").json
        assert found["predictions"] == from_stdin["predictions"]


def test_predict_agrees_with_what_eval_counts(trained, files):
    predicted = succeeds("predict", trained("gpt2"), files.other, "--json").json["predictions"]
    counted = succeeds("eval", trained("gpt2"), "--eval", files.other, "--json").json["predicted"]
    assert {name: sum(p["label"] == name for p in predicted) for name in counted} == counted


def test_predict_skips_blank_lines(trained):
    assert succeeds("predict", trained("bert"), "--json", stdin="good\n\n  \nbad\n").json["n"] == 2


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"], ids=ascii)
def test_only_a_line_break_ends_a_text_of_predict(trained, sign):
    """``str.splitlines`` breaks at eight more characters; answers would not line up with the input."""
    found = succeeds("predict", trained("bert"), "--json", stdin=f"the film{sign}was good\nbad\n").json
    assert found["n"] == 2


def test_predict_ignores_a_byte_order_mark_at_the_start_of_a_file(trained, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbfthe film was good\n")
    found = succeeds("predict", trained("bert"), tmp_path / "texts.txt", "--json").json
    assert found["predictions"][0]["text_a"] == "the film was good"


def test_predict_reads_windows_line_ends(trained):
    found = succeeds("predict", trained("bert"), "--json", stdin="the film\r\nthe plot\r\n").json
    assert [answer["text_a"] for answer in found["predictions"]] == ["the film", "the plot"]


def test_other_label_words_give_other_probabilities_under_the_same_classes(trained):
    plain = succeeds("predict", trained("bert"), "--json", stdin="the film").json["predictions"][0]
    other = succeeds(
        "predict", trained("bert"), "--label-words", "1=sad,2=happy", "--json", stdin="the film"
    ).json["predictions"][0]
    assert set(plain["probabilities"]) == set(other["probabilities"]) == {"bad", "good"}
    assert plain["probabilities"] != other["probabilities"]


def test_a_template_of_the_command_line_is_used_and_stored(tiny_folder, files, own_columns, short, tmp_path):
    template = "{text_a} the film was {mask} ."
    succeeds(
        "train", "--backbone", tiny_folder("bert"), "--train", files.train, *own_columns, *short,
        "--template", template, "--output", tmp_path / "out",
    )  # fmt: skip
    assert json.loads((tmp_path / "out" / "prompt_hub.json").read_text())["template"] == template
    default = succeeds(
        "predict", tmp_path / "out", "--template", "{mask} {text_a}", "--json", stdin="the dog"
    ).json
    own = succeeds("predict", tmp_path / "out", "--json", stdin="the dog").json
    assert own["predictions"] != default["predictions"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_prompt_fits_its_own_backbone_in_every_dtype(trained, files, dtype):
    result = succeeds("eval", trained("bert"), "--eval", files.other, "--dtype", dtype, "--json").json
    assert result["n"] == 16


def test_bars_are_drawn_on_a_terminal_and_quiet_turns_them_off(run_of):
    loud = [option for option in run_of if option != "--quiet"]
    assert "train my" in call(*loud, terminal=True).stderr
    quiet = call(*run_of, "--overwrite", terminal=True)
    assert quiet.code == 0 and "train my" not in quiet.stderr


def test_an_interrupted_command_says_that_what_was_finished_is_kept(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("prompt_hub.tasks.list_tasks", interrupted)
    outcome = call("tasks", "ls")
    assert outcome.code == 130 and "Interrupted" in outcome.stderr and "--resume" in outcome.stderr


# -- texts longer than the model ---------------------------------------------------------------------


def test_a_text_longer_than_the_model_is_cut_and_counted_by_eval(trained, tmp_path):
    rows = [("the film was good " * 60, 2), ("the plot", 1), ("bad " * 400, 1)]
    path = write_csv(tmp_path / "long.csv", rows)
    outcome = succeeds("eval", trained("bert"), "--eval", path, "--json")
    assert outcome.json["truncated"] == 2
    assert "2 of 3 texts were cut to fit" in outcome.stderr


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_text_longer_than_the_model_is_cut_and_told_by_predict(trained, kind):
    outcome = succeeds("predict", trained(kind), stdin="the film was good " * 200 + "\nthe plot\n")
    assert "1 of 2 texts were cut to fit" in outcome.stderr
    assert len(outcome.stdout.splitlines()) == 2


def test_texts_cut_in_training_are_told(tiny_folder, own_columns, short, tmp_path):
    rows = [
        (f"the film was good {'and the plot ' * 60} {word}", stars)
        for stars, word in ((1, "bad"), (2, "good"))
    ]
    path = write_csv(tmp_path / "my.csv", rows * 6)
    outcome = succeeds(
        "train", "--backbone", tiny_folder("bert"), "--train", path, *own_columns, *short,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert "cut to fit" in outcome.stderr


# -- pairs, task files, generation -------------------------------------------------------------------

PAIR_TASK = """\
name: my-pairs
kind: classification
classes: ["no", "yes"]
label_map: {"0": "no", "1": "yes"}
columns: {text_a: first, text_b: second, label: label}
templates:
  masked_lm: "{text_a} {mask} {text_b}"
  causal_lm: "{text_a} question {text_b} answer"
label_words:
  default: ["no", "yes"]
"""


@pytest.fixture(scope="module")
def pair_task(tmp_path_factory):
    """(task file, data folder, a prompt trained on it)"""
    folder = tmp_path_factory.mktemp("pairs")
    path = folder / "pairs.yaml"
    path.write_text(PAIR_TASK)
    rows = [
        {"first": f"the {a} runs", "second": f"the {b} runs", "label": int(a == b)}
        for a in ("dog", "cat", "film", "plot")
        for b in ("dog", "cat", "film", "plot")
    ]
    (folder / "data" / "my-pairs").mkdir(parents=True)
    for split in ("train", "validation"):
        write_jsonl(folder / "data" / "my-pairs" / f"{split}.jsonl", rows)
    return path, folder / "data"


@pytest.fixture(scope="module")
def pair_prompt(tiny_folder, pair_task, short, tmp_path_factory):
    task, data = pair_task
    output = tmp_path_factory.mktemp("pair-prompt") / "out"
    succeeds(
        "train", "--backbone", tiny_folder("bert"), "--task", task, "--data-dir", data, *short,
        "--output", output,
    )  # fmt: skip
    return output


def test_a_task_file_serves_train_eval_and_predict(pair_task, pair_prompt):
    task, data = pair_task
    evaluated = succeeds("eval", pair_prompt, "--task", task, "--data-dir", data, "--json").json
    assert evaluated["task"] == "my-pairs" and evaluated["n"] == 16
    own = succeeds("eval", pair_prompt, "--data-dir", data, "--json").json
    assert own["metrics"] == evaluated["metrics"]
    answers = succeeds("predict", pair_prompt, "--task", task, "--json", stdin="the dog\tthe cat\n").json
    assert answers["predictions"][0]["text_b"] == "the cat"


def test_a_pair_task_takes_two_texts_with_a_tab(pair_prompt):
    outcome = succeeds("predict", pair_prompt, stdin="the dog runs\tthe cat runs\nthe film\tthe plot\n")
    assert [line.split("\t")[2:] for line in outcome.stdout.splitlines()] == [
        ["the dog runs", "the cat runs"],
        ["the film", "the plot"],
    ]


def test_the_second_text_of_a_pair_matters(pair_prompt):
    found = succeeds("predict", pair_prompt, "--json", stdin="the dog\tthe cat\nthe dog\tthe plot was bad\n")
    first, second = found.json["predictions"]
    assert first["probabilities"] != second["probabilities"]


@pytest.mark.parametrize("line", ["one text alone", "first\t", "\tsecond", "a\tb\tc"], ids=ascii)
def test_a_line_that_is_no_pair_is_named(pair_prompt, line):
    outcome = call("predict", pair_prompt, stdin=f"the dog\tthe cat\n{line}\n")
    assert outcome.code == 2 and "line 2" in outcome.stderr


def test_pairs_from_own_columns(tiny_folder, short, tmp_path):
    rows = [{"a": f"the {w}", "b": "runs", "y": y} for w in ("dog", "cat", "film") for y in ("yes", "no")]
    path = write_jsonl(tmp_path / "pairs.jsonl", rows * 2)
    columns = ("--text-a", "a", "--text-b", "b", "--label", "y")
    result = succeeds(
        "train", "--backbone", tiny_folder("gpt2"), "--train", path, "--eval", path, *columns, *short,
        "--output", tmp_path / "out", "--json",
    ).json  # fmt: skip
    assert set(result["predicted"]) == {"no", "yes"}


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_generation_from_own_columns(tiny_folder, short, tmp_path, kind):
    rows = [{"doc": f"the {word} was good", "sum": f"good {word}"} for word in ("dog", "cat", "film", "plot")]
    path = write_jsonl(tmp_path / "mine.jsonl", rows * 3)
    result = succeeds(
        "train", "--backbone", tiny_folder(kind), "--train", path, "--eval", path, "--text-a", "doc",
        "--target", "sum", *short, "--limit-eval", 3, "--output", tmp_path / "out", "--json",
    ).json  # fmt: skip
    assert result["n"] == 3 and "rougeL" in result["metrics"]
    answer = succeeds("predict", tmp_path / "out", "--json", stdin="the dog was good").json["predictions"][0]
    assert isinstance(answer["text"], str)


# -- warm start, resume, quickstart ------------------------------------------------------------------


def test_a_prompt_can_start_from_another(trained, tiny_folder, files, own_columns, short, tmp_path):
    succeeds(
        "train", "--backbone", tiny_folder("bert"), "--train", files.other, *own_columns, *short,
        "--init", f"prompt:{trained('bert')}", "--output", tmp_path / "out",
    )  # fmt: skip
    parent = json.loads((tmp_path / "out" / "prompt_hub.json").read_text())["parent"]
    source = json.loads((trained("bert") / "prompt_hub.json").read_text())
    assert parent["relation"] == "warm-start" and parent["hash"] == source["prompt_hash"]


@pytest.fixture
def run_of(tiny_folder, files, own_columns, short, tmp_path):
    """``train`` of the CSV into one folder, with more options behind."""
    return (
        "train", "--backbone", tiny_folder("bert"), "--train", files.train, *own_columns, *short,
        "--output", tmp_path / "out",
    )  # fmt: skip


def test_resume_of_a_finished_run_returns_its_result(run_of, files):
    first = succeeds(*run_of, "--eval", files.eval, "--json").json
    again = succeeds(*run_of, "--eval", files.eval, "--resume", "--json").json
    assert again["prompt_hash"] == first["prompt_hash"] and again["metrics"] == first["metrics"]


def test_resume_with_validation_rows_it_has_not_seen_scores_them(run_of, files):
    succeeds(*run_of)
    outcome = succeeds(*run_of, "--eval", files.eval, "--resume", "--json")
    assert outcome.json.get("n") == 16, outcome.stderr


def test_resume_does_not_report_the_score_of_another_file(run_of, files, tmp_path):
    succeeds(*run_of, "--eval", files.eval)
    few = write_csv(tmp_path / "few.csv", [("the film was great", 2), ("the film was awful", 1)])
    outcome = call(*run_of, "--eval", few, "--resume", "--json")
    assert outcome.code == 2 or outcome.json["n"] == 2


def test_overwrite_replaces_the_run(run_of):
    first = succeeds(*run_of, "--json").json
    again = succeeds(*run_of, "--overwrite", "--seed", 7, "--json").json
    assert again["prompt_hash"] != first["prompt_hash"]


def test_resume_does_not_replace_a_prompt_that_no_run_made(run_of, trained, tmp_path):
    succeeds("prompts", "import", trained("gpt2"), "--output", tmp_path / "out")
    before = (tmp_path / "out" / "prompt_hub.json").read_bytes()
    call(*run_of, "--resume")
    assert (tmp_path / "out" / "prompt_hub.json").read_bytes() == before


def test_the_same_seed_trains_the_same_prompt(run_of, tmp_path):
    first = succeeds(*run_of, "--json").json
    again = succeeds(*run_of, "--output", tmp_path / "again", "--json").json
    assert again["prompt_hash"] == first["prompt_hash"]


def test_quickstart_does_not_replace_a_prompt_that_is_not_its_own(trained, tiny_folder, tmp_path):
    succeeds("prompts", "import", trained("gpt2"), "--output", tmp_path / "prompts" / "mini" / "film")
    before = (tmp_path / "prompts" / "mini" / "film" / "prompt_hub.json").read_bytes()
    refuses("quickstart", "--backbone", tiny_folder("gpt2"), "--output", tmp_path, says=("other files",))
    assert (tmp_path / "prompts" / "mini" / "film" / "prompt_hub.json").read_bytes() == before


def test_quickstart_refuses_tasks_and_backbones_it_does_not_know(tiny_folder, tmp_path):
    output = ("--output", tmp_path / "quick")
    refuses(
        "quickstart", "--backbone", tiny_folder("gpt2"), "--tasks", "mini/film,mini/flim", *output,
        says=("mini/flim", "Did you mean 'mini/film'?"),
    )  # fmt: skip
    refuses("quickstart", "--backbone", "./nowhere", *output, says=("./nowhere",))
    refuses(
        "quickstart", "--backbone", tiny_folder("bert"), "--tasks", "mini/film,samsum", *output,
        says=("samsum", "causal"),
    )  # fmt: skip
    assert not (tmp_path / "quick").exists()


def test_quickstart_prints_its_tables_and_the_same_numbers_as_json(tiny_folder, tmp_path):
    outcome = succeeds(
        "quickstart", "--backbone", tiny_folder("gpt2"), "--tasks", "mini/film, mini/hotel,mini/qa_objects",
        "--steps", 2, "--output", tmp_path / "quick", "--device", "cpu", "--json",
    )  # fmt: skip
    result = outcome.json
    assert json.loads((tmp_path / "quick" / "quickstart.json").read_text()) == result
    assert list(result["training"]["tasks"]) == ["mini/film", "mini/hotel", "mini/qa_objects"]
    for words in (
        "no prompt",
        "majority",
        "1 film",
        "same type",
        "from scratch",
        "no finding",
        "prompt-hub eval",
    ):
        assert words in outcome.words, words
    text = succeeds(
        "predict", result["training"]["tasks"]["mini/film"]["prompt"], stdin="a fine film ."
    ).stdout
    assert text.startswith(("terrible\t", "great\t"))
