"""What a task loses when a prompt's neurons are held at 0 (or at another value), beside fair controls.

Shape letters: ``L`` layers, ``F`` FFN width.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from prompt_hub.backbones.base import Backbone
from prompt_hub.backbones.ffn import FFNSite
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.evaluation.evaluate import FLOORS
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.neurons import selection
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.grid import Grid, Item
from prompt_hub.tasks.metrics import METRIC_VERSION
from prompt_hub.tasks.splits import Split
from prompt_hub.tasks.task import Task

CHOICES = {
    "top": "the highest values under the prompt",
    "random": "drawn from all",
    "random-active": "drawn from the active ones",
    "bottom": "the lowest values",
    "other-task": "the highest values under another task's prompt",
    "common": "active under the most of the prompts",
    "specific": "active under this prompt and the fewest others",
}
"""How neurons are chosen, and what that means."""
DRAWN = ("random", "random-active")
WITH_OTHERS = ("other-task", "common", "specific")
UNMASKED = "unmasked"


@dataclass(frozen=True)
class Target:
    """A task to score under masking: the prompt that is used on it, its rows, and how it is related to the
    task whose neurons are masked (``own``, ``same type`` or ``other``)."""

    name: str
    prompt: SoftPrompt
    task: Task
    rows: Split
    relation: str


@dataclass(frozen=True)
class Condition:
    """choice: one of ``CHOICES``, or ``unmasked``. source: the other prompt, of other-task."""

    choice: str
    ratio: float = 0.0
    draw: int = 0
    source: str = ""


@dataclass
class MaskingStudy:
    """Every target under every condition.

    values: ``[L, F]`` of the prompt whose neurons are masked, by which they are ranked. others: the same of
    other tasks' prompts, by name. sites: those of the values. to: what the neurons are held at, a number or
    ``[L, F]``. draws: of each random choice. Raises ``UserError`` for an unknown choice, a ratio outside
    (0, 1], no draw, and a choice that needs other prompts where there are none.
    """

    backbone: Backbone
    sites: Sequence[FFNSite]
    values: Tensor
    targets: Sequence[Target]
    ratios: Sequence[float]
    choices: Sequence[str] = ("top", "random", "random-active", "bottom")
    others: Mapping[str, Tensor] = field(default_factory=dict)
    draws: int = 3
    to: float | Tensor = 0.0
    seed: int = 42
    batch_size: int = 32
    layout: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for choice in self.choices:
            if choice not in CHOICES:
                raise unknown_name("choice of neurons", choice, CHOICES)
            if choice in WITH_OTHERS and not self.others:
                raise UserError(
                    f"The choice {choice!r} compares with other tasks' prompts: name at least one (--other)."
                )
        if self.draws < 1:
            raise UserError(f"A random choice needs at least one draw, not {self.draws}.")
        if not self.ratios or not self.choices:
            raise UserError("Name at least one ratio and one choice of neurons.")
        for ratio in self.ratios:
            selection.count(ratio, self.values.numel())

    def conditions(self) -> list[Condition]:
        """In the order in which they are computed; the unmasked one first."""
        found = [Condition(UNMASKED)]
        for ratio in self.ratios:
            for choice in self.choices:
                if choice in DRAWN:
                    found += [Condition(choice, ratio, draw) for draw in range(self.draws)]
                elif choice == "other-task":
                    found += [
                        Condition(choice, ratio, draw, source) for draw, source in enumerate(self.others)
                    ]
                else:
                    found.append(Condition(choice, ratio))
        return found

    def chosen(self, condition: Condition) -> Tensor:
        """``[L, F]`` bool. A draw of a higher ratio holds that of a lower one."""
        others, ratio, seed = list(self.others.values()), condition.ratio, self.seed + condition.draw
        if condition.choice == "other-task":
            return selection.top(self.others[condition.source], ratio)
        choose: dict[str, Callable[[], Tensor]] = {
            "top": lambda: selection.top(self.values, ratio),
            "bottom": lambda: selection.bottom(self.values, ratio),
            "random": lambda: selection.random(self.values, ratio, seed),
            "random-active": lambda: selection.random_active(self.values, ratio, seed),
            "common": lambda: selection.common(self.values, others, ratio),
            "specific": lambda: selection.specific(self.values, others, ratio),
        }
        return choose[condition.choice]()

    def score(self, target: Target, condition: Condition) -> dict[str, Any]:
        """One cell: the target's evaluation while the chosen neurons are held.

        Rows of another task than the prompt's own that the prompt was trained on are left out of every
        condition and counted (``removed_overlap``), as in every evaluation of a stored prompt.
        """
        asked: dict[str, Any] = {
            "layout": self.layout,
            "force": self.force,
            "batch_size": self.batch_size,
            "seed": self.seed,
        }
        given = (self.backbone, target.prompt, target.task, target.rows)
        cell: dict[str, Any] = {"target": target.name, "relation": target.relation, **asdict(condition)}
        if condition.choice == UNMASKED:
            result = evaluate_stored(*given, floors=FLOORS, **asked)
            cell |= {"neurons": 0, "active": 0, "floors": result.floors, "warnings": result.warnings}
        else:
            chosen = self.chosen(condition)
            with held_neurons(self.sites, chosen, self.to):
                result = evaluate_stored(*given, floors=(), **asked)
            cell |= {"neurons": int(chosen.sum()), "active": int((self.values[chosen] > 0).sum())}
        metric = result.primary_metric
        return cell | {
            "metric": metric,
            "score": result.score,
            "ci95": result.ci95[metric],
            "n": result.n,
            "removed_overlap": result.removed_overlap,
            "predicted": result.predicted,
        }

    def run(self, folder: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(cells done, cells in all, cell), as they are done.

        The grid in ``folder`` keeps them: what was done by an earlier run, or is done by another process
        meanwhile, is not computed again.
        """
        pairs = [(target, condition) for target in self.targets for condition in self.conditions()]
        cells = {self._key(*pair): pair for pair in pairs}
        with Grid.open(folder) as grid:
            grid.add(Item(key, "mask", asdict(condition)) for key, (_, condition) in cells.items())
            while (item := grid.claim(f"process {os.getpid()}", only=cells)) is not None or (
                grid.counts(cells)["taken"]
            ):
                if item is None:
                    time.sleep(1)
                    continue
                started = time.perf_counter()
                cell = self.score(*cells[item.key])
                grid.finish(item.key, cell, time.perf_counter() - started)
                yield grid.counts(cells)["done"], len(cells), cell

    def results(self, folder: Path) -> list[dict[str, Any]]:
        """The finished cells of this study, in order."""
        with Grid.open(folder, create=False) as grid:
            found = [
                grid.result(self._key(target, condition))
                for target in self.targets
                for condition in self.conditions()
            ]
        return [cell for cell in found if cell is not None]

    def summary(self, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Cells, and by target, ratio and choice the mean over draws with its interval (``summarise``)."""
        return {
            "neurons": self.values.numel(),
            "shape": list(self.values.shape),
            "active": int((self.values > 0).sum()),
            "ratios": list(self.ratios),
            "choices": list(self.choices),
            "targets": [target.name for target in self.targets],
            "others": list(self.others),
            "summary": summarise(cells),
            "cells": [dict(cell) for cell in cells],
        }

    def _key(self, target: Target, condition: Condition) -> str:
        """Everything that a cell's score depends on."""
        about: dict[str, Any] = {
            "backbone": self.backbone.identity.embedding_hash,
            "dtype": str(self.backbone.dtype),
            **({"weights": self.backbone.quantized} if self.backbone.quantized else {}),
            "target": [target.name, target.prompt.hash, target.task.fingerprint(), target.rows.fingerprint],
            "relation": target.relation,
            "trained on": None if target.prompt.train_rows is None else _hash(target.prompt.train_rows),
            "layout": self.layout,
            "condition": asdict(condition),
            "seed": self.seed,
            "metric version": METRIC_VERSION,
        }
        if condition.choice != UNMASKED:
            held = self.to if isinstance(self.to, float | int) else _hash(self.to)
            names = [site.down_name for site in self.sites]
            about["neurons"] = [_hash(self.chosen(condition)), names, held]
        text = json.dumps(about, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def summarise(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By target, ratio and choice: scores of the draws, their mean, an interval, and what was lost.

    interval: from the lowest to the highest end of the draws' 95% intervals (one draw: its own), so that it
    covers both the examples and the draw. lost: unmasked score less the mean.
    """
    unmasked = {cell["target"]: cell for cell in cells if cell["choice"] == UNMASKED}
    groups: dict[tuple[str, float, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell["choice"] != UNMASKED:
            groups.setdefault((cell["target"], cell["ratio"], cell["choice"]), []).append(cell)
    found = []
    for (target, ratio, choice), drawn in groups.items():
        scores = [cell["score"] for cell in drawn]
        mean = sum(scores) / len(scores)
        before = unmasked.get(target)
        found.append(
            {
                "target": target,
                "relation": drawn[0]["relation"],
                "ratio": ratio,
                "choice": choice,
                "metric": drawn[0]["metric"],
                "n": drawn[0]["n"],
                "scores": scores,
                "mean": mean,
                "interval": [
                    min(cell["ci95"][0] for cell in drawn),
                    max(cell["ci95"][1] for cell in drawn),
                ],
                "neurons": drawn[0]["neurons"],
                "active": sum(cell["active"] for cell in drawn) / len(drawn),
                "unmasked": before["score"] if before else None,
                "lost": before["score"] - mean if before else None,
            }
        )
    return found


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().cpu().numpy().tobytes()).hexdigest()[:16]
