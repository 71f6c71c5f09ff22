"""The reference of the commands as Markdown, from the program itself: what ``--help`` says, on one page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from prompt_hub.cli.main import app

PROGRAM = "prompt-hub"


def cli_page() -> str:
    """Every command with its arguments and options, groups after the commands that stand alone."""
    root = typer.main.get_command(app)
    parts = ["# Commands", "Made from the program; `--help` says the same.", *_commands(root, PROGRAM)]
    return "\n\n".join(parts) + "\n"


def _commands(group: Any, name: str) -> Iterator[str]:
    for short, command in sorted(group.commands.items(), key=lambda item: hasattr(item[1], "commands")):
        if command.hidden:
            continue
        full = f"{name} {short}"
        if hasattr(command, "commands"):
            # What a group does without a subcommand (matrix) stands in front of them.
            yield from _one(full, command) if command.invoke_without_command else ()
            yield from _commands(command, full)
        else:
            yield from _one(full, command)


def _one(name: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    yield f"## {name}"
    yield _prose(command.help or "")
    words = [name, *(_usage(one) for one in arguments), "[OPTIONS]" if options else ""]
    yield f"```text\n{' '.join(word for word in words if word)}\n```"
    if arguments:
        yield _table("argument", [(f"`{_usage(one)}`", one) for one in arguments])
    panels = dict.fromkeys(_panel(one) for one in options)
    for panel in panels:
        chosen = [(_flags(one), one) for one in options if _panel(one) == panel]
        yield _table(panel, chosen)


def _panel(option: Any) -> str:
    return getattr(option, "rich_help_panel", None) or "option"


def _usage(argument: Any) -> str:
    shown = (argument.metavar or argument.name).upper().strip("[]")
    if argument.nargs == -1:
        shown += "..."
    return shown if argument.required else f"[{shown}]"


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])


def _prose(text: str) -> str:
    """Help as Markdown: the examples, which are indented, as code."""
    text = re.sub(r"^\s*\f.*", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        code = all(line.startswith("  ") for line in block.splitlines() if line)
        lines = " ".join(block.split()) if code else block
        if code and blocks and blocks[-1].startswith("```"):
            blocks[-1] = f"{blocks[-1].removesuffix('```')}{lines}\n```"
        else:
            blocks.append(f"```bash\n{lines}\n```" if code else _escaped(lines))
    return "\n\n".join(blocks)


def _table(title: str, rows: list[tuple[str, Any]]) -> str:
    lines = [f"| {title} | | default |", "|---|---|---|"]
    for name, parameter in rows:
        says = _escaped(getattr(parameter, "help", None) or "").replace("\n", " ").replace("|", "\\|")
        lines.append(f"| {name} | {says} | {_default(parameter)} |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Placeholders such as <task> stay visible, and nothing else is taken for markup."""
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[*_\[\]{}]", r"\\\g<0>", text)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value == () or callable(value) or "Unset" in repr(value):
        return ""
    return "on" if value is True else f"`{value}`"
