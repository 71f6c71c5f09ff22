"""The built site, once for all tests of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Built = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def mkdocs_build() -> Callable[[Path, Path], Built]:
    """``mkdocs_build(config, folder)``: strictly, as ``make docs`` does."""
    for needed in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(needed, reason="the site needs pip install 'prompt-hub[docs]'")

    def build(config: Path, to: Path) -> Built:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
        return subprocess.run(
            [*command, "--config-file", config, "--site-dir", to],
            cwd=config.parent, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return build


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, mkdocs_build: Callable[[Path, Path], Built]) -> Path:
    where = tmp_path_factory.mktemp("site")
    done = mkdocs_build(ROOT / "mkdocs.yml", where)
    assert done.returncode == 0, done.stderr
    return where
