"""Prompt Hub: train a soft prompt once on a frozen language model, then reuse it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_hub.backbones import Backbone, load_backbone, register_backbone
    from prompt_hub.errors import UserError
    from prompt_hub.hub import PromptHub
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.training.arguments import PromptTrainingArguments

    __version__: str

_WHERE = {
    "Backbone": "prompt_hub.backbones",
    "PromptHub": "prompt_hub.hub",
    "PromptTrainingArguments": "prompt_hub.training.arguments",
    "SoftPrompt": "prompt_hub.prompts.soft_prompt",
    "UserError": "prompt_hub.errors",
    "load_backbone": "prompt_hub.backbones",
    "register_backbone": "prompt_hub.backbones",
}

__all__ = [
    "Backbone",
    "PromptHub",
    "PromptTrainingArguments",
    "SoftPrompt",
    "UserError",
    "__version__",
    "load_backbone",
    "register_backbone",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: ``--help`` needs no torch."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("prompt-hub")
    except PackageNotFoundError:
        return "0.0.0"
