"""``prompt-hub predict --prompt-column``: every row of a file names the prompt that is to answer it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_hub.cli import options as o
from prompt_hub.cli.predict import answer_of
from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.backbones import Backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Example


def answers_by_row(
    folder: str,
    file: str,
    column: str,
    *,
    backbone: str | None,
    revision: str | None,
    layout: str | None,
    force: bool,
    batch_size: int,
    device: str,
    dtype: str,
) -> tuple[list[dict[str, Any]], list[str], Backbone]:
    """Answers in the order of the rows, each with its ``prompt``; warnings; the backbone.

    folder: in which the prompts lie that ``column`` names.
    """
    from prompt_hub.encoding.encoder import Encoder
    from prompt_hub.evaluation.mixed import Served, predict_mixed
    from prompt_hub.evaluation.stored import fitting_encoder

    names, prompts, examples = _requests(folder, file, column)
    model = o.backbone_of(next(iter(prompts.values())), backbone, revision, device, dtype)
    served: dict[str, Served] = {}
    messages: list[str] = []
    encoders: dict[str, Encoder] = {}
    for name, prompt in prompts.items():
        encoder, warnings = fitting_encoder(model, prompt, _task_of(name, prompt), layout, force)
        messages += [f"{name}: {warning}" for warning in warnings]
        encoders[name] = encoder
        own = [example for owner, example in zip(names, examples, strict=True) if owner == name]
        served[name] = Served(encoder, prompt.embeddings, encoder.encode(own))
        if served[name].rows.truncated:
            messages.append(f"{name}: {served[name].rows.truncated} of {len(own)} texts were cut to fit.")
    found = predict_mixed(list(served.values()), batch_size, "predict")
    given = {name: iter(range(len(one.rows))) for name, one in served.items()}
    by_name = dict(zip(served, found, strict=True))
    answers = []
    for name, example in zip(names, examples, strict=True):
        at = next(given[name])
        answers.append({"prompt": name, **answer_of(encoders[name].task, example, by_name[name], at)})
    return answers, messages, model


def _requests(folder: str, file: str, column: str) -> tuple[list[str], dict[str, SoftPrompt], list[Example]]:
    """The name of each row's prompt, every prompt by name, and each row as an example of its task."""
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks.files import read_table
    from prompt_hub.tasks.rows import RowReader

    if file == "-":
        raise UserError("--prompt-column names a column: give the rows as a .csv, .jsonl, ... file.")
    table = read_table(file)
    if column not in table.columns:
        raise UserError(f"{file} has no column {column!r}. Its columns: {', '.join(table.columns)}.")
    prompts: dict[str, SoftPrompt] = {}
    readers: dict[str, RowReader] = {}
    names, examples = [], []
    for row in table.rows:
        name = str(row.values.get(column) or "").strip()
        if not name:
            raise UserError(f"{table.place(row)} names no prompt in column {column!r}.")
        if name not in prompts:
            prompts[name] = SoftPrompt.from_pretrained(str(Path(folder) / name))
            readers[name] = RowReader(_task_of(name, prompts[name]), table.columns, file, unlabelled=True)
        example = readers[name].read(row.values, table.place(row))
        assert example is not None
        names.append(name)
        examples.append(example)
    return names, prompts, examples


def _task_of(name: str, prompt: SoftPrompt) -> Any:
    found = o.own_task(prompt)
    if found is None:
        raise UserError(
            f"The prompt {name} does not say what its task is. Answer its rows alone: "
            "prompt-hub predict PROMPT --task TASK."
        )
    return found
