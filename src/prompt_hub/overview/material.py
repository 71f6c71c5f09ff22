"""On which models, data and machines the records were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prompt_hub.overview.found import Records
from prompt_hub.overview.words import model_row
from prompt_hub.reports.html.blocks import Table


def material_tables(records: Records) -> list[Table]:
    """The backbones and the rows that are named in the records, each once."""
    models = dict.fromkeys(model_row(backbone) for backbone in _backbones(records))
    data = dict.fromkeys(_data(records))
    tables = []
    if models:
        tables.append(
            Table("models", "Backbones", ["name", "family", "width", "hash of its embeddings"], list(models))
        )
    if data:
        head = ["task", "rows", "n", "origin", "fingerprint"]
        tables.append(Table("data", "Data", head, sorted(data, key=lambda row: (str(row[0]), str(row[1])))))
    return tables


def environments(records: Records) -> list[str]:
    """A line a machine and set of library versions."""
    found: dict[str, None] = {}
    for one in _all(records):
        known = one.get("environment") or (one.get("made_by") or {}).get("environment")
        if isinstance(known, Mapping) and known.get("packages"):
            packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
            machine = f"{known.get('system')} {known.get('machine')}, {known.get('cpus')} CPUs"
            found[f"Computed on {machine}, Python {known.get('python')}; {packages}"] = None
    return list(found)


def _all(records: Records) -> Iterator[dict[str, Any]]:
    for several in records.by_kind.values():
        for found in several:
            yield found.data


def _backbones(records: Records) -> Iterator[Mapping[str, Any]]:
    for data in _all(records):
        settings = data.get("settings") or {}
        plan = data.get("plan") or {}
        places = [data.get("backbone"), plan.get("backbone"), data.get("source"), data.get("target")]
        places += [settings.get(name) for name in ("backbone", "source_backbone", "target_backbone")]
        yield from (each for each in places if isinstance(each, Mapping) and "embedding_hash" in each)


def _data(records: Records) -> Iterator[tuple[Any, ...]]:
    """(task, which rows, n, origin, fingerprint)."""
    for found in records.of("train"):
        result = found.data["result"]
        if isinstance(result.get("data"), Mapping):
            data = result["data"]
            yield (
                result.get("task"),
                data.get("split"),
                result.get("n"),
                data.get("source"),
                data.get("fingerprint"),
            )
    for found in records.of("matrix"):
        plan = found.data["plan"]
        for target in plan["targets"]:
            data = target["data"]
            yield target["name"], plan["split"], data.get("n"), data.get("source"), data.get("fingerprint")
