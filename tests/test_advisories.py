"""What an index tells of the pinned versions' vulnerabilities, and what it does not."""

from __future__ import annotations

import sys
import urllib.error
from pathlib import Path

import pytest

PAGES = {
    "whole/1.0/json": {
        "info": {"version": "1.0"},
        "vulnerabilities": [{"id": "A-1"}, {"id": "A-2", "withdrawn": "2026-01-01"}],
    },
    "newest/json": {"info": {"version": "2.0"}, "vulnerabilities": []},
    "old/json": {"info": {"version": "2.0"}, "vulnerabilities": [{"id": "B-1"}]},
}


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    import advisories

    def read(url: str) -> dict:
        page = url.removeprefix(advisories.INDEX + "/")
        if page not in PAGES:
            raise urllib.error.HTTPError(url, 404, "Not Found", None, None)
        return PAGES[page]

    monkeypatch.setattr(advisories, "read", read)
    yield advisories
    for name in ("advisories", "lock"):
        sys.modules.pop(name, None)


def test_advisories_are_told_and_what_nobody_knows_is_not_called_safe(tool, monkeypatch, capsys):
    pins = [("whole", "1.0"), ("newest", "2.0"), ("old", "1.0")]
    monkeypatch.setattr(tool, "pinned", lambda path: pins)
    assert tool.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "whole 1.0: A-1",
        "3 versions: 2 looked up, 1 of them with advisories.",
        "Not known, for the index tells the newest version's only: old 1.0.",
    ]
    pins[:] = pins[1:2]
    assert tool.main() == 0
    assert capsys.readouterr().out == "1 versions: 1 looked up, 0 of them with advisories.\n"


def test_a_package_that_the_index_does_not_have_is_an_error(tool):
    with pytest.raises(urllib.error.HTTPError):
        tool.advisories("nobody", "1.0")
