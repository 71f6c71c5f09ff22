"""The table of ``docs/reliability.md``."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path
from typing import Any

from soak.faults import FAULTS

BEGIN, END = "<!-- soak -->", "<!-- end of soak -->"


def table(found: list[dict[str, Any]]) -> str:
    lines = ["| fault | how | injections | into | lost |", "|---|---|---|---|---|"]
    for name, (fault, _) in FAULTS.items():
        mine = [each for each in found if each["fault"] == name]
        into = ", ".join(f"{job} {count}" for job, count in sorted(Counter(e["job"] for e in mine).items()))
        how = " ".join((fault.__doc__ or "").split())
        bad = [each for each in mine if each["bad"]]
        lost = f"{len(bad)} times: see build/soak" if bad else "nothing" if mine else "not tried here"
        lines.append(f"| {name} | {how} | {len(mine)} | {into} | {lost} |")
    kept = sum(each["kept"] for each in found)
    lines.append(
        f"\n{len(found)} injections. {kept} finished pieces of work were there when a fault had happened; "
        "those that were lost or computed again are counted above."
    )
    lines.append(f"Python {platform.python_version()} on {platform.system()}, {platform.machine()}.")
    return "\n".join(lines)


def put_into(path: Path, found: list[dict[str, Any]]) -> None:
    """Replaces what stands between the marks."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
