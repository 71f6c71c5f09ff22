"""The site: built strictly (mkdocs checks pages, links and anchors), complete, and of itself enough."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer

from chromium import CHROMIUM, browser
from printed_code import ROOT
from prompt_hub.cli.main import app

pytestmark = pytest.mark.slow
PAGES = ("index.html", "concepts.html", "guides/serving.html", "reference/cli.html", "reference/prompts.html")


class Page(HTMLParser):
    """ids: what a link can lead to. fetched: what a browser asks for by itself. links: those for readers."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.fetched += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]
        if tag == "link":
            self.fetched.append(given.get("href", ""))
        elif tag == "a":
            self.links.append(given.get("href", ""))


def test_no_page_or_style_asks_another_host(site):
    for path in site.rglob("*.html"):
        elsewhere = [address for address in Page(path).fetched if re.match(r"(https?:)?//", address)]
        assert not elsewhere, f"{path.relative_to(site)} asks {elsewhere}"
    styles = list(site.rglob("*.css"))
    assert styles
    for path in styles:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(url\(\s*[\"']?|@import\s+[\"'])(https?:)?//", text), path.name


def test_every_link_inside_the_site_leads_to_a_page_and_a_heading(site):
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    seen = 0
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            # The page for lost readers is served from anywhere, so its links begin at the root.
            if re.match(r"[a-z]+:", link) or path.name == "404.html":
                continue
            to = (path.parent / target).resolve() if target else path
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), f"{path.name}: {link}"
            if anchor and to in pages and not anchor.startswith("__"):
                assert anchor in pages[to].ids, f"{path.name}: {link}"
                seen += 1
    assert seen > 100


def test_every_command_and_every_option_is_in_the_reference(site):
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    found = 0
    waiting = [("prompt-hub", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        if hasattr(command, "commands"):
            waiting += [(f"{name} {short}", one) for short, one in command.commands.items()]
            if not command.invoke_without_command or name == "prompt-hub":
                continue
        section = text.partition(f'<h2 id="{name.replace(" ", "-")}">')[2].partition("<h2 ")[0]
        assert section, name
        for parameter in command.params:
            for option in [one for one in parameter.opts if one.startswith("--") and one != "--help"]:
                assert f"<code>{option}</code>" in section, f"{name} {option}"
                found += 1
    assert found > 100


def test_docstrings_are_rendered(site):
    text = (site / "reference" / "prompts.html").read_text(encoding="utf-8")
    assert 'id="prompt_hub.hub.PromptHub.cross_task_eval"' in text
    assert "Score the stored prompt of <code>source_task</code>" in text


@pytest.mark.parametrize("wrong", ["[a page](nowhere.md)", "[a heading](index.md#nowhere)"])
def test_a_link_to_nowhere_stops_the_build(wrong, tmp_path, mkdocs_build):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Here\n\n{wrong}\n")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    without = re.sub(r"^(nav|hooks|plugins):.*?(?=^\S|\Z)", "", settings, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mkdocs.yml").write_text(without)
    done = mkdocs_build(tmp_path / "mkdocs.yml", tmp_path / "out")
    assert done.returncode != 0 and "nowhere" in done.stderr


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_pages_load_without_complaints_or_other_hosts_and_the_search_finds(address, tmp_path):
    with browser(tmp_path / "profile") as page:
        for name in PAGES:
            page.open(address + name, width=390 if name == "concepts.html" else 1280)
            too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(too_wide) == 0, name
            broken = (
                "[...document.images].filter(one => !one.complete || !one.naturalWidth).map(one => one.src)"
            )
            assert page.evaluate(broken) == [], name
        page.evaluate("""new Promise((done, fail) => {
            const field = document.querySelector('input[name=query]');
            field.focus(); field.value = 'speed-up';
            field.dispatchEvent(new Event('input', {bubbles: true}));
            field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
            let tries = 100;
            (function look() {
                if (document.querySelector('.md-search-result__link[href*="warm-start"]')) done(true);
                else if (!--tries) fail(new Error('nothing found'));
                else setTimeout(look, 100);
            })();
        })""")
        asked = [one for one in page.requests if not one.startswith((address, "data:", "blob:"))]
        assert page.requests and not asked
        assert not page.problems
