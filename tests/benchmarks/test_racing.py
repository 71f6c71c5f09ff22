"""The simulated races run and say what the documentation quotes."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_simulated_races_save_examples_where_one_source_is_clearly_best(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import racing

    used, lost, wrong = racing.simulate(racing.CASES[0], races=5)
    assert used < 1 / 3 and lost == wrong == 0
    monkeypatch.setattr(racing, "CASES", racing.CASES[6:])
    racing.main(["--races", "2"])
    assert "| 2 equal, confidence 0.8 | 200 | 0.8 |" in capsys.readouterr().out
    sys.modules.pop("racing")
