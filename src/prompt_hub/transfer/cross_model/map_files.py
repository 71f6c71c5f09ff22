"""What is read from a map's folder, checked before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from prompt_hub.backbones.base import BackboneIdentity
from prompt_hub.errors import UserError
from prompt_hub.transfer.cross_model.maps import Method
from prompt_hub.transfer.cross_model.network import Network

SCHEMA_VERSION = 1
CONSTANT = "control.constant"
"""What the same training gives for one fixed source prompt, ``[P_t, H_t]``, beside a network's weights."""


def check_weights(tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """The tensors of a trained projector: its weights, and the control of the same training."""
    wanted = {**network.shapes(), CONSTANT: network.target}
    if set(tensors) != set(wanted):
        raise UserError(
            f"A {network.kind} projector holds {', '.join(wanted)}, not "
            f"{', '.join(sorted(tensors)) or 'nothing'}."
        )
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != tuple(shape):
            raise UserError(
                f"{name} of a {network.kind} projector must be {list(shape)}, not "
                f"{list(tensors[name].shape)}."
            )
        if not tensors[name].is_floating_point() or not bool(torch.isfinite(tensors[name]).all()):
            raise UserError(f"{name} of a {network.kind} projector must hold finite numbers.")
    return {name: tensors[name].detach().to("cpu", torch.float32).contiguous() for name in wanted}


def check_tensors(
    tensors: dict[str, Tensor], method: Method, source_width: int, target_width: int
) -> dict[str, Tensor]:
    """The tensors of a map that was fitted to tokens."""
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


def check_description(values: Any, source: str) -> dict[str, Any]:
    """The fields of ``map.json`` after a check of their types."""
    wanted: dict[str, type | tuple[type, ...]] = {
        "schema_version": int, "hash": str, "files": dict, "source": dict, "target": dict, "method": str,
        "source_norm": float, "target_norm": float, "scale": str, "tokens": dict, "train_tasks": list,
        "seed": (int, type(None)), "metrics": dict, "controls": dict, "warnings": list, "versions": dict,
        "created": str, "network": (dict, type(None)), "training": (dict, type(None)),
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
    known = {name: values.get(name) for name in wanted if name not in ("schema_version", "hash", "files")}
    if known["network"] is not None:
        known["network"] = Network.from_dict(known["network"], f"{source}: network")
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
