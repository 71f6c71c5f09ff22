"""Every ``prompt-hub`` line of every page names a command and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from interface import interface
from printed_code import ROOT

COMMANDS = interface()["commands"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINE = re.compile(
    r"""^[ \t]*(?:\$[ ])?(?:[A-Z_]+=\S+[ ]|time[ ])*   # a prompt, settings of the environment
    (prompt-hub[ ](?:.*\\\n)*.*)$                     # to the end of the last line
    | `(?:time[ ])?(prompt-hub[ ][^`]+)`              # within a sentence, perhaps over two lines
    | (?:\||&&|;)[ ]*(prompt-hub[ ].*)$               # after another command
    """,
    re.MULTILINE | re.VERBOSE,
)


def printed(text: str) -> list[str]:
    return [next(filter(None, found.groups())) for found in LINE.finditer(text)]


def unknown(line: str) -> list[str]:
    """Words of a command line that Prompt Hub does not know: a command, or options of a known one."""
    words = re.split(r"[|;>]|&&", line.replace("\\\n", " ").replace("\n", " "))[0]
    command, rest = "prompt-hub", shlex.split(words, comments=True)[1:]
    while rest and f"{command} {rest[0]}" in COMMANDS:
        command, rest = f"{command} {rest[0]}", rest[1:]
    has_subcommands = any(name.startswith(f"{command} ") for name in COMMANDS)
    if has_subcommands and rest and re.fullmatch("[a-z][a-z-]+", rest[0]):
        return rest[:1]
    options = {*COMMANDS[command], "--help"}
    asked = (word.partition("=")[0] for word in rest)
    return [word for word in asked if re.match(r"--?[a-z]", word) and word not in options]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    wrong = {line: words for line in printed(page.read_text(encoding="utf-8")) if (words := unknown(line))}
    assert not wrong


def test_all_ways_of_printing_a_command_are_found() -> None:
    text = """
prompt-hub train --backbone b \\
    --nonsense 1
X=1 prompt-hub eval runs/p --absurd  # a remark with --words
say it with `prompt-hub matrix
show --wrong` or echo
echo text | prompt-hub predict --mistaken
`prompt-hub transplant`, `prompt-hub prompts ls --json`
"""
    lines = printed(text)
    assert [unknown(line) for line in lines] == [
        ["--nonsense"], ["--absurd"], ["--wrong"], ["--mistaken"], ["transplant"], []
    ]  # fmt: skip
    assert sum(len(printed(page.read_text(encoding="utf-8"))) for page in PAGES) > 150
