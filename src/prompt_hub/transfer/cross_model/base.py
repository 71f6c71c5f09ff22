"""A map from the prompts of one backbone to those of another, and its folder.

``map.safetensors`` holds the numbers; ``map.json``, written last, says between which backbones, by which
method, and what was measured, with the SHA-256 of the numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

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
from prompt_hub.transfer.cross_model.maps import METHODS, Method

SCHEMA_VERSION = 1
MAP_NAME = "map.json"
TENSORS_NAME = "map.safetensors"

SCALES = ("relative", "tokens", "none")


@dataclass(eq=False)
class CrossModelMap:
    """source, target: whose prompts it takes and gives. tensors: the method's, kept as float32.

    scale: ``relative`` makes the mean squared row norm of the result, measured in that of the target's
    tokens, what the prompt's is in that of the source's; ``tokens`` gives every row the norm of the target's
    tokens; ``none`` leaves the method's own. source_norm, target_norm: root mean squares of the row norms of
    the shared tokens. tokens: how many are shared (``shared``) and were ``used``. train_tasks: tasks whose
    data the map has seen (training-free: none). metrics, controls: with their n. warnings: what a user of
    the map has to know.
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
    seed: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    controls: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=package_versions)
    created: str = field(default_factory=now)

    def __post_init__(self) -> None:
        check_scale(self.scale)
        method = method_named(self.method)
        self.tensors = _check_tensors(self.tensors, method, self.source.hidden, self.target.hidden)

    @property
    def hash(self) -> str:
        """Sixteen hex digits of SHA-256 over everything that decides what comes out."""
        numbers = [self.source_norm, self.target_norm]
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
        return f"{self.method} map from {_name(self.source)} to {_name(self.target)}"

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
        """``[P, H_s]`` to ``[P, H_t]`` float32, calibrated as ``scale`` says."""
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
        """The prompt in the target's space. It remembers its parent, the map, and the rows it was trained on.

        Task, label words and, where the families are the same, layout and template are the prompt's;
        otherwise the layout is the target family's first. Raises ``UserError`` for another backbone's prompt.
        """
        self.check_source(prompt)
        known = prompt.metadata
        metadata = PromptMetadata(
            backbone=self.target.to_dict(),
            layout=carried_layout(known.layout, self.source.family, self.target.family),
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
        return SoftPrompt(self.transform(prompt.embeddings), metadata, prompt.train_rows)

    # -- disk ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All but the numbers."""
        known = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "tensors"}
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
                "fewer tokens (--max-tokens)."
            )
        numbers = safetensors_torch.save(self.tensors)
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
                f"There is no map at {str(path)!r} (no {MAP_NAME}). Make one: prompt-hub project fit --help"
            )
        with locked(path, shared=True):
            values = read_json(path / MAP_NAME)
            numbers = read_bounded(path / TENSORS_NAME, MAX_TENSOR_BYTES)
        known = _check_description(values, str(path / MAP_NAME))
        if hashlib.sha256(numbers).hexdigest() != values["files"].get(TENSORS_NAME):
            raise UserError(
                f"{path}: {TENSORS_NAME} is not the file that {MAP_NAME} was written for. A save was cut off "
                "or a file was replaced. Make the map again."
            )
        found = cls(**known, tensors=parse_safetensors(numbers, str(path / TENSORS_NAME)))
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


def _check_tensors(
    tensors: dict[str, Tensor], method: Method, source_width: int, target_width: int
) -> dict[str, Tensor]:
    wanted = method.shapes(source_width, target_width)
    if set(tensors) != set(wanted):
        raise UserError(
            f"A {method.name} map holds {', '.join(wanted)}, not {', '.join(sorted(tensors)) or 'nothing'}."
        )
    counts = set()
    for name, (rows, width) in wanted.items():
        shape = tuple(tensors[name].shape)
        if len(shape) != 2 or shape[1] != width or shape[0] != (shape[0] if rows is None else rows):
            raise UserError(
                f"{name} of a {method.name} map must be {[rows or 'n', width]}, not {list(shape)}."
            )
        if not tensors[name].is_floating_point() or not bool(torch.isfinite(tensors[name]).all()):
            raise UserError(f"{name} of a {method.name} map must hold finite numbers.")
        counts.add(shape[0])
    if not method.linear and len(counts) != 1:
        raise UserError(
            f"A {method.name} map must hold as many source tokens as target tokens, not {counts}."
        )
    return {name: tensors[name].detach().to("cpu", torch.float32).contiguous().clone() for name in wanted}


def _check_description(values: Any, source: str) -> dict[str, Any]:
    """The fields of ``map.json`` after a check of their types."""
    wanted: dict[str, type | tuple[type, ...]] = {
        "schema_version": int, "hash": str, "files": dict, "source": dict, "target": dict, "method": str,
        "source_norm": float, "target_norm": float, "scale": str, "tokens": dict, "train_tasks": list,
        "seed": (int, type(None)), "metrics": dict, "controls": dict, "warnings": list, "versions": dict,
        "created": str,
    }  # fmt: skip
    if not isinstance(values, dict):
        raise UserError(f"{source} must hold a JSON object, not {type(values).__name__}.")
    if isinstance(values.get("schema_version"), int) and values["schema_version"] > SCHEMA_VERSION:
        raise UserError(
            f"{source} has schema version {values['schema_version']}, this version of prompt_hub reads up to "
            f"{SCHEMA_VERSION}. Upgrade prompt_hub to read it."
        )
    for name, kind in wanted.items():
        if not isinstance(values.get(name), kind):
            raise UserError(f"{source}: {name} is missing or of another type. Make the map again.")
    known = {name: values[name] for name in wanted if name not in ("schema_version", "hash", "files")}
    return {**known, **{side: _identity(values[side], f"{source}: {side}") for side in ("source", "target")}}


def _identity(values: dict[str, Any], source: str) -> BackboneIdentity:
    names: Sequence[str] = [item.name for item in fields(BackboneIdentity)]
    if set(values) != set(names):
        raise UserError(f"{source} must hold {', '.join(names)}. Make the map again.")
    for name in names:
        kind: Any = {"hidden": int, "revision": (str, type(None))}.get(name, str)
        if not isinstance(values[name], kind):
            raise UserError(f"{source}: {name} is of another type than it was written with.")
    return BackboneIdentity(**values)
