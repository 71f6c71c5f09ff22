"""What a worker of a matrix does: train a prompt, score one on a target, score a floor.

A worker loads the backbone once, and tokenises the rows of a target once for all prompts scored there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import evaluate_rows
from prompt_hub.evaluation.stored import fair_rows
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.grid import Item
from prompt_hub.runs.records import package_versions
from prompt_hub.tasks import Split, load_split, row_hashes
from prompt_hub.training.run import train_prompt
from prompt_hub.transfer.plan import (
    CELL,
    FLOOR,
    RANDOM,
    SAMPLE,
    TRAIN,
    Plan,
    Source,
    Target,
    model_identity,
)
from prompt_hub.transfer.sources import SAMPLE_SEED, training_arguments

FACTORY = "prompt_hub.transfer.worker:make_worker"


@dataclass(frozen=True)
class Place:
    """Where a worker finds what the plan names.

    folder: of the matrix. data_dir: of the rows (None: as ``load_split`` looks for them).
    """

    backbone: str
    folder: str
    data_dir: str | None = None
    device: str = "auto"
    batch_size: int = 32


def make_worker(context: dict[str, Any]) -> Worker:
    """For executors. context: ``plan`` (``Plan.to_dict()``) and ``place`` (fields of ``Place``)."""
    plan, place = Plan.from_dict(context["plan"]), Place(**context["place"])
    backbone = _lent.pop(place, None) or load_backbone(
        place.backbone, revision=plan.backbone["revision"], device=place.device, dtype=plan.dtype
    )
    if model_identity(backbone.identity.to_dict()) != model_identity(plan.backbone):
        raise UserError(
            f"Backbone {place.backbone!r} is not the model that the matrix was planned with: embeddings or "
            "tokenizer differ. Run the matrix command again."
        )
    return Worker(plan, place, backbone)


_lent: dict[Place, Backbone] = {}


def lend(place: Place, backbone: Backbone) -> None:
    """For the worker that will be made in this process: it need not load what the planner has loaded."""
    _lent.clear()
    _lent[place] = backbone


@dataclass
class Worker:
    """Does one item and returns its result, plain data."""

    plan: Plan
    place: Place
    backbone: Backbone
    _splits: dict[str, Split] = field(default_factory=dict)
    _hashes: dict[str, np.ndarray] = field(default_factory=dict)
    _encoders: dict[tuple[str, int], Encoder] = field(default_factory=dict)
    _prompts: dict[str, SoftPrompt] = field(default_factory=dict)

    def __call__(self, item: Item) -> dict[str, Any]:
        kinds: dict[str, Callable[..., dict[str, Any]]] = {
            TRAIN: self.train, CELL: self.score, FLOOR: self.score_floor, SAMPLE: self.score_sample,
        }  # fmt: skip
        return {**kinds[item.kind](**_names(item)), "versions": package_versions()}

    # -- the kinds of work -----------------------------------------------------------------------

    def train(self, source: str, seed: int) -> dict[str, Any]:
        """A prompt for a task; goes on where an interrupted training was."""
        wanted = self.plan.source(source, seed)
        target = self.plan.target(wanted.task or "")
        folder = Path(self.place.folder) / wanted.folder
        args = training_arguments(
            {
                **self.plan.training,
                "use_cpu": self.backbone.device.type == "cpu",
                "per_device_eval_batch_size": self.place.batch_size,
            },
            str(folder),
            seed,
            self.plan.layout,
        )
        rows = load_split(target.task, "train", self.place.data_dir, self.plan.limit_train, SAMPLE_SEED)
        if rows.fingerprint != wanted.identity["data_fingerprint"]:
            raise UserError(_changed("training rows", target.name, rows.source))
        result = train_prompt(self.backbone, target.task, rows, args, folder, resume=True)
        history = [{k: v for k, v in each.items() if k in _LOGGED} for each in result.history]
        return {**result.to_dict(), "prompt": wanted.folder, "history": history}

    def score(self, source: str, seed: int | None, target: str) -> dict[str, Any]:
        """One cell: a prompt on the rows of a target that it was not trained on."""
        used, on = self.plan.source(source, seed), self.plan.target(target)
        prompt = self.prompt(used)
        fair = fair_rows(prompt, on.task, self.hashes(on))
        result = self.score_rows(prompt.embeddings, prompt.prompt_len, on, fair.rows)
        return {
            **result,
            "removed_overlap": fair.removed,
            "shared_rows": fair.shared,
            "warnings": fair.warnings + result["warnings"],
            "prompt_hash": prompt.hash,
        }

    def score_floor(
        self, floor: str, target: str, source: str | None = None, seed: int | None = None
    ) -> dict[str, Any]:
        """The backbone without a prompt, or under a random one whose rows have the norms of ``source``."""
        on = self.plan.target(target)
        if floor != RANDOM:
            return self.score_rows(None, on.prompt_len, on, np.arange(len(self.rows(on))))
        prompt = self.prompt(self.plan.source(source or "", seed))
        noise = random_like(prompt.embeddings, torch.Generator().manual_seed(seed or 0))
        return self.score_rows(noise, prompt.prompt_len, on, np.arange(len(self.rows(on))))

    def score_sample(
        self, source: str, seed: int | None, target: str, of: str, rows: list[int]
    ) -> dict[str, Any]:
        """What a prompt answers on the rows (rising) that a race asks for; of: the cell's key."""
        prompt = self.prompt(self.plan.source(source, seed))
        found = self.score_rows(
            prompt.embeddings, prompt.prompt_len, self.plan.target(target), np.asarray(rows)
        )
        return {"answers": found["answers"], "prompt_hash": prompt.hash}

    # -- pieces ----------------------------------------------------------------------------------

    def score_rows(
        self, prompt: torch.Tensor | None, prompt_len: int, target: Target, rows: np.ndarray
    ) -> dict[str, Any]:
        """Scores and answers on some rows of a target (``[n]`` indices, rising)."""
        evaluation, answers = evaluate_rows(
            self.encoder(target, prompt_len),
            prompt,
            self.rows(target),
            rows,
            batch_size=self.place.batch_size,
        )
        found = evaluation.to_dict()
        for name in ("floors", "removed_overlap"):
            found.pop(name)
        return {**found, "answers": answers.to_dict()}

    def prompt(self, source: Source) -> SoftPrompt:
        folder = Path(self.place.folder) / source.folder
        key = str(folder)
        if key not in self._prompts:
            self._prompts.clear()
            self._prompts[key] = SoftPrompt.from_pretrained(folder)
        prompt = self._prompts[key]
        expected = source.identity.get("prompt_hash", prompt.hash)
        if prompt.hash != expected:
            raise UserError(
                f"The prompt in {folder} is another one than planned: {prompt.hash}, not {expected}. Run the "
                "matrix command again."
            )
        prompt.check_fits(self.backbone.identity, self.plan.layout)
        return prompt

    def rows(self, target: Target) -> Split:
        if target.name not in self._splits:
            split = load_split(
                target.task, self.plan.split, self.place.data_dir, self.plan.limit, SAMPLE_SEED
            )
            if split.fingerprint != target.data["fingerprint"]:
                raise UserError(_changed("rows", target.name, split.source))
            self._splits[target.name] = split
        return self._splits[target.name]

    def hashes(self, target: Target) -> np.ndarray:
        """``[n]``: what the training rows of prompts are compared with."""
        if target.name not in self._hashes:
            self._hashes[target.name] = row_hashes(self.rows(target).examples)
        return self._hashes[target.name]

    def encoder(self, target: Target, prompt_len: int) -> Encoder:
        """Raises ``UserError`` where the backbone cannot do the task, or no room is left for text."""
        key = (target.name, prompt_len)
        if key not in self._encoders:
            self._encoders[key] = Encoder(self.backbone, target.task, prompt_len, self.plan.layout)
        return self._encoders[key]


_LOGGED = ("step", "loss", "eval_loss", "eval_combined_score", "learning_rate")


def _names(item: Item) -> dict[str, Any]:
    return {name: value for name, value in item.work.items() if name != "identity"}


def _changed(what: str, task: str, source: str) -> str:
    return (
        f"The {what} of {task} ({source}) have changed since the matrix was planned. Run the matrix command "
        "again."
    )
