"""Prompts that other programs wrote: recognised by content, read into tensor and metadata.

| format | what it is |
|---|---|
| ``prompt_hub`` | a folder of this project (see ``soft_prompt``) |
| ``peft`` | a folder with ``adapter_config.json`` of PEFT's prompt tuning |
| ``torch`` | a torch archive: the paper's ``task_prompt`` and ``.pkl`` files, or any saved tensor |
| ``numpy`` | ``.npy``, or ``.npz`` with one prompt a key |
| ``safetensors`` | a safetensors file with one prompt a key |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import (
    METADATA_NAME,
    PEFT_CONFIG_NAME,
    PEFT_PICKLE_NAME,
    WEIGHTS_NAME,
    PromptMetadata,
    read_json,
)
from prompt_hub.prompts.paper_names import parse_paper_name, task_of_key
from prompt_hub.prompts.tensor_files import (
    SINGLE_KEY,
    check_prompt,
    read_numpy,
    read_safetensors,
    read_torch,
)

PAPER_FILE = "task_prompt"
PEFT_KEY = "prompt_embeddings"
READABLE = (
    "a prompt_hub or PEFT folder, a folder with the paper's task_prompt, "
    "and torch, .npy, .npz and .safetensors files"
)

_READERS = {"torch": read_torch, "numpy": read_numpy, "safetensors": read_safetensors}
_PEFT_FAMILIES = {"CAUSAL_LM": "causal_lm", "SEQ_2_SEQ_LM": "seq2seq_lm"}


class ForeignPrompt(NamedTuple):
    """embeddings: ``[P, H]`` float32, checked. metadata: what the file and its name tell, not yet a hash."""

    embeddings: Tensor
    metadata: PromptMetadata


def detect_format(path: Path) -> str:
    """One of the formats above, by content and not by the file's ending."""
    if path.is_dir():
        if (path / METADATA_NAME).exists():
            return "prompt_hub"
        if (path / PEFT_CONFIG_NAME).exists():
            return "peft"
        if _paper_file(path) is not None:
            return "torch"
        raise UserError(f"Folder {str(path)!r} holds no prompt. Readable: {READABLE}.")
    if not path.is_file():
        raise UserError(f"There is no prompt at {str(path)!r}. Readable: {READABLE}.")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from None
    if head.startswith(b"\x93NUMPY"):
        return "numpy"
    if head.startswith(b"PK\x03\x04"):
        # The first member's name tells the two zip formats apart: arrays, or a torch pickle.
        length = int.from_bytes(head[26:28], "little")
        return "numpy" if head[30 : 30 + length].endswith(b".npy") else "torch"
    if head.startswith(b"\x80"):  # a bare pickle, refused later with the reason
        return "torch"
    if head[8:9] == b"{":
        return "safetensors"
    raise UserError(f"{str(path)!r} is in no format that is read here. Readable: {READABLE}.")


def read_foreign(path: Path, format_name: str) -> dict[str, ForeignPrompt]:
    """All prompts in a file or folder of one of the foreign formats, by key.

    In files that hold other tensors too (a checkpoint, say), those whose key mentions a prompt are taken.
    """
    if format_name == "peft":
        return {SINGLE_KEY: _read_peft(path)}
    file = (_paper_file(path) if path.is_dir() else None) or path
    tensors = _READERS[format_name](file)
    named = {key: tensor for key, tensor in tensors.items() if "prompt" in key.lower()}
    chosen = named or tensors
    return {
        key: ForeignPrompt(check_prompt(tensor, _label(file, key)), _from_names(path, file, key, format_name))
        for key, tensor in chosen.items()
    }


def _label(file: Path, key: str) -> str:
    return str(file) if key == SINGLE_KEY else f"{file}[{key!r}]"


def _paper_file(folder: Path) -> Path | None:
    if (folder / PAPER_FILE).is_file():
        return folder / PAPER_FILE
    checkpoints = sorted(folder.glob("*.pkl"))
    return checkpoints[0] if len(checkpoints) == 1 else None


def _from_names(path: Path, file: Path, key: str, format_name: str) -> PromptMetadata:
    """Task, backbone and layout, when the name is one of the paper's; the task alone when the key is."""
    parent: dict[str, Any] = {"hash": None, "relation": "imported", "format": format_name, "name": path.name}
    for name in (file.parent.name, file.stem):
        known = parse_paper_name(name)
        if known is None:
            continue
        parent["name"] = name
        if known.variant:
            parent["variant"] = known.variant
        if known.projected:
            parent |= {"relation": "projected", "backbone": known.projected_from}
        backbone = {"name": known.backbone, "family": known.family}
        return PromptMetadata(backbone=backbone, task=known.task, layout="paper", parent=parent, versions={})
    return PromptMetadata(task=task_of_key(key), parent=parent, versions={})


def _read_peft(folder: Path) -> ForeignPrompt:
    path = folder / PEFT_CONFIG_NAME
    config = read_json(path)
    if not isinstance(config, dict) or config.get("peft_type") != "PROMPT_TUNING":
        found = config.get("peft_type") if isinstance(config, dict) else None
        raise UserError(
            f"{path}: peft_type is {found!r}, only 'PROMPT_TUNING' is a soft prompt at the input. "
            "Train one with PEFT's PromptTuningConfig."
        )
    if (folder / WEIGHTS_NAME).exists():
        file = folder / WEIGHTS_NAME
        tensors = read_safetensors(file)
    else:
        file = folder / PEFT_PICKLE_NAME
        tensors = read_torch(file)
    if PEFT_KEY not in tensors:
        raise UserError(
            f"{file} has no tensor {PEFT_KEY!r}; it holds: {', '.join(sorted(tensors)) or 'none'}."
        )
    embeddings = check_prompt(tensors[PEFT_KEY], str(file))
    rows, width = config.get("num_virtual_tokens"), config.get("token_dim")
    if (
        not isinstance(rows, int)
        or not 1 <= rows <= len(embeddings)
        or width not in (None, embeddings.shape[1])
    ):
        raise UserError(
            f"{path} declares a prompt of {rows!r} x {width!r}, "
            f"but {file.name} holds {list(embeddings.shape)}."
        )
    backbone: dict[str, Any] = {"hidden": embeddings.shape[1]}
    for key, value in (
        ("name", config.get("base_model_name_or_path")),
        ("revision", config.get("revision")),
        ("family", _PEFT_FAMILIES.get(str(config.get("task_type")))),
    ):
        if isinstance(value, str):
            backbone[key] = value
    parent = {"hash": None, "relation": "imported", "format": "peft", "name": folder.name}
    # For a sequence-to-sequence model PEFT stores two prompts by default; its forward uses the first alone.
    return ForeignPrompt(
        embeddings[:rows].clone(), PromptMetadata(backbone=backbone, parent=parent, versions={})
    )
