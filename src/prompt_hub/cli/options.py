"""Options that several commands share, and the task and rows they name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompt_hub.atomic import check_own_folder, contents
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.mini.backbones import MINI_BACKBONES

if TYPE_CHECKING:
    from prompt_hub.backbones import Backbone
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Split, Task

Callback = Callable[[Any, Any, Any], Any]
"""Of an option. Typer evaluates the annotations of every one, also for --help; a lambda has none."""

DATA = "Your own data"
COMPUTE = "Computing"
INSIDE = ", ".join(MINI_BACKBONES)


def at_least(least: int) -> Callback:
    """For whole numbers from ``least`` on."""
    return lambda context, option, value: _checked(
        option, value, value is None or value >= least, f"at least {least}"
    )


def above_zero() -> Callback:
    return lambda context, option, value: _checked(
        option, value, value is None or 0 < value < math.inf, "a number above 0"
    )


def a_seed() -> Callback:
    return lambda context, option, value: _checked(
        option, value, 0 <= value < 2**32, f"between 0 and {2**32 - 1}"
    )


def _checked(option: Any, value: Any, good: bool, allowed: str) -> Any:
    if not good:
        raise UserError(f"{max(option.opts, key=len)} must be {allowed}, not {value}.")
    return value


BackboneOption = Annotated[
    str | None,
    typer.Option(
        help="Hub id, local folder, .gguf file, smollm2-135m, or one inside the package: "
        f"{INSIDE} (tiny, lower-case English).",
        show_default=False,
    ),
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
DeviceOption = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:N, balanced (over all GPUs), sharded.", rich_help_panel=COMPUTE),
]
DtypeOption = Annotated[
    str,
    typer.Option(help="auto, float32, bfloat16, float16, 8bit, 4bit.", rich_help_panel=COMPUTE),
]
EvalBatchOption = Annotated[
    int, typer.Option(callback=at_least(1), help="Rows an evaluation batch.", rich_help_panel=COMPUTE)
]


SeedOption = Annotated[int, typer.Option(callback=a_seed(), help="Seed of everything random.")]
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


def listed(names: str) -> list[str]:
    """What stands between the commas of an option."""
    return [name.strip() for name in names.split(",") if name.strip()]


def task_from_options(
    task: str | None,
    file: Path | None,
    columns: Columns,
    stored: Task | None = None,
    file_option: str | None = None,
) -> Task:
    """The task that the options name.

    ``--task``: a registered task or YAML file. Columns: the task stored with the prompt on a file with
    other columns (named after the file), else a new one made from ``file``. Neither: the stored task.
    Label words that give a file's own labels the classes of the stored task change its labels alone.
    file_option: the command's option for a file, for messages. Raises ``UserError`` for
    options that contradict each other or name no task.
    """
    from prompt_hub.tasks import custom_task, get_task, name_from_file, parse_label_words

    words = parse_label_words(columns.label_words) if columns.label_words is not None else None
    if not columns.given():
        if task is not None:
            found = get_task(task)
        elif stored is not None:
            found = stored
        else:
            own = f", or your own file with {file_option}, --text-a and --label" if file_option else ""
            raise UserError(f"Name the task with --task (see: prompt-hub tasks ls){own}.")
        if words is None:
            return found
        own_labels = file is not None and not set(words) & {*found.label_map, *found.classes}
        relabelled = _with_labels(found, words) if own_labels else None
        return relabelled or found.with_overrides(label_words=_in_class_order(found, words))
    if task is not None:
        raise UserError(
            "--task and the column options (--text-a, --label, ...) both say what the task is. Give one."
        )
    if file is None:
        raise UserError(
            f"--text-a, --label, --target describe a file of your own: name it with {file_option}."
        )
    if stored is not None and words is not None:
        relabelled = _with_labels(stored, words)
        if relabelled is not None:
            return replace(with_columns(relabelled, columns), name=name_from_file(file))
    same_kind = stored is not None and (stored.kind == "generation") == (columns.target is not None)
    if stored is not None and words is None and (same_kind or not (columns.label or columns.target)):
        return replace(with_columns(stored, columns), name=name_from_file(file))
    if columns.text_a is None:
        raise UserError("Name the column that holds the text: --text-a COLUMN.")
    return custom_task(
        file,
        text_a=columns.text_a,
        text_b=columns.text_b,
        label=columns.label,
        target=columns.target,
        label_words=words,
    )


def _with_labels(task: Task, words: dict[str, str]) -> Task | None:
    """The task on a file with labels of its own, where ``words`` are names of the task's classes."""
    if task.kind != "classification" or not set(words.values()) <= set(task.classes):
        return None
    return replace(task, label_map=dict(words))


def with_columns(task: Task, columns: Columns) -> Task:
    """The task on a file whose columns have other names."""
    given = {
        task.text_roles[0]: columns.text_a,
        "text_b": columns.text_b,
        task.label_role: columns.target if task.kind == "generation" else columns.label,
    }
    if columns.text_b is not None and not task.has_text_b:
        raise UserError(
            f"Task {task.name!r} takes one text, so --text-b {columns.text_b} has no place in it."
        )
    return replace(task, columns={**task.columns, **{role: name for role, name in given.items() if name}})


def with_template(task: Task, template: str | None, family: str, layout: str | None = None) -> Task:
    """The task with ``--template``, which is for the family of the backbone in use."""
    if template is not None and layout == "paper":
        raise UserError(
            f"Layout 'paper' writes texts as the paper's code does, so --template {template!r} would have no "
            "effect. Leave it out, or use another --layout."
        )
    return task if template is None else task.with_overrides(template=template, family=family)


def _in_class_order(task: Task, words: dict[str, str]) -> list[str]:
    """Words by raw label or class name, in class order (a regression's: low, high)."""
    classes = ("low", "high") if task.kind == "regression" else task.classes
    by_class = {task.label_map.get(raw, raw): word for raw, word in words.items()}
    if set(by_class) != set(classes):
        labels = f" (or their labels {', '.join(task.label_map)})" if task.label_map else ""
        raise UserError(
            f"--label-words must name each of {', '.join(classes)}{labels} once for task {task.name!r}, "
            f"such as {','.join(f'{name}=word' for name in classes)}. Got: {', '.join(words)}."
        )
    return [by_class[name] for name in classes]


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
    from prompt_hub.tasks.sources import SPLITS

    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if file is None and task.type == "custom" and not (task.hub or task.generator or data_dir):
        name = "--train" if split == "train" else "--eval"
        raise UserError(
            f"Task {task.name!r} is one of your own, so its rows are in files of yours. Name them with "
            f"{name} FILE, or a folder that holds {task.name}/{split}.jsonl with --data-dir."
        )
    if file is not None:
        return load_file(file, task, name=split, limit=limit, seed=seed, unlabelled=unlabelled)
    return load_split(task, split, data_dir=data_dir, limit=limit, seed=seed)


def stored_prompt_and_task(
    place: str,
    task: str | None,
    file: Path | None,
    columns: Columns,
    file_option: str | None = None,
) -> tuple[SoftPrompt, Task]:
    """A stored prompt, and the task to use it on: named by the options, else its own."""
    from prompt_hub.prompts.soft_prompt import SoftPrompt

    prompt = SoftPrompt.from_pretrained(place)
    return prompt, task_from_options(task, file, columns, own_task(prompt), file_option)


def own_task(prompt: SoftPrompt) -> Task | None:
    """The task stored with a prompt; for an imported one, the registered task of that name."""
    from prompt_hub.tasks import get_task, task_from_dict, task_names

    known = prompt.metadata
    if known.task_definition:
        return task_from_dict(known.task_definition, "The task stored with the prompt")
    return get_task(known.task) if known.task in task_names() else None


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


def named_backbone(name: str | None) -> str:
    """What ``--backbone`` names; ``UserError``, with what could be named, where it is left out."""
    if name is None:
        raise UserError(
            "Name a backbone with --backbone: a Hub id (roberta-base), a local folder, a .gguf file, "
            f"smollm2-135m, or one inside the package to try things with: {INSIDE}."
        )
    return name


def check_folder(folder: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Nothing that was computed, and no file of another kind, is replaced unasked."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file. Name a folder.")
    check_writable(folder)
    if resume and overwrite:
        raise UserError("--resume keeps the run in --output and --overwrite replaces it. Give one.")
    if not contents(folder):
        return
    has_prompt, has_run = (folder / "prompt_hub.json").exists(), (folder / "train.json").exists()
    if not has_prompt and not has_run:
        raise UserError(f"--output {folder} holds other files. Name a new or an empty folder.")
    if resume and not has_run:
        raise UserError(
            f"--output {folder} holds a prompt that no training run made, so there is nothing to resume. "
            "Choose another --output."
        )
    if not resume and not overwrite:
        raise UserError(
            f"--output {folder} already holds a {'trained prompt' if has_prompt else 'run'}. Add --resume to "
            "go on with it (or to see its result), --overwrite to replace it, or choose another --output."
        )


def check_result_folder(folder: Path, marker: str, content: str) -> None:
    """A folder for ``content``, known by its file ``marker``: new, empty, or one of an earlier run."""
    check_own_folder(folder, {marker}, content)
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Before long work: can a file be written there, or where the folder would be made?

    Leaves nothing behind, and nothing in the way of another process that makes the folder meanwhile.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write to --output {folder}: {error.strerror or error}. Choose a writable folder."
        ) from None
