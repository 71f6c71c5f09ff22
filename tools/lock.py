"""Writes requirements.lock: the versions of constraints.txt with the SHA-256 of every file of theirs.

    .venv/bin/python tools/lock.py

Asks the package index (PyPI, or INDEX_URL) by its JSON interface (PEP 691). torch is left out: its CPU and
CUDA builds come from several indexes under one version. make install takes no other file than these.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
INDEX = os.environ.get("INDEX_URL", "https://pypi.org/simple").rstrip("/")
WITHOUT = {"torch"}
PYTHON = "3.11.0"
"""The oldest that make install promises; some versions want a later 3.11."""

HEAD = "# From constraints.txt by tools/lock.py: every file of every version, by its SHA-256.\n"


def main() -> int:
    lines = [HEAD]
    for name, version in pinned(ROOT / "constraints.txt"):
        if name not in WITHOUT:
            print(name, version, file=sys.stderr)
            found = " \\\n".join(f"    --hash=sha256:{each}" for each in hashes(name, version))
            lines.append(f"{name}=={version} \\\n{found}\n")
    (ROOT / "requirements.lock").write_text("".join(lines), encoding="utf-8")
    return 0


def pinned(path: Path) -> list[tuple[str, str]]:
    """Name and version of every line that pins one."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        (name, version) for line in lines if not line.startswith("#") for name, version in [line.split("==")]
    ]


def hashes(name: str, version: str) -> list[str]:
    """Of all files of a version, sorted."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    request = urllib.request.Request(
        f"{INDEX}/{plain}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    ours = [each for each in files if is_of(each["filename"], plain, version)]
    if not any(SpecifierSet(each.get("requires-python") or "").contains(PYTHON) for each in ours):
        raise SystemExit(f"{INDEX} has no file of {name} {version} for Python {PYTHON}.")
    return sorted({each["hashes"]["sha256"] for each in ours})


def is_of(filename: str, name: str, version: str) -> bool:
    """Whether a wheel or source archive (``name-version...``) is of this version."""
    stem = re.sub(r"\.(whl|tar\.gz|zip)$", "", filename)
    parts = stem.split("-")
    if filename.endswith(".whl"):
        return parts[1] == version
    return re.sub(r"[-_.]+", "-", stem).lower() == re.sub(r"[-_.]+", "-", f"{name}-{version}").lower()


if __name__ == "__main__":
    sys.exit(main())
