"""Asks PyPI which known vulnerabilities the versions of constraints.txt have.

    .venv/bin/python tools/advisories.py

``make audit`` asks the same by pip-audit, which needs PyPI's page of every version. A mirror may have only
the page of every package: it tells the advisories of the newest version, so of older ones nothing is known,
and they are listed. Exit code 1 where there is an advisory. The index is PyPI, or JSON_URL.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lock import ROOT, pinned

INDEX = os.environ.get("JSON_URL", "https://pypi.org/pypi").rstrip("/")


def main() -> int:
    pins = pinned(ROOT / "constraints.txt")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pin: advisories(*pin), pins))
    known = [(pin, each) for pin, each in zip(pins, found, strict=True) if each is not None]
    bad = [f"{name} {version}: {', '.join(each)}" for (name, version), each in known if each]
    unknown = [f"{name} {version}" for (name, version), each in zip(pins, found, strict=True) if each is None]
    print("\n".join(bad), end="\n" if bad else "")
    print(f"{len(pins)} versions: {len(known)} looked up, {len(bad)} of them with advisories.")
    if unknown:
        print(f"Not known, for the index tells the newest version's only: {', '.join(unknown)}.")
    return int(bool(bad))


def advisories(name: str, version: str) -> list[str] | None:
    """Their names; None where the index does not tell."""
    page = of_version(name, version)
    if page is None:
        page = read(f"{INDEX}/{name}/json")
        if page["info"]["version"] != version:
            return None
    return [each["id"] for each in page["vulnerabilities"] if not each.get("withdrawn")]


def of_version(name: str, version: str) -> dict[str, Any] | None:
    try:
        return read(f"{INDEX}/{name}/{version}/json")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return dict(json.load(answer))


if __name__ == "__main__":
    sys.exit(main())
