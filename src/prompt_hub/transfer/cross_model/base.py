"""A map from the prompts of one backbone to those of another, and its folder.

``map.safetensors`` holds the numbers; ``map.json``, written last, says between which backbones, by which
method, and what was measured, with the SHA-256 of the numbers. A map is fitted to tokens, or a trained
projector.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors_torch
from torch import Tensor

from prompt_hub.atomic import locked, write_folder
from prompt_hub.backbones.base import BackboneIdentity
from prompt_hub.encoding.layouts import layout_for, serves
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.prompts.fit import misfits
from prompt_hub.prompts.metadata import MAX_TENSOR_BYTES, PromptMetadata, read_bounded, read_json
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.prompts.tensor_files import parse_safetensors
from prompt_hub.runs.records import now, package_versions
from prompt_hub.transfer.cross_model.map_files import (
    CONSTANT,
    SCHEMA_VERSION,
    check_description,
    check_tensors,
    check_weights,
)
from prompt_hub.transfer.cross_model.maps import METHODS, Method
from prompt_hub.transfer.cross_model.network import Network

MAP_NAME = "map.json"
TENSORS_NAME = "map.safetensors"

_TRAIN_ROWS = "train_rows"
_NUMBERS = ("tensors", _TRAIN_ROWS)

SCALES = ("relative", "tokens", "none")


@dataclass(eq=False)
class CrossModelMap:
    """source, target: whose prompts it takes and gives. tensors: the method's, kept as float32.

    method: a name in ``maps.METHODS``, or the kind of the ``network``, where the map is a trained projector,
    which takes and gives prompts of one length. scale: ``relative`` makes the mean squared row norm of the
    result, measured in that of the target's tokens, what the prompt's is in that of the source's; ``tokens``
    gives every row the norm of the target's tokens; ``none`` leaves the method's own. source_norm,
    target_norm: root mean squares of the row norms of the shared tokens (a projector: of ordinary tokens; its
    scale is ``none``, and part of the network). tokens: how many are shared (``shared``) and were ``used``.
    train_tasks: tasks whose data the map has seen (training-free: none). train_rows: ``[n]`` int64 hashes of
    those rows. training: how it was trained. metrics, controls: with their n. warnings: what a user of the
    map has to know.
    """

    source: BackboneIdentity
    target: BackboneIdentity
    method: str
    tensors: dict[str, Tensor]
    source_norm: float
    target_norm: float
    scale: str = "relative"
    tokens: dict[str, int] = field(default_factory=dict)
    train_tasks: list[str] = field(default_factory=list)
    train_rows: Tensor | None = None
    network: Network | None = None
    training: dict[str, Any] | None = None
    seed: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    controls: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=package_versions)
    created: str = field(default_factory=now)

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.network is None:
            method = method_named(self.method)
            self.tensors = check_tensors(self.tensors, method, self.source.hidden, self.target.hidden)
            return
        widths = self.network.source[1], self.network.target[1]
        if self.method != self.network.kind or widths != (self.source.hidden, self.target.hidden):
            raise UserError(
                f"A {self.method} map between widths {self.source.hidden} and {self.target.hidden} cannot "
                f"hold a {self.network.kind} projector between widths {widths[0]} and {widths[1]}."
            )
        self.tensors = check_weights(self.tensors, self.network)

    @property
    def hash(self) -> str:
        """Sixteen hex digits of SHA-256 over everything that decides what comes out."""
        numbers: list[Any] = [self.source_norm, self.target_norm]
        if self.network is not None:
            numbers.append(self.network)
        digest = hashlib.sha256(repr((self.method, self.scale, numbers)).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def bytes(self) -> int:
        """Memory that the numbers take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def describe(self) -> str:
        kind = "map" if self.network is None else "projector"
        return f"{self.method} {kind} from {_name(self.source)} to {_name(self.target)}"

    # -- use -------------------------------------------------------------------------------------

    def check_source(self, prompt: SoftPrompt) -> list[str]:
        """Warnings, or ``UserError`` naming both sides when the prompt is not one of the source backbone."""
        problems, warnings = misfits(prompt.metadata, prompt.hidden, self.source, None)
        if problems:
            raise UserError(
                f"The map takes prompts of {_name(self.source)}; this is a {prompt.metadata.describe()}. "
                f"They do not fit: {'; '.join(problems)}. Use a prompt of {self.source.name!r}, or a map "
                "whose source is the prompt's backbone."
            )
        if self.network is not None and prompt.prompt_len != self.network.source[0]:
            raise UserError(
                f"The projector takes prompts of {self.network.source[0]} rows; this one has "
                f"{prompt.prompt_len}. Use a prompt of that length, or a map that takes any (project fit)."
            )
        return warnings

    def check_target(self, identity: BackboneIdentity) -> None:
        """Raises ``UserError`` naming both sides when the results are not for this backbone."""
        wrong = [
            f"{key.replace('_', ' ')}: map {mine}, backbone {theirs}"
            for key in ("family", "hidden", "embedding_hash", "tokenizer_hash")
            if (mine := getattr(self.target, key)) != (theirs := getattr(identity, key))
        ]
        if wrong:
            raise UserError(
                f"The map gives prompts of {_name(self.target)}, not of {_name(identity)}. "
                f"They differ in {'; '.join(wrong)}. Fit a map with that target."
            )

    def transform(self, rows: Tensor) -> Tensor:
        """``[P, H_s]`` to ``[P, H_t]`` float32, calibrated as ``scale`` says; a projector may change P."""
        if self.network is not None:
            weights = {name: tensor for name, tensor in self.tensors.items() if name != CONSTANT}
            return self.network.apply(weights, rows.to("cpu", torch.float32))
        given = rows.to("cpu", torch.float64)
        numbers = {name: tensor.double() for name, tensor in self.tensors.items()}
        image = METHODS[self.method].apply(numbers, given)
        if self.scale == "relative":
            wanted = root_mean_square(given) / self.source_norm * self.target_norm
            image = image * wanted / max(root_mean_square(image), 1e-12)
        elif self.scale == "tokens":
            image = image / image.norm(dim=1, keepdim=True).clamp(min=1e-12) * self.target_norm
        return image.float()

    def apply(self, prompt: SoftPrompt) -> SoftPrompt:
        """The prompt in the target's space. It remembers parent and map, and the rows both were trained on.

        Task, label words and, where the families are the same, layout and template are the prompt's;
        otherwise the layout is the target family's first. Raises ``UserError`` for another backbone's prompt.
        """
        self.check_source(prompt)
        known = prompt.metadata
        layout = carried_layout(known.layout, self.source.family, self.target.family)
        if self.training is not None:
            layout = self.training["layout"]
        metadata = PromptMetadata(
            backbone=self.target.to_dict(),
            layout=layout,
            template=known.template if self.source.family == self.target.family else None,
            label_words=known.label_words,
            classes=known.classes,
            task=known.task,
            task_type=known.task_type,
            task_definition=known.task_definition,
            data=known.data,
            parent={
                "hash": prompt.hash,
                "relation": "projected",
                "task": known.task,
                "backbone": self.source.name,
                "map": self.hash,
                "method": self.method,
                "map_train_tasks": list(self.train_tasks),
            },
        )
        seen = prompt.train_rows
        if seen is not None and self.train_rows is not None:
            seen = torch.cat([seen, self.train_rows]).unique()
        return SoftPrompt(self.transform(prompt.embeddings), metadata, seen)

    @property
    def constant(self) -> Tensor | None:
        """``[P, H_t]``: what the same training gives for one fixed source; None without a training."""
        return self.tensors.get(CONSTANT)

    def has_seen(self, hashes: np.ndarray) -> np.ndarray:
        """``[n]`` bool: which rows, by their ``row_hashes``, the map was trained on."""
        if self.train_rows is None:
            return np.zeros(len(hashes), bool)
        return np.isin(hashes, self.train_rows.numpy())

    # -- disk ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All but the numbers."""
        known = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NUMBERS}
        if self.network is not None:
            known["network"] = self.network.to_dict()
        sides = {"source": asdict(self.source), "target": asdict(self.target)}
        return {"schema_version": SCHEMA_VERSION, "hash": self.hash, **known, **sides}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the map's folder: a new one appears complete, by one rename."""
        path = Path(folder)
        if path.exists() and not path.is_dir():
            raise UserError(f"Cannot save a map to {str(path)!r}: a file is there. Name a folder.")
        if self.bytes >= MAX_TENSOR_BYTES:
            raise UserError(
                f"The map takes {self.bytes:,} bytes; at most {MAX_TENSOR_BYTES:,} are read back. Fit it to "
                "fewer tokens (--max-tokens), or train a smaller projector (--network low-rank)."
            )
        rows = {} if self.train_rows is None else {_TRAIN_ROWS: self.train_rows}
        numbers = safetensors_torch.save({**self.tensors, **rows})
        values = {**self.to_dict(), "files": {TENSORS_NAME: hashlib.sha256(numbers).hexdigest()}}
        text = json.dumps(values, indent=2, allow_nan=False) + "\n"
        write_folder(path, {TENSORS_NAME: numbers, MAP_NAME: text.encode()})
        return path

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> CrossModelMap:
        """Raises ``UserError`` for anything that is not one complete map; nothing in it is executed."""
        path = Path(folder)
        if not (path / MAP_NAME).exists():
            raise UserError(
                f"There is no map at {str(path)!r} (no {MAP_NAME}). Make one: prompt-hub project fit "
                "--help, or prompt-hub project train --help"
            )
        with locked(path, shared=True):
            values = read_json(path / MAP_NAME)
            numbers = read_bounded(path / TENSORS_NAME, MAX_TENSOR_BYTES)
        known = check_description(values, str(path / MAP_NAME))
        if hashlib.sha256(numbers).hexdigest() != values["files"].get(TENSORS_NAME):
            raise UserError(
                f"{path}: {TENSORS_NAME} is not the file that {MAP_NAME} was written for. A save was cut off "
                "or a file was replaced. Make the map again."
            )
        tensors = parse_safetensors(numbers, str(path / TENSORS_NAME))
        rows = tensors.pop(_TRAIN_ROWS, None)
        if rows is not None and (rows.dtype != torch.int64 or rows.ndim != 1):
            raise UserError(f"{path / TENSORS_NAME}: {_TRAIN_ROWS} must be an int64 tensor [n].")
        found = cls(**known, tensors=tensors, train_rows=rows)
        if found.hash != values["hash"]:
            raise UserError(f"{path}: {MAP_NAME} describes map {values['hash']}, but {found.hash} is there.")
        return found


def find_maps(root: str | os.PathLike[str]) -> dict[Path, CrossModelMap | str]:
    """Maps at or below a folder, by place; what is wrong, for damaged ones."""
    folder = Path(root)
    if not folder.is_dir():
        raise UserError(f"There is no folder {str(folder)!r} to look for maps in.")
    found: dict[Path, CrossModelMap | str] = {}
    for description in sorted(folder.rglob(MAP_NAME)):
        try:
            found[description.parent] = CrossModelMap.from_pretrained(description.parent)
        except UserError as error:
            found[description.parent] = str(error)
    return found


def carried_layout(layout: str | None, source_family: str, target_family: str) -> str:
    """The layout of a prompt on another backbone: its own within a family, else the target family's first."""
    if layout is not None and source_family == target_family and serves(layout, target_family):
        return layout
    return layout_for(target_family).name


def method_named(name: str) -> Method:
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def check_scale(scale: str) -> None:
    if scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)


def root_mean_square(rows: Tensor) -> float:
    """Of the norms of ``[n, H]`` rows."""
    return float(rows.square().sum(1).mean().sqrt())


def _name(identity: BackboneIdentity) -> str:
    return f"{identity.name!r} ({identity.family}, width {identity.hidden})"
