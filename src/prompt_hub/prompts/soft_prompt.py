"""A soft prompt: ``[P, H]`` numbers and everything needed to use them again.

On disk it is a folder that PEFT loads as a prompt-tuning adapter, with ``prompt_hub.json`` beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import torch as safetensors_torch
from torch import Tensor

from prompt_hub.atomic import locked, write_folder
from prompt_hub.errors import UserError
from prompt_hub.prompts.fit import check_fits
from prompt_hub.prompts.foreign import (
    PEFT_KEY,
    READABLE,
    detect_format,
    read_foreign,
)
from prompt_hub.prompts.metadata import (
    CARD_NAME,
    INITIAL_NAME,
    MAX_TENSOR_BYTES,
    METADATA_NAME,
    PEFT_CONFIG_NAME,
    PEFT_PICKLE_NAME,
    TRAIN_ROWS_NAME,
    WEIGHTS_NAME,
    PromptMetadata,
    check_file,
    read_bounded,
    read_metadata,
)
from prompt_hub.prompts.model_card import model_card
from prompt_hub.prompts.on_the_hub import HUB_ID, download, upload
from prompt_hub.prompts.tensor_files import check_prompt, parse_safetensors

if TYPE_CHECKING:
    from prompt_hub.backbones.base import BackboneIdentity

_ROWS_KEY = "hashes"
_INITIAL_KEY = "prompt_embeddings"

# FEATURE_EXTRACTION is the one type under which PEFT puts a prompt before a masked LM's text and returns the
# model's own output; without a task type it loads the adapter and then silently leaves it out.
_PEFT_TASK_TYPES = {
    "causal_lm": "CAUSAL_LM",
    "seq2seq_lm": "SEQ_2_SEQ_LM",
    "masked_lm": "FEATURE_EXTRACTION",
}


@dataclass(eq=False)
class SoftPrompt:
    """embeddings: ``[P, H]``; kept as float32 on the CPU, copied, so later training does not change them.

    metadata: its ``prompt_len``, ``prompt_hash`` and backbone width are set from the embeddings.
    train_rows: ``[n]`` int64 hashes of the training rows, by which transfer drops rows that two tasks
    share; None if unknown. initial: ``[P, H]``, where training began; None if unknown or never trained.
    Raises ``UserError`` for tensors that cannot be a prompt.
    """

    embeddings: Tensor
    metadata: PromptMetadata
    train_rows: Tensor | None = None
    initial: Tensor | None = None

    def __post_init__(self) -> None:
        self.embeddings = check_prompt(self.embeddings, "The prompt")
        if self.train_rows is not None:
            self.train_rows = _check_rows(self.train_rows, "train_rows")
        if self.initial is not None:
            self.initial = _check_initial(self.initial, self.embeddings, "initial")
        self.metadata = replace(
            self.metadata,
            prompt_len=self.prompt_len,
            prompt_hash=self.hash,
            backbone={**self.metadata.backbone, "hidden": self.hidden},
        )

    @property
    def prompt_len(self) -> int:
        return self.embeddings.shape[0]

    @property
    def hidden(self) -> int:
        return self.embeddings.shape[1]

    @property
    def live_rows(self) -> Tensor:
        """``[P - dead, H]``: the rows that reach the model (``PromptMetadata.dead_rows`` do not)."""
        dead = self.metadata.dead_rows
        if not dead:
            return self.embeddings
        return self.embeddings[[row for row in range(self.prompt_len) if row not in dead]]

    @property
    def hash(self) -> str:
        """Sixteen hex digits of SHA-256 over shape and float32 values."""
        digest = hashlib.sha256(str(tuple(self.embeddings.shape)).encode())
        digest.update(self.embeddings.numpy().tobytes())
        return digest.hexdigest()[:16]

    def has_seen(self, hashes: np.ndarray) -> np.ndarray:
        """``[n]`` bool: which rows, given by their ``row_hashes``, the prompt is known to be trained on."""
        known = () if self.train_rows is None else self.train_rows.numpy()
        return np.isin(hashes, known)

    def check_fits(
        self, identity: BackboneIdentity, layout: str | None = None, force: bool = False
    ) -> list[str]:
        """Warnings, or ``UserError`` naming both sides when the prompt does not belong to the backbone.

        ``force`` lets everything pass but the width, as warnings. ``fit.check_fits`` says what is compared.
        """
        return check_fits(self.metadata, self.hidden, identity, layout, force)

    # -- disk ------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | os.PathLike[str], repo_id: str | None = None) -> Path:
        """Writes the prompt folder; what else lies in it stays. Readers see the old prompt or the new one.

        A new folder appears by one rename. In an existing one, under a lock, ``prompt_hub.json`` is replaced
        last and carries the weights' SHA-256, so that a save that was killed halfway is recognised.
        ``repo_id`` goes into the model card's examples.
        """
        path = Path(folder)
        if path.exists() and not path.is_dir():
            raise UserError(f"Cannot save a prompt to {str(path)!r}: a file is there. Name a folder.")
        contents = {PEFT_CONFIG_NAME: self.peft_config(), WEIGHTS_NAME: self.peft_weights()}
        if self.train_rows is not None:
            contents[TRAIN_ROWS_NAME] = safetensors_torch.save({_ROWS_KEY: self.train_rows})
        if self.initial is not None:
            contents[INITIAL_NAME] = safetensors_torch.save({_INITIAL_KEY: self.initial})
        hashed = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in contents.items()
            if name in (WEIGHTS_NAME, TRAIN_ROWS_NAME, INITIAL_NAME)
        }
        metadata = replace(
            self.metadata, files=hashed, prompt_len=self.prompt_len, prompt_hash=self.hash
        ).checked()
        contents[CARD_NAME] = model_card(metadata, repo_id).encode()
        contents[METADATA_NAME] = metadata.to_json().encode()
        write_folder(path, contents, stale=(TRAIN_ROWS_NAME, INITIAL_NAME, PEFT_PICKLE_NAME))
        return path

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], revision: str | None = None) -> SoftPrompt:
        """A prompt from a folder or file (any format of ``foreign``), or from the Hub by ``owner/name``.

        revision: branch, tag or commit on the Hub. Raises ``UserError`` for anything that is not one
        complete prompt; nothing in the files is executed.
        """
        path = Path(source)
        if os.path.lexists(path):
            if revision is not None:
                raise UserError(
                    f"{str(path)!r} is on this disk and has no revisions. Leave revision={revision!r} out."
                )
        elif isinstance(source, str) and HUB_ID.fullmatch(source):
            path = download(source, revision)
        else:
            raise UserError(
                f"There is no prompt at {str(source)!r}, and it is no Hub id (owner/name). "
                f"Readable: {READABLE}."
            )
        found = detect_format(path)
        if found == "prompt_hub":
            return _load(path)
        prompts = read_foreign(path, found)
        if len(prompts) > 1:
            raise UserError(
                f"{path} holds {len(prompts)} prompts: {', '.join(sorted(prompts))}. Take one with "
                "import_prompt(path, key=...)."
            )
        return cls(*next(iter(prompts.values())))

    def push_to_hub(self, repo_id: str, private: bool | None = None, token: str | None = None) -> str:
        """Uploads the prompt folder to the Hub repository ``owner/name``, made if it is missing; its URL.

        The folder holds hashes of the training rows (``train_rows``) and the data's source: set
        ``train_rows`` to None first where even those are not to be public.
        """
        message = f"Soft prompt {self.metadata.task or ''} {self.hash}".replace("  ", " ")
        with tempfile.TemporaryDirectory() as parent:
            folder = self.save_pretrained(Path(parent) / "prompt", repo_id=repo_id)
            return upload(folder, repo_id, message, private, token)

    # -- PEFT ------------------------------------------------------------------------------------

    def peft_config(self) -> bytes:
        """``adapter_config.json`` of PEFT's prompt tuning."""
        config: dict[str, Any] = {
            "peft_type": "PROMPT_TUNING",
            "task_type": _PEFT_TASK_TYPES.get(self.metadata.family or ""),
            "base_model_name_or_path": self.metadata.backbone_name,
            "revision": self.metadata.backbone.get("revision"),
            "num_virtual_tokens": self.prompt_len,
            "token_dim": self.hidden,
            # PEFT's default for sequence-to-sequence models is 2: it would expect a second prompt of the same
            # size, which its forward never uses.
            "num_transformer_submodules": 1,
            "prompt_tuning_init": "RANDOM",
            "inference_mode": True,
        }
        return (json.dumps(config, indent=2) + "\n").encode()

    def peft_weights(self) -> bytes:
        """``adapter_model.safetensors`` of PEFT's prompt tuning."""
        return safetensors_torch.save({PEFT_KEY: self.embeddings}, metadata={"format": "pt"})


def _load(folder: Path) -> SoftPrompt:
    rows = initial = None
    with locked(folder, shared=True):
        metadata = read_metadata(folder)
        weights = _read_tensor(folder, WEIGHTS_NAME, PEFT_KEY, metadata)
        if TRAIN_ROWS_NAME in metadata.files:
            rows = _read_tensor(folder, TRAIN_ROWS_NAME, _ROWS_KEY, metadata)
        if INITIAL_NAME in metadata.files:
            initial = _read_tensor(folder, INITIAL_NAME, _INITIAL_KEY, metadata)
    if rows is not None:
        rows = _check_rows(rows, str(folder / TRAIN_ROWS_NAME))
    embeddings = check_prompt(weights, str(folder / WEIGHTS_NAME))
    if initial is not None:
        initial = _check_initial(initial, embeddings, str(folder / INITIAL_NAME))
    prompt = SoftPrompt(embeddings, metadata, rows, initial)
    if prompt.hidden != (metadata.hidden or prompt.hidden) or prompt.hash != (
        metadata.prompt_hash or prompt.hash
    ):
        raise UserError(
            f"{folder}: {METADATA_NAME} describes prompt {metadata.prompt_hash} of width {metadata.hidden}, "
            f"but {WEIGHTS_NAME} holds {prompt.hash} of width {prompt.hidden}. Save the prompt again."
        )
    return prompt


def _read_tensor(folder: Path, name: str, key: str, metadata: PromptMetadata) -> Tensor:
    path = folder / name
    data = read_bounded(path, MAX_TENSOR_BYTES)
    check_file(data, name, metadata, folder)
    tensors = parse_safetensors(data, str(path))
    if key not in tensors:
        raise UserError(f"{path} has no tensor {key!r}; it holds: {', '.join(sorted(tensors)) or 'none'}.")
    return tensors[key]


def _check_rows(rows: Tensor, source: str) -> Tensor:
    if rows.dtype != torch.int64 or rows.ndim != 1:
        raise UserError(f"{source} must be an int64 tensor [n], not {rows.dtype} {list(rows.shape)}.")
    return rows.detach().cpu().clone()


def _check_initial(initial: Tensor, embeddings: Tensor, source: str) -> Tensor:
    initial = check_prompt(initial, source)
    if initial.shape != embeddings.shape:
        raise UserError(
            f"{source} has shape {list(initial.shape)}, the prompt {list(embeddings.shape)}: no prompt can "
            "have been trained from it. Save the prompt again."
        )
    return initial
