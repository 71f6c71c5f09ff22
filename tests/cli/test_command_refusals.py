"""Bad input: exit code 2, one message that names the value, what is allowed and the fix, no traceback."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import pickle
import shutil

import pytest
from command import call, refuses, succeeds, write_csv, write_jsonl

REGRESSION = """\
name: scores
kind: regression
label_range: [0, 5]
columns: {text_a: review, label: stars}
templates: {masked_lm: "{mask} {text_a}"}
label_words: {default: ["no", "yes"]}
"""


@pytest.fixture
def train(tiny_folder, files, own_columns, short, tmp_path):
    """``train(...)``: the arguments of a good run, options replaced or added."""

    def arguments(*more, backbone="bert", rows=None, columns=own_columns, output=None):
        return (
            "train", "--backbone", tiny_folder(backbone), "--train", rows or files.train, *columns, *short,
            "--output", output or tmp_path / "out", *more,
        )  # fmt: skip

    return arguments


def nothing_is_left(folder):
    """A refused run leaves nothing behind that would stand in the way of the corrected one."""
    return not (folder / "train.json").exists() and not (folder / "prompt_hub.json").exists()


# -- tasks -------------------------------------------------------------------------------------------


def test_an_unknown_task_with_the_near_spelling(tiny_folder):
    refuses(
        "train", "--backbone", tiny_folder("bert"), "--task", "rotten_tomatos",
        says=("rotten_tomatos", "Did you mean 'rotten_tomatoes'?", "sst2"),
    )  # fmt: skip
    refuses("tasks", "show", "ssst2", says=("ssst2", "Did you mean 'sst2'?"))


def test_a_missing_task_file(tiny_folder):
    refuses("train", "--backbone", tiny_folder("bert"), "--task", "mine/none.yaml", says=("mine/none.yaml",))


def test_train_without_backbone_or_task(tiny_folder):
    refuses("train", "--task", "sst2", says=("--backbone",))
    refuses("train", "--backbone", tiny_folder("bert"), says=("--task", "--train", "--text-a"))


def test_task_and_columns_together(train):
    refuses(*train("--task", "sst2"), says=("--task", "--text-a"))


def test_columns_without_a_file(tiny_folder, own_columns):
    refuses("train", "--backbone", tiny_folder("bert"), *own_columns, says=("--train",))


def test_no_column_to_learn(train):
    refuses(*train(columns=("--text-a", "review")), says=("label", "target"))
    refuses(*train(columns=("--label", "stars")), says=("--text-a",))


def test_a_generation_task_on_a_masked_model(tiny_folder, short, tmp_path):
    rows = write_jsonl(tmp_path / "mine.jsonl", [{"doc": "the dog", "sum": "dog"}] * 12)
    refuses(
        "train", "--backbone", tiny_folder("bert"), "--train", rows, "--text-a", "doc", "--target", "sum",
        *short, "--output", tmp_path / "out",
        says=("mine", "causal", "sequence-to-sequence"),
    )  # fmt: skip
    assert nothing_is_left(tmp_path / "out")


def test_a_data_folder_without_the_task(tiny_folder, tmp_path):
    (tmp_path / "data" / "other").mkdir(parents=True)
    refuses(
        "train", "--backbone", tiny_folder("bert"), "--task", "sst2", "--data-dir", tmp_path / "data",
        "--output", tmp_path / "out", says=("sst2", "other"),
    )  # fmt: skip
    refuses(
        "train", "--backbone", tiny_folder("bert"), "--task", "sst2", "--data-dir", tmp_path / "none",
        "--output", tmp_path / "out", says=("none", "does not exist"),
    )  # fmt: skip


# -- rows --------------------------------------------------------------------------------------------


def test_a_missing_label_column(train):
    columns = ("--text-a", "review", "--label", "star", "--label-words", "1=bad,2=good")
    refuses(*train(columns=columns), says=("star", "Did you mean 'stars'?", "review, stars"))


def test_a_label_outside_the_map_names_its_row(train, tmp_path):
    rows = write_csv(tmp_path / "rows.csv", [("the film", 1), ("the plot", 2), ("the dog", 3)])
    refuses(*train(rows=rows), says=("rows.csv", "line 4", "3", "Allowed: 1, 2"))


def test_a_row_without_a_label_or_text_is_named(train, tmp_path):
    refuses(*train(rows=write_csv(tmp_path / "a.csv", [("the film", 1), ("the plot", "")])), says=("line 3",))
    refuses(
        *train(rows=write_csv(tmp_path / "b.csv", [("the film", 1), ("", 2)])),
        says=("line 3: text_a is empty",),
    )


def test_an_empty_file(train, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    refuses(*train(rows=tmp_path / "empty.csv"), says=("empty.csv is empty",))
    (tmp_path / "header.csv").write_text("review,stars\n")
    refuses(*train(rows=tmp_path / "header.csv"), says=("header.csv", "no rows"))


def test_a_broken_row_is_named(train, tmp_path):
    rows = write_csv(tmp_path / "rows.csv", [("the film", 1), ("a plot, and a dog", 2)])
    refuses(*train(rows=rows), says=("rows.csv", "line 3", "double quotes"))


def test_a_missing_file(train, trained, tmp_path):
    refuses(*train(rows=tmp_path / "none.csv"), says=("none.csv", "No such file"))
    refuses("eval", trained("bert"), "--eval", tmp_path / "none.csv", says=("none.csv", "No such file"))
    refuses("predict", trained("bert"), tmp_path / "none.txt", says=("none.txt", "No such file"))
    refuses("predict", trained("bert"), tmp_path / "none.csv", says=("none.csv", "No such file"))


def test_a_file_of_an_unknown_kind(train, tmp_path):
    (tmp_path / "rows.xlsx").write_bytes(b"PK\x03\x04")
    refuses(*train(rows=tmp_path / "rows.xlsx"), says=("rows.xlsx", ".csv", ".jsonl"))


def test_a_folder_instead_of_a_file(trained, tmp_path):
    refuses("predict", trained("bert"), tmp_path, says=(str(tmp_path),))
    refuses("eval", trained("bert"), "--eval", tmp_path, says=(str(tmp_path),))


def test_text_that_is_not_utf8(train, trained, tmp_path):
    (tmp_path / "rows.csv").write_bytes("review,stars\ncafé,1\n".encode("latin-1"))
    refuses(*train(rows=tmp_path / "rows.csv"), says=("rows.csv", "line 2", "UTF-8"))
    (tmp_path / "rows.txt").write_bytes("café\n".encode("latin-1"))
    refuses("predict", trained("bert"), tmp_path / "rows.txt", says=("rows.txt", "UTF-8"))


def test_stdin_that_is_not_utf8(trained):
    refuses("predict", trained("bert"), stdin="café\n".encode("latin-1"), says=("stdin", "UTF-8"))


def test_predict_on_empty_stdin(trained):
    refuses("predict", trained("bert"), stdin="", says=("stdin holds no text",))
    refuses("predict", trained("bert"), stdin="\n  \n", says=("stdin holds no text",))


def test_a_tab_in_a_text_of_a_task_with_one_text(trained):
    refuses("predict", trained("bert"), stdin="a\tb\n", says=("stdin, line 1", "one text without a tab"))


def test_predict_of_a_column_that_the_task_cannot_use(trained, tmp_path):
    rows = write_csv(tmp_path / "rows.csv", [("the film", "the plot")], "review,more")
    refuses("predict", trained("bert"), rows, "--text-b", "more", says=("--text-b", "my"))


def test_predict_of_a_table_without_the_column(trained, tmp_path):
    rows = write_csv(tmp_path / "rows.csv", [("the film", 1)], "body,stars")
    refuses("predict", trained("bert"), rows, says=("review", "body, stars"))
    refuses("predict", trained("bert"), rows, "--text-a", "bodi", says=("bodi", "Did you mean 'body'?"))


# -- label words and templates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("1=bad,2", "'2'"),
        ("1=bad,2=", "empty side"),
        ("1=bad,2=bad", "two labels have the word 'bad'"),
        ("1=bad,1=good", "appears twice"),
        ("nonsense", "'nonsense'"),
        ("1=bad", "for one label alone (1=bad)"),
    ],
)
def test_malformed_label_words(train, words, names):
    columns = ("--text-a", "review", "--label", "stars", "--label-words", words)
    refuses(*train(columns=columns), says=(names,))


def test_a_label_word_that_the_model_does_not_know(train, tmp_path):
    columns = ("--text-a", "review", "--label", "stars", "--label-words", "1=дом,2=good")
    refuses(*train(columns=columns), says=("'дом'", "not in the vocabulary", "--label-words"))
    assert nothing_is_left(tmp_path / "out")


def test_label_words_that_are_one_to_the_model(train):
    columns = ("--text-a", "review", "--label", "stars", "--label-words", "1=Good,2=good")
    refuses(*train(columns=columns), says=("'Good' and 'good'", "same tokens"))


def test_label_words_that_leave_out_a_class(trained):
    refuses("predict", trained("bert"), "--label-words", "1=sad", stdin="the film", says=("bad, good",))
    refuses("predict", trained("bert"), "--label-words", "1=sad,3=red", stdin="the film", says=("bad, good",))


def test_numbers_as_labels_ask_for_words(train):
    refuses(
        *train(columns=("--text-a", "review", "--label", "stars")), says=("stars", "1, 2", "1=bad,2=good")
    )


def test_a_template_without_mask_for_a_masked_model(train):
    refuses(*train("--template", "{text_a} It was"), says=("{mask}", "{text_a} It was"))


def test_a_template_with_mask_for_a_causal_model(train):
    refuses(*train("--template", "{text_a} {mask}", backbone="gpt2"), says=("{mask}", "{text_a} {mask}"))


def test_a_template_of_the_other_family_for_eval_and_predict(trained, files):
    refuses("predict", trained("bert"), "--template", "{text_a} It was", stdin="the film", says=("{mask}",))
    refuses("eval", trained("gpt2"), "--eval", files.eval, "--template", "{mask} {text_a}", says=("{mask}",))


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{mask} It was", "lacks {text_a}"),
        ("{mask} {text}", "unknown placeholder {text}"),
        ("{mask} {text_a", "braces"),
        ("{mask} {mask} {text_a}", "exactly one {mask}"),
        ("{mask} {text_a} {text_b}", "no text_b"),
        ("{mask} {text_a} {text_a}", "more than once"),
    ],
)
def test_a_template_that_cannot_be(train, template, names):
    refuses(*train("--template", template), says=(names,))


def test_an_empty_value_is_no_value(train):
    refuses(*train("--template", ""), says=("The value of --template is empty",))


# -- numbers and names among the options -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--prompt-len", "0"), ("--prompt-len", "at least 1", "0")),
        (("--prompt-len", "-3"), ("--prompt-len", "-3")),
        (("--prompt-len", "5000"), ("5000", "96", "--prompt-len")),
        (("--epochs", "1"), ("--max-steps", "--epochs")),
        (("--lr", "0"), ("--lr", "0")),
        (("--lr", "-1"), ("--lr", "-1")),
        (("--lr", "nan"), ("--lr", "nan")),
        (("--lr", "inf"), ("--lr", "inf")),
        (("--lr", "fast"), ("--lr",)),
        (("--max-steps", "-5"), ("--max-steps", "at least 1", "-5")),
        (("--batch-size", "0"), ("--batch-size", "at least 1", "not 0")),
        (("--seed", "-1"), ("--seed",)),
        (("--seed", "5000000000"), ("5000000000",)),
        (("--limit-train", "0"), ("--limit-train", "0")),
        (("--device", "cuda:7"), ("cuda:7", "cpu")),
        (("--device", "gpu"), ("There is no device 'gpu'. Did you mean 'cuda'?", "cpu", "sharded")),
        (("--dtype", "int4"), ("int4", "bfloat16", "float32")),
        (("--init", "nonsense"), ("nonsense", "vocab", "prompt:PATH", "auto:FOLDER")),
        (("--init", "vocab:5"), ("vocab",)),
        (("--init", "text:"), ("text:",)),
        (("--init", "prompt:missing"), ("missing",)),
        (("--schedule", "nonsense"), ("--schedule", "nonsense", "linear", "cosine")),
        (("--optimizer", "adamw_torc"), ("--optimizer", "Did you mean 'adamw_torch'?")),
        (("--schedule", "warmup_stable_decay"), ("warmup_stable_decay",)),
        (("--report-to", "nonsense"), ("nonsense", "tensorboard")),
        (("--schedule", "cosine_with_min_lr"), ("cosine_with_min_lr",)),
        (("--layout", "nonsense"), ("nonsense", "prompt-mask-text")),
        (("--layout", "prompt-text"), ("prompt-text", "prompt-mask-text")),
        (("--revision", "main"), ("--revision", "main")),
        (("--resume", "--overwrite"), ("--resume", "--overwrite")),
        (("--warmup-steps", "-1"), ("--warmup-steps", "at least 0", "-1")),
        (("--tempalte", "x"), ("--tempalte", "--template")),
    ],
    ids=lambda value: "=".join(value) if value[0].startswith("--") else None,
)
def test_an_option_with_a_bad_value(train, tmp_path, options, says):
    refuses(*train(*options), says=says)
    assert nothing_is_left(tmp_path / "out")


def test_a_tracker_that_is_not_installed(train, tmp_path):
    if importlib.util.find_spec("mlflow"):
        pytest.skip("mlflow is installed")
    # Its callback fails in __init__, and then once more when it is thrown away.
    refuses(*train("--report-to", "mlflow"), says=("'mlflow'", "--report-to", "pip install mlflow"))
    gc.collect()
    assert nothing_is_left(tmp_path / "out")


def test_patience_without_rows_to_wait_for_is_not_ignored_in_silence(train):
    outcome = call(*train("--patience", "1", "--hold-out", "0"))
    assert "--patience" in outcome.stderr


def test_no_time_to_train(tiny_folder, files, own_columns, tmp_path):
    for epochs in ("0", "nan", "inf"):
        refuses(
            "train", "--backbone", tiny_folder("bert"), "--train", files.train, *own_columns,
            "--epochs", epochs, "--device", "cpu", "--output", tmp_path / "out", says=("--epochs", epochs),
        )  # fmt: skip


def test_a_gpu_that_is_not_there(train):
    """Asked for by name, a missing GPU is an error and not a quiet run on the CPU."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refuses(*train("--device", "cuda"), says=("cuda", "cpu"))


@pytest.mark.parametrize("name", ["no-such-model-here", "nobody/no-such-model-here", "./none", "/none/none"])
def test_an_unknown_backbone(files, own_columns, short, tmp_path, name):
    refuses(
        "train", "--backbone", name, "--train", files.train, *own_columns, *short, "--output",
        tmp_path / "out", says=(name,),
    )  # fmt: skip


def test_a_backbone_folder_that_is_none(files, own_columns, short, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for name in ("empty", "broken"):
        refuses(
            "train", "--backbone", tmp_path / name, "--train", files.train, *own_columns, *short, "--output",
            tmp_path / "out", says=(name,),
        )  # fmt: skip


def test_bad_choices_of_eval(trained, files):
    refuses(
        "eval", trained("bert"), "--eval", files.eval, "--floors", "nonsense", says=("nonsense", "majority")
    )
    refuses("eval", trained("bert"), "--eval", files.eval, "--limit-eval", 0, says=("--limit-eval", "0"))
    refuses("eval", trained("bert"), "--eval", files.eval, "--device", "cuda:7", says=("cuda:7",))
    refuses("eval", trained("bert"), "--eval", files.eval, "--dtype", "int4", says=("int4",))
    refuses("eval", trained("bert"), "--split", "dev", says=("dev", "validation"))
    refuses("eval", trained("bert"), "--eval", files.eval, "--split", "dev", says=("dev", "validation"))


def test_a_task_from_a_file_without_rows_to_evaluate(trained):
    refuses("eval", trained("bert"), says=("my", "--eval"))


# -- where the prompt goes ---------------------------------------------------------------------------


def test_an_output_that_already_holds_a_prompt(train, trained, files):
    before = (trained("bert") / "prompt_hub.json").read_bytes()
    refuses(*train(output=trained("bert")), says=(str(trained("bert")), "--overwrite", "--resume"))
    assert (trained("bert") / "prompt_hub.json").read_bytes() == before


@pytest.mark.parametrize("again", [(), ("--resume",), ("--overwrite",)])
def test_an_output_of_a_run_that_was_killed_at_its_start_is_free(train, tmp_path, again):
    output = tmp_path / "killed"
    (output / "checkpoints").mkdir(parents=True)
    (output / ".at-work").touch()
    succeeds(*train(output=output), *again)
    assert (output / "prompt_hub.json").exists()


def test_an_output_that_is_a_file(train, tmp_path):
    (tmp_path / "file").write_text("mine")
    refuses(*train(output=tmp_path / "file"), says=("is a file. Name a folder",))
    refuses(*train(output=tmp_path / "file" / "below"), says=("file",))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("output", ["", ".", "here"])
def test_a_folder_with_files_of_ones_own_is_not_written_over(train, tmp_path, monkeypatch, output):
    """A prompt folder brings a README.md; the one that is there may be a project's."""
    folder = tmp_path / "project"
    (folder / "here").mkdir(parents=True)
    for place in (folder, folder / "here"):
        (place / "README.md").write_text("# My project\n")
    monkeypatch.chdir(folder)
    outcome = call(*train("--output", output))
    assert (folder / "README.md").read_text() == "# My project\n", outcome.stderr
    assert (folder / "here" / "README.md").read_text() == "# My project\n", outcome.stderr


def test_an_output_that_cannot_be_written(train):
    refuses(*train(output="/proc/none/out"), says=("/proc/none", "--output"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_permission(train, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    refuses(*train(output=tmp_path / "closed" / "out"), says=("closed", "--output"))


@pytest.mark.parametrize("change", [("--prompt-len", 5), ("--lr", 0.5), ("--seed", 3), ("--max-steps", 8)])
def test_resume_with_other_settings(train, tmp_path, change):
    output = tmp_path / "out"
    if not (output / "train.json").exists():
        succeeds(*train())
    names = {"--prompt-len": "prompt_len was 4, asked is 5", "--lr": "learning_rate", "--seed": "seed was 42"}
    refuses(*train("--resume", *change), says=(str(output), names.get(change[0], "max_steps was 4")))


def test_a_record_of_a_later_version(train, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.json").write_text('{"kind": "train", "record_version": 2}')
    refuses(*train("--resume"), says=("train.json", "newer version"))


def test_a_damaged_record_is_set_aside(train, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.json").write_text('{"kind": "tr')
    assert "train.json.damaged" in succeeds(*train("--resume")).stderr


def test_eval_names_an_output_it_cannot_write_before_it_computes(trained, files):
    outcome = refuses(
        "eval", trained("bert"), "--eval", files.eval, "--output", "/proc/none/x.json", says=("/proc/none",)
    )
    assert "95% interval" not in outcome.stderr


# -- prompts -----------------------------------------------------------------------------------------


def test_a_prompt_of_another_backbone(trained, tiny_folder, files):
    for command in (("eval", trained("bert"), "--eval", files.eval), ("predict", trained("bert"))):
        refuses(*command, "--backbone", tiny_folder("gpt2"), stdin="the film", says=("bert", "gpt2"))


def test_a_prompt_of_a_backbone_of_the_same_family(trained, tiny_folder, files):
    refuses(
        "eval", trained("bert"), "--eval", files.eval, "--backbone", tiny_folder("distilbert"),
        says=("bert", "distilbert", "input embeddings differ"),
    )  # fmt: skip


def test_force_uses_it_nevertheless_and_says_so(trained, tiny_folder, files):
    outcome = succeeds(
        "eval", trained("bert"), "--eval", files.eval, "--backbone", tiny_folder("distilbert"), "--force"
    )
    assert "Used although input embeddings differ" in outcome.stderr


def test_a_missing_prompt(files):
    refuses("eval", "runs/none", "--eval", files.eval, says=("runs/none",))
    refuses("predict", "./none", stdin="the film", says=("./none",))
    refuses("prompts", "show", "none", says=("none",))


def test_a_missing_prompt_beside_others_names_them_first(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "films").mkdir(parents=True)
    asked = refuses(
        "eval", "runs/film", "--eval", files.eval,
        says=("no such folder here", "runs holds: films", "did you mean runs/films?"),
    )  # fmt: skip
    assert asked.words.index("no such folder") < asked.words.index("the Hub said")


def test_a_text_in_the_place_of_a_file_of_texts(trained):
    refuses("predict", trained("bert"), "a lovely film", says=('echo "a lovely film" | prompt-hub predict',))


def test_a_file_of_rows_in_the_place_of_a_task(tiny_folder, files):
    refuses(
        "train", "--backbone", tiny_folder("bert"), "--task", files.train,
        says=("holds rows", "--train", "--text-a", "docs/tasks.md", "custom_task"),
    )  # fmt: skip


def test_texts_and_labels_changed_places(train, tmp_path):
    rows = write_csv(tmp_path / "swapped.csv", [(index % 2, f"word {index} " * 40) for index in range(30)])
    said = refuses(
        *train(rows=rows, columns=("--text-a", "review", "--label", "stars")),
        says=("30 different labels", "Is 'stars' the column of the labels?"),
    )
    assert len(said.words) < 700
    named = ("--text-a", "review", "--label", "stars", "--label-words", "0=bad,1=good")
    refuses(*train(rows=rows, columns=named), says=("word 0 word 0", "Is 'stars' the column of the labels?"))


def test_a_prompt_folder_in_the_place_of_an_initialiser(train, trained):
    refuses(*train("--init", trained("bert")), says=(f"prompt:{trained('bert')}",))


@pytest.mark.parametrize(
    "damage",
    [
        '{"schema_version": 1',
        "[]",
        "{}",
        '{"schema_version": 99}',
        '{"schema_version": 1, "backbone": 3}',
        "",
    ],
)
def test_a_prompt_with_a_damaged_description(trained, files, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(trained("bert"), copy, ignore=shutil.ignore_patterns("checkpoints"))
    (copy / "prompt_hub.json").write_text(damage)
    for command in (("eval", copy, "--eval", files.eval), ("predict", copy), ("prompts", "show", copy)):
        refuses(*command, stdin="the film", says=("prompt_hub.json",))


def test_a_prompt_whose_stored_task_is_damaged(trained, files, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained("bert"), copy, ignore=shutil.ignore_patterns("checkpoints"))
    known = json.loads((copy / "prompt_hub.json").read_text())
    known["task_definition"]["classes"] = "bad"
    (copy / "prompt_hub.json").write_text(json.dumps(known))
    refuses("eval", copy, "--eval", files.eval, says=("task stored with the prompt", "classes"))


def test_a_prompt_with_cut_off_weights(trained, files, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained("bert"), copy, ignore=shutil.ignore_patterns("checkpoints"))
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    refuses("eval", copy, "--eval", files.eval, says=("adapter_model.safetensors",))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("form", ["torch", "bare"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, form):
    import torch

    file, trap = tmp_path / "task_prompt", tmp_path / "it-ran"
    if form == "torch":
        torch.save(Bomb(str(trap)), file)
    else:
        file.write_bytes(pickle.dumps(Bomb(str(trap))))
    refuses("prompts", "import", file, "--output", tmp_path / "out", says=("task_prompt",))
    refuses("prompts", "show", file, says=("task_prompt",))
    assert not trap.exists() and not (tmp_path / "out").exists()


def test_import_into_a_folder_with_another_prompt(trained, tmp_path):
    succeeds("prompts", "import", trained("bert"), "--output", tmp_path / "out")
    refuses(
        "prompts", "import", trained("gpt2"), "--output", tmp_path / "out", says=("already holds", "--output")
    )


def test_export_in_an_unknown_form_or_for_the_wrong_family(trained, tmp_path):
    refuses(
        "prompts", "export", trained("bert"), "-o", tmp_path / "x", "--format", "onnx", says=("onnx", "peft")
    )
    refuses("prompts", "export", trained("bert"), "-o", tmp_path / "x", "--format", "vllm", says=("causal",))


def test_prompts_ls_of_no_folder():
    refuses("prompts", "ls", "none", says=("none",))


def test_errors_do_not_read_markup_in_names():
    refuses("tasks", "show", "[bold]x[/]", says=("[bold]x[/]",))


def test_an_unknown_command():
    outcome = call("trian")
    assert outcome.code == 2 and "trian" in outcome.words and outcome.stdout == ""


def test_a_predict_of_a_prompt_without_a_task_names_the_options_that_predict_has(trained, tmp_path):
    succeeds("prompts", "export", trained("bert"), "-o", tmp_path / "x.npy", "--format", "npy")
    outcome = refuses("predict", tmp_path / "x.npy", stdin="the film", says=("--task",))
    assert "--train" not in outcome.stderr and "--label" not in outcome.stderr.replace("--label-words", "")


@pytest.mark.parametrize("options", [("--family", "nonsense"), ("--layout", "nonsense")])
def test_import_under_a_family_or_layout_that_does_not_exist(trained, tmp_path, options):
    succeeds("prompts", "export", trained("bert"), "-o", tmp_path / "x.npy", "--format", "npy")
    refuses("prompts", "import", tmp_path / "x.npy", "-o", tmp_path / "out", *options, says=("nonsense",))


def test_label_words_for_a_regression_say_how_they_are_written(tiny_folder, short, tmp_path):
    (tmp_path / "scores.yaml").write_text(REGRESSION)
    rows = write_csv(tmp_path / "rows.csv", [("the film", 1), ("the plot", 5), ("the dog", 3)])
    outcome = call(
        "train", "--backbone", tiny_folder("bert"), "--task", tmp_path / "scores.yaml", "--train", rows,
        *short, "--label-words", "low=bad,high=good", "--output", tmp_path / "out",
    )  # fmt: skip
    # Either they are taken (low, high) or the message says what is allowed; an empty list is neither.
    assert outcome.code == 0 or ("once: (" not in outcome.words and "labels )" not in outcome.words)


def test_a_regression_prompt_on_a_file_with_other_columns_is_no_question_of_words(
    tiny_folder, short, tmp_path
):
    (tmp_path / "scores.yaml").write_text(REGRESSION)
    rows = write_csv(tmp_path / "rows.csv", [("the film", 1), ("the plot", 5), ("the dog", 3)])
    succeeds(
        "train", "--backbone", tiny_folder("bert"), "--task", tmp_path / "scores.yaml", "--train", rows,
        *short, "--output", tmp_path / "out",
    )  # fmt: skip
    other = write_csv(tmp_path / "other.csv", [("a dog", 1), ("a cat", 5), ("a house", 2)], "body,grade")
    outcome = call("eval", tmp_path / "out", "--eval", other, "--text-a", "body", "--label", "grade")
    assert outcome.code == 0 or "Name a word for each" not in outcome.words


def test_a_user_error_without_a_terminal_has_no_colour_codes():
    assert "\x1b" not in call("tasks", "show", "nonsense").stderr
