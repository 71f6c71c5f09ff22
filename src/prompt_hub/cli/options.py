"""Options that several commands share, and the task and rows they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.errors import UserError

if TYPE_CHECKING:
    from prompt_hub.backbones import Backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Split, Task

DATA = "Your own data"
COMPUTE = "Computing"

BackboneOption = Annotated[
    str | None, typer.Option(help="Hub id, local folder, .gguf file, or smollm2-135m.", show_default=False)
]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit of the backbone on the Hub.")]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="Task name, alias or YAML file (see: prompt-hub tasks ls).")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(help="Folder with <task>/{train,validation}.jsonl; default $PROMPT_HUB_DATA, then the Hub."),
]
TextAOption = Annotated[str | None, typer.Option(help="Column of the text.", rich_help_panel=DATA)]
TextBOption = Annotated[str | None, typer.Option(help="Column of a second text.", rich_help_panel=DATA)]
LabelOption = Annotated[str | None, typer.Option(help="Column of the label.", rich_help_panel=DATA)]
TargetOption = Annotated[
    str | None, typer.Option(help="Column of a text to generate, instead of a label.", rich_help_panel=DATA)
]
LabelWordsOption = Annotated[
    str | None,
    typer.Option(help="Word for each label value, such as 1=bad,2=good.", rich_help_panel=DATA),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(help="Text round the fields, such as '{text_a} It was {mask}.'", rich_help_panel=DATA),
]
LayoutOption = Annotated[str | None, typer.Option(help="Layout; default: the family's, or the prompt's own.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.", rich_help_panel=COMPUTE)]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.", rich_help_panel=COMPUTE)]
EvalBatchOption = Annotated[
    int, typer.Option(min=1, help="Rows an evaluation batch.", rich_help_panel=COMPUTE)
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
ForceOption = Annotated[
    bool, typer.Option(help="Use the prompt although backbone or layout are not its own.")
]


@dataclass(frozen=True)
class Columns:
    """The options that describe a user's file."""

    text_a: str | None = None
    text_b: str | None = None
    label: str | None = None
    target: str | None = None
    label_words: str | None = None

    def given(self) -> bool:
        return any((self.text_a, self.text_b, self.label, self.target))


def task_from_options(
    task: str | None, file: Path | None, columns: Columns, template: str | None, stored: Any = None
) -> Task:
    """The task that the options name.

    ``--task``: a registered task or YAML file. Columns: a task made from ``file``. Neither: the task stored
    with the prompt. Raises ``UserError`` for options that contradict each other or name no task.
    """
    from prompt_hub.tasks import custom_task, get_task, parse_label_words, task_from_dict

    words = parse_label_words(columns.label_words) if columns.label_words else None
    own = task_from_dict(stored, "The task stored with the prompt") if stored else None
    if columns.given():
        if task is not None:
            raise UserError(
                "--task and the column options (--text-a, --label, ...) both say what the task is. Give one."
            )
        if file is None:
            raise UserError(
                "--text-a, --label, --target describe a file of your own: name it with --train or --eval."
            )
        if columns.text_a is None:
            raise UserError("Name the column that holds the text: --text-a COLUMN.")
        if words is None and own is not None and own.kind == "classification":
            words = {raw: _word_of(own, name) for raw, name in own.label_map.items()}
        found = custom_task(
            file,
            text_a=columns.text_a,
            text_b=columns.text_b,
            label=columns.label,
            target=columns.target,
            label_words=words,
        )
    elif task is not None:
        found = get_task(task)
    elif own is not None:
        found = own
    else:
        raise UserError(
            "Name a task with --task (see: prompt-hub tasks ls), or your own file with --train, --text-a "
            "and --label."
        )
    if words and not columns.given():
        found = found.with_overrides(label_words=_in_class_order(found, words))
    return found.with_overrides(template=template) if template else found


def _word_of(task: Task, class_name: str) -> str:
    words = next(iter(task.label_words.values()))
    return words[task.classes.index(class_name)]


def _in_class_order(task: Task, words: dict[str, str]) -> list[str]:
    """Words by raw label or class name, in class order."""
    by_class = {task.label_map.get(raw, raw): word for raw, word in words.items()}
    missing = [name for name in task.classes if name not in by_class]
    if missing or len(by_class) != len(task.classes):
        raise UserError(
            f"--label-words must name every class of {task.name} once: {', '.join(task.classes)} "
            f"(or their labels {', '.join(task.label_map)}). Got: {', '.join(words)}."
        )
    return [by_class[name] for name in task.classes]


def rows_from_options(
    task: Task,
    split: str,
    file: Path | None,
    data_dir: Path | None,
    limit: int | None,
    seed: int,
    unlabelled: bool = False,
) -> Split:
    """The rows of a file, or of a task's split in a data folder or on the Hub."""
    from prompt_hub.tasks import load_file, load_split

    if file is not None:
        return load_file(file, task, name=split, limit=limit, seed=seed, unlabelled=unlabelled)
    return load_split(task, split, data_dir=data_dir, limit=limit, seed=seed)


def stored_prompt_and_task(
    place: str, task: str | None, file: Path | None, columns: Columns, template: str | None
) -> tuple[SoftPrompt, Task]:
    """A stored prompt, and the task to use it on: named by the options, else its own."""
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    prompt = SoftPrompt.from_pretrained(place)
    return prompt, task_from_options(task, file, columns, template, prompt.metadata.task_definition)


def backbone_of(
    prompt: SoftPrompt, name: str | None, revision: str | None, device: str, dtype: str
) -> Backbone:
    """The named backbone, else the one that the prompt was trained on."""
    from prompt_hub.backbones import load_backbone

    stored = prompt.metadata.backbone
    chosen = name or prompt.metadata.backbone_name
    if chosen is None:
        raise UserError("The prompt does not say which backbone it belongs to. Name it with --backbone.")
    if revision is None and name is None:
        revision = stored.get("revision")
    return load_backbone(chosen, revision=revision, device=device, dtype=dtype)
