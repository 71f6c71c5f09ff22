"""``prompt-hub predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.cli import options as o
from prompt_hub.cli.output import print_json, warn
from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet

if TYPE_CHECKING:
    from prompt_hub.evaluation.predict import Predictions
    from prompt_hub.tasks import Example, Split, Task

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def predict(
    prompt: Annotated[
        str, typer.Argument(help="Prompt folder, owner/name on the Hub, or what holds --prompt-column's.")
    ],
    file: Annotated[
        str,
        typer.Argument(help="A line a text (a tab before a second text), or .csv, .jsonl, ...; - is stdin."),
    ] = "-",
    task: o.TaskOption = None,
    text_a: o.TextAOption = None,
    text_b: o.TextBOption = None,
    label_words: o.LabelWordsOption = None,
    template: o.TemplateOption = None,
    backbone: o.BackboneOption = None,
    revision: o.RevisionOption = None,
    layout: o.LayoutOption = None,
    force: o.ForceOption = False,
    prompt_column: Annotated[
        str | None,
        typer.Option(help="Column that names each row's prompt, a folder in PROMPT; they share batches."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(callback=o.at_least(1), help="Rows a batch.", rich_help_panel=o.COMPUTE)
    ] = 32,
    device: o.DeviceOption = "auto",
    dtype: o.DtypeOption = "auto",
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Answer texts with label and probabilities, a line each.

    Examples:

      echo "what a lovely film" | prompt-hub predict runs/sst2

      prompt-hub predict runs requests.jsonl --prompt-column prompt
    """
    from prompt_hub.encoding.encoder import encode_split
    from prompt_hub.evaluation.predict import predict as run
    from prompt_hub.evaluation.stored import fitting_encoder

    set_quiet(quiet)
    if prompt_column is not None:
        if task or text_a or text_b or label_words or template:
            raise UserError(
                "With --prompt-column every prompt has its own task: leave out --task, --text-a, --text-b, "
                "--label-words and --template. Columns are found under the task's names or text_a and text_b."
            )
        from prompt_hub.cli.predict_mixed import answers_by_row

        answers, warnings, model = answers_by_row(
            prompt, file, prompt_column, backbone=backbone, revision=revision, layout=layout, force=force,
            batch_size=batch_size, device=device, dtype=dtype,
        )  # fmt: skip
        for message in warnings:
            warn(message)
        _print(answers, as_json, backbone=model.name)
        return
    soft, chosen = o.stored_prompt_and_task(prompt, task, None, o.Columns(label_words=label_words))
    rows = _rows(file, chosen, text_a, text_b)
    model = o.backbone_of(soft, backbone, revision, device, dtype)
    chosen = o.with_template(chosen, template, model.family, layout or soft.metadata.layout)
    encoder, warnings = fitting_encoder(model, soft, chosen, layout, force)
    encoded = encode_split(encoder, rows)
    found = run(encoder, soft.embeddings, encoded, batch_size, "predict")
    if encoded.truncated:
        warnings.append(f"{encoded.truncated} of {len(rows)} texts were cut to fit.")
    for message in [*warnings, *found.warnings]:
        warn(message)
    answers = [answer_of(chosen, example, found, index) for index, example in enumerate(rows.examples)]
    _print(answers, as_json, task=chosen.name, backbone=model.name)


def answer_of(task: Task, example: Example, found: Predictions, index: int) -> dict[str, Any]:
    """The answer to an example, the ``index``-th of those predicted, as it is printed."""
    answer: dict[str, Any] = {"text_a": example.text_a}
    if example.text_b is not None:
        answer["text_b"] = example.text_b
    value = found.values[index]
    if task.kind != "classification":
        return answer | {"score" if task.kind == "regression" else "text": value}
    assert found.probabilities is not None
    named = zip(task.classes, found.probabilities[index], strict=True)
    probabilities = {name: round(float(probability), 6) for name, probability in named}
    return answer | {"label": task.classes[int(value)], "probabilities": probabilities}


def _print(answers: list[dict[str, Any]], as_json: bool, **about: str) -> None:
    if as_json:
        print_json({**about, "n": len(answers), "predictions": answers})
        return
    for answer in answers:
        sys.stdout.write(_line(answer) + "\n")


def _line(answer: dict[str, Any]) -> str:
    """``label <tab> name=probability ... <tab> text``, without tabs or line breaks inside a field.

    In front of it the prompt, where rows have different ones.
    """
    fields = [answer["prompt"]] if "prompt" in answer else []
    if "label" in answer:
        fields += [answer["label"], " ".join(f"{k}={v:.4f}" for k, v in answer["probabilities"].items())]
    else:
        fields += [f"{answer['score']:.4f}" if "score" in answer else answer["text"]]
    fields += [answer["text_a"], *([answer["text_b"]] if "text_b" in answer else [])]
    return "\t".join(" ".join(str(field).split()) for field in fields)


def _rows(file: str, task: Task, text_a: str | None, text_b: str | None) -> Split:
    from prompt_hub.tasks import Example, Split, load_file

    is_table = file != "-" and Path(file).suffix.lower() in TABLES
    if not is_table and (text_a or text_b):
        raise UserError(
            f"--text-a and --text-b name columns; {file} is read by lines. Give a .csv or .jsonl."
        )
    if is_table:
        renamed = o.with_columns(task, o.Columns(text_a, text_b))
        return load_file(file, renamed, name="predict", unlabelled=True)
    source = "stdin" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        lines = data.decode("utf-8-sig").split("\n")
    except OSError as error:
        said = " ".join(file.split())
        raise UserError(
            f"Cannot read {source}: {error.strerror or error}. Texts are in a file, or come from stdin: "
            f'echo "{said if " " in said else "some text"}" | prompt-hub predict PROMPT'
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    examples = []
    for number, line in enumerate(lines, 1):
        texts = [text.strip() for text in line.split("\t")]
        if not any(texts):
            continue
        if len(texts) != len(task.text_roles) or not all(texts):
            wanted = "two texts with a tab between them" if task.has_text_b else "one text without a tab"
            raise UserError(f"{source}, line {number}: task {task.name!r} takes {wanted}.")
        examples.append(Example(*texts))
    if not examples:
        raise UserError(f"{source} holds no text. Give a line a text, or a .csv or .jsonl file.")
    return Split.of("predict", examples, source)
