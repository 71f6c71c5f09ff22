"""The seed's import path for the training arguments, and a parser for scripts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from transformers import HfArgumentParser

from prompt_hub.errors import UserError
from prompt_hub.reading import parse_json, read_regular
from prompt_hub.training.arguments import PromptTrainingArguments

__all__ = ["PromptTrainingArguments", "parse_arguments"]


def parse_arguments(argv: Sequence[str] | None = None) -> PromptTrainingArguments:
    """Arguments from ``--name value`` pairs, or from one JSON file (``train.py config.json``).

    Raises ``UserError`` for a JSON file that cannot be read or names an argument that does not exist.
    """
    parser = HfArgumentParser(PromptTrainingArguments)  # type: ignore[arg-type]
    given = list(sys.argv[1:] if argv is None else argv)
    if len(given) != 1 or not given[0].endswith(".json"):
        return parser.parse_args_into_dataclasses(given)[0]
    path = Path(given[0])
    try:
        values = parse_json(read_regular(path).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Arguments file {path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"Arguments file {path} must hold one JSON object of argument names and values.")
    try:
        return parser.parse_dict(values)[0]
    except (ValueError, TypeError) as error:
        raise UserError(f"Arguments file {path}: {error}") from None
