"""The stores of the scale benchmark are such that commands read them."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_command_reads_small_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scale

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- scale -->\nold\n<!-- end of scale -->\nafter\n")
    options = ["--prompts", "3", "--cells", "440", "--output", str(tmp_path / "stores"), "--into", str(page)]
    assert scale.main(options) == 0
    said = capsys.readouterr().out
    assert page.read_text().startswith("before\n<!-- scale -->\n\n") and said.strip() in page.read_text()
    for command, on in (("prompts ls", "3 prompts"), ("rank", "3 prompts"), ("report", "440 cells")):
        assert f"| `{command}` | {on} | " in said
    assert "failed" not in said
