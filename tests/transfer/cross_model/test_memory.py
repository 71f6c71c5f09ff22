"""The paper's projector from a base to a large model trains on an ordinary machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_models import build

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc (Linux)")
def test_from_100_x_768_to_100_x_1024_takes_less_than_4_gb_besides_the_models(tmp_path):
    target = build("roberta", tmp_path / "target", positions=256, width=1024)
    done = subprocess.run(
        [sys.executable, str(HERE / "memory_of_training.py"), str(target), str(tmp_path / "out")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert done.returncode == 0, done.stderr
    parameters, added = map(int, done.stdout.split())
    assert parameters == 137_730_816
    # At least weights, gradients and two moments have to be there, or it was not trained.
    assert 16 * parameters < added < 4e9, f"{added:,} bytes"
