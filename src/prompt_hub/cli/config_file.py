"""A file of options for ``prompt-hub train``: its values stand where the command line says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prompt_hub.cli.old_names import current_name
from prompt_hub.cli.output import warn
from prompt_hub.errors import UserError, unknown_name

SUFFIXES = (".yaml", ".yml", ".json")

OLD_NAMES = {
    "backbone_dtype": "dtype",
    "backbone_revision": "revision",
    "dataset": "task",
    "early_stopping_patience": "patience",
    "eval_steps": "eval_every",
    "learning_rate": "lr",
    "lr_scheduler_type": "schedule",
    "num_train_epochs": "epochs",
    "optim": "optimizer",
    "output_dir": "output",
    "per_device_eval_batch_size": "eval_batch_size",
    "per_device_train_batch_size": "batch_size",
}
"""Names of ``PromptTrainingArguments``, which the original's configuration files use: option."""

WITHOUT_EFFECT = (
    "do_train", "do_eval", "do_test", "num_proj_layers", "flatten_proj", "save_steps", "save_strategy",
    "save_total_limit", "logging_steps", "predict_with_generate", "load_best_model_at_end",
    "metric_for_best_model", "greater_is_better", "evaluation_strategy", "eval_strategy",
    "overwrite_output_dir", "max_source_length", "pad_to_max_length",
)  # fmt: skip
"""In those files too, but not options of the command."""

_NOT_FROM_FILE = ("config", "help")


def option_names(parameters: Iterable[Any]) -> dict[str, str]:
    """Every name that an option has in a file (``train``, ``max_steps``) and the parameter that it sets."""
    found = {}
    for parameter in parameters:
        for name in (parameter.name, *parameter.opts):
            key = name.lstrip("-").replace("-", "_")
            if len(key) > 1 and key not in _NOT_FROM_FILE:
                found[key] = parameter.name
    return found


def read_config(
    path: Path, names: Mapping[str, str], normalise: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """Parameters and their values. Raises ``UserError`` for what is no option.

    names: of ``option_names``. normalise: of the command's context, which knows its options' earlier names.
    """
    values: dict[str, Any] = {}
    ignored = []
    for given, value in _read(path).items():
        name = current_name(str(given), normalise)
        if name in WITHOUT_EFFECT and name not in names:
            ignored.append(name)
            continue
        parameter = names.get(OLD_NAMES.get(name, name))
        if parameter is None:
            raise unknown_name(f"option in {path}", str(given), names)
        if parameter in values:
            raise UserError(f"{path} gives {parameter!r} twice, the second time as {given!r}. Remove one.")
        if isinstance(value, (list, dict)):
            raise UserError(f"{path}: {given!r} must be one value, not {type(value).__name__}.")
        if value is not None:
            # As on the command line; a flag is true or false.
            values[parameter] = value if isinstance(value, bool) else str(value)
    if ignored:
        warn(f"{path}: without effect here: {', '.join(ignored)}.")
    return values


def _read(path: Path) -> Mapping[str, Any]:
    from prompt_hub.documents import read_json, read_yaml

    if path.suffix not in SUFFIXES:
        raise UserError(f"--config {path} must be a .yaml or .json file.")
    data = (read_json if path.suffix == ".json" else read_yaml)(path, "file of options")
    if not isinstance(data, Mapping):
        raise UserError(f"--config {path} must hold one mapping of options and values.")
    return data


def _apply(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        found = read_config(path, option_names(context.command.params), context.token_normalize_func)
        context.default_map = {**(context.default_map or {}), **found}
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=_apply,
        help="File of options (.yaml, .json); those on the command line win. Makes them: prompt-hub configs.",
    ),
]
