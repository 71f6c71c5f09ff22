"""A page as one HTML file: styles, script and charts inside, nothing fetched, all texts escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from prompt_hub.reports.html.blocks import KINDS, Notice, Page, Section, sort_key, text_of
from prompt_hub.reports.html.charts import legend_mark

_FIRST = 5
"""Notices of a kind that are shown before the rest is folded."""


def page_html(page: Page) -> str:
    """The whole file. Its content security policy lets nothing be fetched and no script but its own run."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    anchors = _anchors(page.sections)
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            style=Markup(_asset("page.css")),
            script=Markup(script),
            digest=digest,
            anchors=anchors,
            attention=_attention(page.sections, anchors),
            first=_FIRST,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("prompt_hub.reports.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "text": text_of, "sort_key": sort_key, "breakable": breakable, "mark": legend_mark, "depth": _depth,
        "kind": lambda block: type(block).__name__,
    }  # fmt: skip
    return environment


def _asset(name: str) -> str:
    return (files("prompt_hub.reports.html") / name).read_text(encoding="utf-8")


def breakable(text: Any) -> Markup:
    """A name that may be broken behind its ``/`` and ``_``."""
    return Markup(re.sub(r"([/_])(?=\S)", r"\1<wbr>", str(escape(text))))


def _depth(share: float) -> str:
    """Which letters can be read on a tile: the lightness of its colour passes the middle at another share in
    light and in dark."""
    percent = round(100 * share)
    return "deep" if percent >= 68 else "middle" if percent >= 52 else ""


def _anchors(sections: Sequence[Section]) -> list[str]:
    names = [re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:60] for section in sections]
    return [f"{number}-{name}" for number, name in enumerate(names, 1)]


def _attention(sections: Sequence[Section], anchors: Sequence[str]) -> Mapping[str, list[tuple[Notice, str]]]:
    """Notices by the title of their kind, each with where it comes from."""
    found = {
        title: [
            (notice, anchor)
            for section, anchor in zip(sections, anchors, strict=True)
            for notice in section.notices
            if notice.kind == kind
        ]
        for kind, title in KINDS.items()
    }
    return {title: notices for title, notices in found.items() if notices}
