"""What the page says is what is in the records, and nothing in a record becomes markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from command import succeeds
from made_records import record, tour, training, write
from made_up import ROWS, made_up_plan, right, store

from prompt_hub.errors import UserError
from prompt_hub.overview import matrix
from prompt_hub.overview.page import report_page, write_report
from prompt_hub.reports.html.blocks import Notice
from prompt_hub.transfer import load_table


class Reader(HTMLParser):
    """The texts, tags and attributes of a page, as a browser takes them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    def tips(self, with_words: str) -> list[str]:
        found = [attributes.get("data-tip") or "" for _, attributes in self.tags]
        return [tip for tip in found if with_words in tip]


@pytest.fixture
def read(tmp_path):
    """The page of what was written below ``tmp_path``."""

    def get() -> Reader:
        write_report(tmp_path, tmp_path / "report.html")
        return Reader((tmp_path / "report.html").read_text(encoding="utf-8"))

    return get


def notices(folder: Path) -> list[Notice]:
    return [notice for section in report_page(folder).sections for notice in section.notices]


# -- training --------------------------------------------------------------------------------------


def test_a_run_is_shown_with_interval_floors_and_n(tmp_path, read):
    write(tmp_path / "sst2" / "train.json", training(score=0.871))
    text = read().text
    for number in ("0.871 (0.821 to 0.911)", "0.505", "0.530", "200", "mini-roberta", "made up"):
        assert number in text
    assert "prompt-hub train --output 'a folder'" in text


def test_curves_hold_the_logged_points(tmp_path, read):
    write(tmp_path / "sst2" / "train.json", training(score=0.871))
    page = read()
    assert len(page.tips("held-out, at 20: 0.771")) == 1
    assert len(page.tips("held-out, at 20: 0.600")) == 1
    assert "What is drawn" in [attributes.get("aria-label") for _, attributes in page.tags]


def test_a_run_without_validation_rows_has_its_held_out_curve_and_says_that_it_is_not_scored(tmp_path, read):
    run = training()
    scored = ("primary_metric", "metrics", "ci95", "floors", "n", "data")
    run["result"] = {name: value for name, value in run["result"].items() if name not in scored}
    write(tmp_path / "t" / "train.json", run)
    page = read()
    assert "not scored, since no validation rows were given" in page.text
    assert "0.671" in page.text and "0.771" in page.text


def test_a_diagnosis_and_an_unfinished_run_are_said_first(tmp_path, read):
    write(tmp_path / "a" / "train.json", training(diagnosis=("It predicts one class (great).",)))
    write(tmp_path / "b" / "train.json", training(status="running", seed=2) | {"result": {}})
    kinds = {notice.kind: notice.text for notice in notices(tmp_path)}
    assert "predicts one class (great)" in kinds["not learning"] and "(a)" in kinds["not learning"]
    assert "(b)" in kinds["unfinished"]
    text = read().text
    assert text.index("Not learning") < text.index("Trained prompts beside the floors")


def test_runs_of_a_warm_start_are_not_among_the_trainings(tmp_path):
    write(tmp_path / "t" / "train.json", training())
    write(tmp_path / "starts" / "runs" / "warm" / "seed-1" / "train.json", training("imdb"))
    write(tmp_path / "starts" / "warm_start.json", record("warm_start", {}, {}, status="running"))
    section = report_page(tmp_path).sections[0]
    assert section.title == "Training" and "imdb" not in str(section.content[0].rows)


# -- transfer --------------------------------------------------------------------------------------


def test_a_matrix_shows_every_cell_of_its_table(tmp_path, read):
    # 400 rows, the majority class is 1 on rows 160 to 400: 0.6.
    scores = {
        ("sst2", "sst2"): right((0, 360)), ("imdb", "sst2"): right((0, 300)),
        ("rte", "sst2"): right((0, 100)), ("no_prompt", "sst2"): right((0, 220)),
    }  # fmt: skip
    kept = np.arange(20, ROWS)
    store(tmp_path / "m", made_up_plan(), scores, rows={("imdb", "rte"): kept})
    page = read()
    [own] = page.tips("Prompt of sst2 on sst2")[:1]
    assert "accuracy 0.900 (95%: 0.8" in own and "n = 400" in own
    tip = page.tips("Prompt of imdb on sst2")[0]
    assert "accuracy 0.750" in tip and "83% (" in tip and "of the own prompt's 0.900" in tip
    assert "majority class 0.600" in tip and "no prompt 0.550" in tip
    assert "negative transfer" in page.tips("Prompt of rte on sst2")[0]
    assert "20 rows left out" in page.tips("Prompt of imdb on rte")[0]
    found = notices(tmp_path)
    assert any(
        "prompt of rte on sst2: 0.250" in each.text for each in found if each.kind == "negative transfer"
    )
    assert any("20 rows of rte left out" in each.text for each in found if each.kind == "overlap")


def test_tiles_are_grouped_by_type_and_marked(tmp_path, read):
    store(tmp_path / "m", made_up_plan(), {("rte", "sst2"): right()})
    page = read()
    tiles = [
        attributes["class"]
        for tag, attributes in page.tags
        if tag == "td" and "tile" in (attributes.get("class") or "")
    ]
    # Three prompts and three floors on three tasks, in two views.
    assert len(tiles) == 2 * 3 * (3 + 3)
    assert sum("own" in each.split() for each in tiles) == 2 * 3
    groups = [attributes for tag, attributes in page.tags if attributes.get("scope") == "colgroup"]
    assert [group["colspan"] for group in groups] == ["2", "1"] * 2


def test_a_tour_shows_its_pairs(tmp_path, read):
    tour(tmp_path)
    page = read()
    tip = page.tips("Prompt of film on news")[0]
    assert "accuracy 0.437 (95%: 0.377 to 0.487), n = 200" in tip and "49% of the own prompt's 0.900" in tip
    assert "13 rows left out" in page.tips("Prompt of news on film")[0]
    assert {notice.kind for notice in notices(tmp_path)} == {"negative transfer", "overlap"}
    assert "--steps 30 --seed 7" in page.text


# -- safety ----------------------------------------------------------------------------------------


def test_names_and_errors_are_text_whatever_they_hold(tmp_path, read):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    write(tmp_path / "a" / "train.json", training(evil, diagnosis=(evil,)))
    tour(tmp_path / "t", evil, "news")
    page = read()
    assert [tag for tag, _ in page.tags].count("script") == 1 and "img" not in [tag for tag, _ in page.tags]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text


def test_nothing_is_fetched(tmp_path, read):
    write(tmp_path / "train.json", training())
    page = read()
    links = [attributes.get("href") for _, attributes in page.tags if attributes.get("href")]
    assert links and all(link.startswith("#") for link in links)
    assert not [
        attributes for tag, attributes in page.tags if "src" in attributes or tag in ("link", "iframe")
    ]
    html = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in html and "url(" not in html and "@import" not in html


def test_a_damaged_record_is_named_and_the_rest_is_shown(tmp_path, read):
    write(tmp_path / "good" / "train.json", training())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.json").write_text('{"kind": "train", "sett')
    write(
        tmp_path / "old" / "quickstart.json",
        {"training": 1, "backbone": 1, "settings": 1, "status": "done", "transfer": {"x": 1}},
    )
    write(tmp_path / "other" / "package.json", {"name": "nothing of ours"})
    damaged = [notice.text for notice in notices(tmp_path) if notice.kind == "damaged"]
    assert len(damaged) == 2
    assert damaged[0].startswith("bad/train.json") and damaged[1].startswith("old/quickstart.json")
    assert "0.871" in read().text


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(UserError, match="no records below"):
        report_page(tmp_path)
    with pytest.raises(UserError, match="There is no folder"):
        report_page(tmp_path / "none")


def test_a_large_matrix_stays_small_on_disk(tmp_path):
    from prompt_hub.overview.heat_map import heat_map
    from prompt_hub.reports.html.blocks import Figure, Page, Section
    from prompt_hub.reports.html.page import page_html
    from prompt_hub.transfer.view import Cell, View

    names = [f"a_task_with_a_long_name_{number}" for number in range(100)]
    cells = {(row, column): Cell(0.5, 0.4, 0.6) for row in names for column in names}
    view = View([(name, "type") for name in names], [], [(name, "type", 100) for name in names], cells, False)
    tiles = heat_map(view, lambda row, column: [f"Prompt of {row} on {column}", "x" * 200], "")
    page = Page("t", "s", [Section("a", "b", content=[Figure("f", "F", tiles)])])
    assert len(page_html(page).encode()) < 6_000_000


def test_of_many_sources_those_are_shown_that_say_most(tmp_path, read, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import scale

    scale.make_matrix(tmp_path / "m", 23 * scale.TARGETS)  # 20 tasks with their own prompts, three others
    assert len(read().tips("Prompt of prompt-2")) == 2 * 3 * scale.TARGETS
    table = load_table(tmp_path / "m", over_seeds=True)
    others = table[table["source"].str.startswith("prompt-")].groupby("source")["score"].mean()
    monkeypatch.setattr(matrix, "MOST_CELLS", 21 * scale.TARGETS)
    page = read()
    assert len(page.tips(f"Prompt of {others.idxmax()} on")) == 2 * scale.TARGETS
    assert len(page.tips("Prompt of prompt-2")) == 2 * scale.TARGETS
    assert len(page.tips("Prompt of task-19 on task-00")) == 2
    assert "21 of 23 sources" in page.text and "matrix show" in page.text
    monkeypatch.setattr(matrix, "MOST_CELLS", 100)
    assert "10 of 23 sources and the first 10 of 20 targets" in read().text


def test_of_very_many_notices_the_first_are_shown_and_the_others_counted(tmp_path, monkeypatch):
    store(tmp_path / "m", made_up_plan(), {(name, "sst2"): right((0, 100)) for name in ("imdb", "rte")})
    monkeypatch.setattr(matrix, "MOST_NOTICES", 1)
    found = [each.text for each in notices(tmp_path) if each.kind == "negative transfer"]
    assert (
        len(found) == 2
        and "prompt of" in found[0].lower()
        and found[1].startswith("1 more of this kind in m")
    )


def test_the_json_of_the_command_names_page_and_notices(tmp_path):
    tour(tmp_path / "t")
    found = succeeds("report", tmp_path, "--json").json
    assert Path(found["path"]) == tmp_path / "report.html" and Path(found["path"]).is_file()
    assert [section["title"] for section in found["sections"]] == ["Zero-shot transfer: t"]
    assert json.dumps(found["sections"][0]["notices"]).count("negative transfer") == 1
