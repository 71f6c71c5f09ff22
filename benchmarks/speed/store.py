"""Measurements as files: one JSON each, written as soon as it is known."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Store:
    """A folder of measurements. Keys are file names without their ending."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def put(self, key: str, found: dict[str, Any]) -> None:
        """Whole or not at all, also when the process is killed."""
        half = self.folder / f".{key}.{os.getpid()}"
        half.write_text(json.dumps(found, indent=1), encoding="utf-8")
        half.replace(self.folder / f"{key}.json")

    def all(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.folder.glob("*.json")):
            yield json.loads(path.read_text(encoding="utf-8"))
