"""The notebook for newcomers, executed as they would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from printed_code import ROOT, environment

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def test_it_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_shows_what_it_says(tmp_path, monkeypatch):
    for name, value in environment(tmp_path, tmp_path).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=_in(tmp_path)).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    scores = dict(re.findall(r"^(mini/\w+): accuracy (\d\.\d+)", said, flags=re.MULTILINE))
    assert set(scores) == {"mini/film", "mini/hotel", "mini/conduct_home"}
    # What the text promises: like tasks get the prompt's score, unlike ones do not, and so does the overlap.
    assert float(scores["mini/film"]) > 0.9 and float(scores["mini/hotel"]) > 0.9
    assert float(scores["mini/conduct_home"]) < 0.7
    like, other = map(float, re.findall(r"(?:hotels|conduct) (\d\.\d+)", said))
    assert like > other
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2 and all(len(picture) > 5000 for picture in pictures)


def _in(folder: Path) -> dict[str, dict[str, str]]:
    return {"metadata": {"path": str(folder)}}
