"""What the site has beside the pages in ``docs/``: the commands, and pages of other folders."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from cli_page import cli_page
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
COMMANDS = "reference/cli.md"
ELSEWHERE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "pretraining/README.md": "pretraining.md",
}
_AT = {place: name for name, place in ELSEWHERE.items()}
_FENCED = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made here."""
    for name, place in ELSEWHERE.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMANDS, content=cli_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links are written for readers of the repository; here they lead to where the site has the same."""
    here = page.file.src_uri
    pieces = _FENCED.split(markdown)
    return "".join(
        piece if piece.startswith("```") else _LINK.sub(lambda link: _moved(link, here), piece)
        for piece in pieces
    )


def _moved(link: re.Match[str], here: str) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    source = _AT.get(here, f"docs/{here}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path.startswith("src/") and path.endswith(".py"):
        return f"[{text}][{path.removeprefix('src/').removesuffix('.py').replace('/', '.')}]"
    place = path.removeprefix("docs/") if path.startswith("docs/") else ELSEWHERE.get(path)
    if place is None:
        if not (ROOT / path).exists():
            return link[0]  # mkdocs complains
        return f"{text} (`{path}` in the repository)"
    return f"[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"
