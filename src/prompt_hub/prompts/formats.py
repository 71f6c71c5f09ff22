"""Prompts in and out of other programs' formats: thunlp, PEFT, numpy, safetensors, vLLM."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import torch as safetensors_torch

from prompt_hub.atomic import check_own_folder, write_file, write_folder
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.progress import track
from prompt_hub.prompts import foreign
from prompt_hub.prompts.metadata import METADATA_NAME, PEFT_CONFIG_NAME, WEIGHTS_NAME
from prompt_hub.prompts.paper_names import FILES
from prompt_hub.prompts.released import released_files
from prompt_hub.prompts.soft_prompt import SoftPrompt

VLLM_KEY = "prompt_embeds"


def detect_format(path: str | os.PathLike[str]) -> str:
    """``prompt_hub``, ``peft``, ``torch`` (thunlp's files too), ``numpy`` or ``safetensors``, by content."""
    return foreign.detect_format(Path(path))


def import_prompt(
    path: str | os.PathLike[str],
    *,
    backbone_name: str | None = None,
    family: str | None = None,
    task: str | None = None,
    layout: str | None = None,
    key: str | None = None,
) -> SoftPrompt:
    """One prompt from a file or folder; ``key`` picks one where there are several (``.npz``, say).

    For the names of the paper's released prompts, task, backbone, family and layout are known; what is
    passed here wins over what the name or file says.
    """
    prompts = import_prompts(path, backbone_name=backbone_name, family=family, task=task, layout=layout)
    if key is not None:
        if key not in prompts:
            raise unknown_name(f"prompt in {path}", key, prompts)
        return prompts[key]
    if len(prompts) > 1:
        raise UserError(
            f"{path} holds {len(prompts)} prompts: {', '.join(sorted(prompts))}. Choose one by key."
        )
    return next(iter(prompts.values()))


def import_prompts(
    path: str | os.PathLike[str],
    *,
    backbone_name: str | None = None,
    family: str | None = None,
    task: str | None = None,
    layout: str | None = None,
    failures: dict[str, str] | None = None,
) -> dict[str, SoftPrompt]:
    """All prompts in a file, by key; or in a folder of the paper's prompt folders, by their names below it.

    failures: where given, files of such a folder that cannot be read are noted there by name, with the
    reason, and the rest is read; else the first one raises.
    """
    where = Path(path)
    prompts = _read_released(where, failures) if _holds_several(where) else _read(where)
    if layout == "paper":
        for prompt in prompts.values():
            _name_backbone(prompt, where)
    given = {"name": backbone_name, "family": family}
    known = {key: value for key, value in given.items() if value is not None}
    for prompt in prompts.values():
        old = prompt.metadata
        prompt.metadata = replace(
            old,
            backbone={**old.backbone, **known},
            task=task if task is not None else old.task,
            layout=layout if layout is not None else old.layout,
        )
    return prompts


def _holds_several(where: Path) -> bool:
    """Whether a folder holds folders of the paper's prompts, and is not one prompt itself."""
    if not where.is_dir() or any((where / name).exists() for name in (METADATA_NAME, PEFT_CONFIG_NAME)):
        return False
    return any(file.parent != where for file in released_files(where).values())


def _read_released(where: Path, failures: dict[str, str] | None) -> dict[str, SoftPrompt]:
    prompts = {}
    files = released_files(where)
    for name, file in track(files.items(), "read prompts", len(files)):
        try:
            prompts[name] = SoftPrompt(*next(iter(foreign.read_foreign(file, "torch").values())))
        except UserError as error:
            if failures is None:
                raise
            failures[name] = str(error)
            continue
        prompts[name].metadata.parent = {**(prompts[name].metadata.parent or {}), "name": name}
    return prompts


def _name_backbone(prompt: SoftPrompt, file: Path) -> None:
    """Files such as ``roberta-base.npz`` say by their own name which backbone the prompts in them are for."""
    known = FILES.get(file.stem)
    if known and not prompt.metadata.backbone_name:
        prompt.metadata.backbone |= {"name": known[0], "family": known[1]}


def _read(path: Path) -> dict[str, SoftPrompt]:
    found = foreign.detect_format(path)
    if found == "prompt_hub":
        return {foreign.SINGLE_KEY: SoftPrompt.from_pretrained(path)}
    return {key: SoftPrompt(*prompt) for key, prompt in foreign.read_foreign(path, found).items()}


def export_prompt(prompt: SoftPrompt, format: str, path: str | os.PathLike[str]) -> Path:
    """Writes the prompt for another program and returns where.

    ``peft``: a folder for ``PeftModel.from_pretrained``. ``npy``: float32 ``[P, H]``. ``vllm``: the tensor
    ``[P, H]`` for vLLM's ``prompt_embeds``, as ``.pt`` (``torch.load`` gives the tensor) or, by the path's
    ending, ``.safetensors`` (key ``prompt_embeds``). vLLM takes the whole input of a request as one tensor
    ``[sequence, H]``, so the text's embeddings are to be put behind it:
    ``torch.cat([prompt, embedding_layer(input_ids)])``, with ``enable_prompt_embeds=True``
    (docs.vllm.ai/en/stable/features/prompt_embeds). vLLM serves causal models only.

    Raises ``UserError`` where something else than this very export is in its place.
    """
    if format not in EXPORTERS:
        raise unknown_name("export format", format, EXPORTERS)
    target = Path(path)
    exported = EXPORTERS[format](prompt, target)
    try:
        if isinstance(exported, bytes):
            _check_free(target, exported)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, exported)
        else:
            check_own_folder(target, set(exported), "a PEFT prompt")
            for name, data in exported.items():
                _check_free(target / name, data)
            write_folder(target, exported)
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error.strerror or error}.") from error
    return target


def _check_free(path: Path, data: bytes) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
        raise UserError(f"{path} is there already and holds something else. Choose another --output.")


def _export_peft(prompt: SoftPrompt, path: Path) -> dict[str, bytes]:
    return {WEIGHTS_NAME: prompt.peft_weights(), PEFT_CONFIG_NAME: prompt.peft_config()}


def _export_npy(prompt: SoftPrompt, path: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, prompt.embeddings.numpy(), allow_pickle=False)
    return buffer.getvalue()


def _export_vllm(prompt: SoftPrompt, path: Path) -> bytes:
    family = prompt.metadata.family
    if family not in (None, "causal_lm"):
        raise UserError(
            f"vLLM takes prompt_embeds for causal models only; this is a {prompt.metadata.describe()}. "
            "Export it as peft or npy."
        )
    if path.suffix == ".safetensors":
        return safetensors_torch.save({VLLM_KEY: prompt.embeddings}, metadata={"format": "pt"})
    buffer = io.BytesIO()
    torch.save(prompt.embeddings, buffer)
    return buffer.getvalue()


EXPORTERS: dict[str, Callable[[SoftPrompt, Path], bytes | dict[str, bytes]]] = {
    "peft": _export_peft,
    "npy": _export_npy,
    "vllm": _export_vllm,
}
