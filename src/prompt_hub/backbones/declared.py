"""What a model's configuration declares, compared with its files before memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from prompt_hub.errors import UserError

MAX_LAYERS = 1000
_LAYERS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
_LEAST_BYTES = 0.125
"""Of a weight in a file: one bit, and no quantisation is coarser."""
_ROOM = 64 * 2**20
"""Bytes of tensors that no file holds, such as rotary frequencies and masks, beside those of the files."""


def check_layers(config: Any, name: str, most: int = MAX_LAYERS) -> None:
    """Raises ``UserError`` for more layers than there can be; to build them takes long."""
    for attribute in _LAYERS:
        count = getattr(config, attribute, None)
        if isinstance(count, int) and count > most:
            raise UserError(
                f"Backbone {name!r} declares {attribute} = {count:,}; more than {most:,} are not read."
            )


def check_size(config: Any, loader: Any, stored: int, name: str) -> None:
    """Raises ``UserError`` where the model would be larger than its files can fill.

    loader: an ``AutoModelFor...``, which builds it without memory. stored: bytes of the files.
    """
    with torch.device("meta"):
        model = loader.from_config(config, trust_remote_code=False)
    weights = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if weights * _LEAST_BYTES > stored or buffers > stored + _ROOM:
        raise UserError(
            f"Backbone {name!r} declares {weights:,} weights and {buffers:,} bytes of other tensors, but its "
            f"files hold {stored:,} bytes. The configuration is not that of these weights."
        )


def most_layers_of_gguf(path: Path) -> int:
    """As many as the file has tensors; at most 256, for which the library's table of names takes a minute."""
    with path.open("rb") as file:
        head = file.read(16)
    return min(int.from_bytes(head[8:16], "little"), 256)


def weight_bytes(folder: Path) -> int:
    """Of the weight files in a model's folder."""
    files = (path for suffix in ("safetensors", "bin") for path in folder.glob(f"*.{suffix}"))
    return sum(path.stat().st_size for path in files)
