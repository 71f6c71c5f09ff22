"""The page in a real browser: no errors, no requests; switches, keys and the numbers on the tiles."""

from __future__ import annotations

import pytest
from made_records import tour, training, write

from chromium import CHROMIUM, browser
from prompt_hub.overview.page import write_report

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    tour(folder / "tour")
    for number, (task, score) in enumerate(
        (("sst2", 0.871), ("<script>alert(1)</script>", 0.62), ("rte", 0.7))
    ):
        write(folder / f"run-{number}" / "train.json", training(task, score))
    write_report(folder, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium, path):
    chromium.problems.clear()
    chromium.requests.clear()
    chromium.open(path)
    return chromium


def shown(page, selector: str) -> list[str]:
    """Texts of the elements that are visible."""
    return page.evaluate(
        f"[...document.querySelectorAll({selector!r})].filter(e => e.offsetParent)"
        ".map(e => e.textContent.trim())"
    )


def test_it_opens_without_errors_and_asks_for_nothing_else(page, path):
    assert page.problems == [] and page.requests == [path.resolve().as_uri()]


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_at_any_width(page, path, width, dark):
    page.open(path, width, 900, dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inside = "getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(inside) == "rgb(18, 22, 27)") is dark


def test_the_switch_shows_scores_or_shares(page):
    tiles = ".heat tbody:not(.floors) td.tile"
    assert shown(page, tiles) == ["90", "44*", "64", "90"]
    page.evaluate("[...document.querySelectorAll('.options input')].at(-1).click()")
    # 0.437 / 0.9 and 0.641 / 0.9
    assert shown(page, tiles) == ["100", "49*", "71", "100"]


def test_hover_and_keys_say_what_stands_behind_a_tile(page):
    page.hover(".heat tbody tr:nth-child(2) td:nth-of-type(2)")
    assert "0.437 (95%: 0.377 to 0.487), n = 200" in page.evaluate("document.getElementById('tip').innerText")
    page.evaluate("document.querySelector('.heat td[tabindex=\"0\"]').focus()")
    assert "Prompt of film on its own task" in page.evaluate("document.getElementById('tip').innerText")
    page.press("ArrowRight")
    assert "Prompt of film on news" in page.evaluate("document.getElementById('tip').innerText")
    page.press("Escape")
    assert page.evaluate("document.getElementById('tip').hidden")


def test_a_column_is_sorted_by_its_numbers(page):
    column = "[...document.querySelectorAll('#\\\\31-training table.data')][0]"
    scores = f"[...{column}.tBodies[0].rows].map(row => row.cells[1].textContent.slice(0, 5))"
    assert page.evaluate(scores) == ["0.871", "0.620", "0.700"]
    page.evaluate(f"{column}.querySelectorAll('thead button')[1].focus()")
    page.press("Enter")
    assert page.evaluate(scores) == ["0.871", "0.700", "0.620"]
    page.press("Enter")
    assert page.evaluate(scores) == ["0.620", "0.700", "0.871"]


def test_letters_can_be_read_on_every_colour_in_light_and_dark(page, path):
    """WCAG's contrast of at least 4.5 on the tiles."""
    contrast = """[...document.querySelectorAll('.tile')].filter(e => e.offsetParent).map(tile => {
      const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
      const light = colour => {
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255)
          .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const worst = [];
      for (let share = 0; share <= 100; share++) {
        tile.style.setProperty('--v', `${share}%`);
        tile.classList.remove('deep', 'middle');
        if (share >= 52) tile.classList.add(share >= 68 ? 'deep' : 'middle');
        const style = getComputedStyle(tile);
        const [a, b] = [light(style.color), light(style.backgroundColor)];
        worst.push((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
      }
      return Math.min(...worst);
    })[0]"""
    for dark in (False, True):
        page.open(path, dark=dark)
        assert page.evaluate(contrast) >= 4.5


def test_the_theme_button_goes_round(page):
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    for expected in ("light", "dark", "automatic"):
        page.evaluate("document.getElementById('theme').click()")
        assert page.evaluate("document.getElementById('theme').textContent") == f"Theme: {expected}"
        assert (page.evaluate(background) == light) is (expected != "dark")
