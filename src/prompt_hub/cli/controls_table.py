"""A prompt brought from another backbone beside its controls, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prompt_hub.cli.output import print_table, say, warn

if TYPE_CHECKING:
    from prompt_hub.transfer.cross_model.beside import ScoreBesideControls


def print_controls(result: ScoreBesideControls, notes: Sequence[str] = ()) -> None:
    """The table, the warnings (``notes`` first), and what the controls say."""
    known = result.evaluation
    low, high = known.ci95[known.primary_metric]
    lines = [[result.judged, f"{known.score:.3f}", f"{low:.3f} to {high:.3f}", ""]]
    for line in result.controls:
        (low, high), (least, most) = line.ci95, line.gain_ci95
        gain = f"{line.gain:+.3f} ({least:+.3f} to {most:+.3f})"
        lines.append([line.name, f"{line.score:.3f}", f"{low:.3f} to {high:.3f}", gain])
    if result.majority is not None:
        lines.append(["majority class", f"{result.majority:.3f}", "", ""])
    columns = ["prompt", known.primary_metric, "95% interval", f"{result.judged} is above it by"]
    print_table(f"{known.task} on {known.backbone} (n = {known.n})", columns, lines)
    for note in [*notes, *result.warnings, *known.warnings]:
        warn(note)
    (warn if result.rivals else say)(result.verdict())
