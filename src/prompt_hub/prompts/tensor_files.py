"""Tensors out of files of unknown origin: nothing is executed, and no size is believed before it is checked.

Every reader returns ``{key: tensor}``; every defect is a ``UserError`` that names the file.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import MAX_TENSOR_BYTES, read_bounded

MAX_PICKLE_BYTES = 4 * 2**20
"""Of the pickle inside a torch archive, which holds structure only; the values lie beside it."""

SINGLE_KEY = "prompt"
"""Key of a tensor from a file that holds just one, without a name."""


def check_prompt(tensor: Tensor, source: str) -> Tensor:
    """Any float tensor ``[P, H]`` to float32 on the CPU, or a ``UserError`` that says what is wrong."""
    if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.is_quantized:
        raise UserError(f"{source}: a prompt must be a dense float tensor, not {tensor.dtype}.")
    if tensor.ndim != 2:
        raise UserError(f"{source}: a prompt must have shape [P, H], not {list(tensor.shape)}.")
    if tensor.shape[0] < 1 or tensor.shape[1] < 1:
        raise UserError(f"{source}: the prompt is empty (shape {list(tensor.shape)}).")
    # A tensor may declare more elements than it stores (strides of 0), so this is checked before any copy.
    if tensor.numel() * 4 > MAX_TENSOR_BYTES:
        raise UserError(f"{source}: shape {list(tensor.shape)} is larger than any prompt.")
    if tensor.device.type == "meta":
        raise UserError(f"{source}: the tensor has a shape but no values.")
    values = tensor.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise UserError(
            f"{source}: {bad} of {values.numel()} values are NaN or infinite. The training diverged or the "
            "file is damaged."
        )
    return values


def parse_safetensors(data: bytes, source: str) -> dict[str, Tensor]:
    try:
        return safetensors_torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise UserError(f"{source} is not a complete safetensors file: {error}.") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    return parse_safetensors(read_bounded(path, MAX_TENSOR_BYTES), str(path))


def read_torch(path: Path) -> dict[str, Tensor]:
    """A torch archive (the zip format since torch 1.6) with a tensor, or a dict of tensors.

    A checkpoint dict with the key ``model`` is read as its model: the original code saved the prompt
    together with its optimiser that way.
    """
    data = read_bounded(path, MAX_TENSOR_BYTES)
    _check_torch_archive(data, path)
    try:
        value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"{path} was refused: its pickle asks for more than tensors ({reason}). Nothing in it was run."
        ) from None
    except Exception as error:
        # torch reports a damaged archive by whatever its parsers happen to raise.
        raise UserError(f"{path} is not a complete torch file: {type(error).__name__}: {error}.") from None
    return _tensors(value, path)


def _check_torch_archive(data: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            stored = [each for each in members if each.compress_type == zipfile.ZIP_STORED]
            pickles = [
                archive.read(each)
                for each in stored
                if each.filename.endswith("data.pkl") and each.file_size <= MAX_PICKLE_BYTES
            ]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} is not a complete torch archive ({error}). Only the zip format of torch 1.6 and later "
            "is read; save older files again with a newer torch."
        ) from None
    # torch stores its records as they are; compressed ones could unfold to any size.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UserError(f"{path} holds compressed records, which torch never writes. It was not read.")
    if any(
        member.filename.endswith("data.pkl") and member.file_size > MAX_PICKLE_BYTES for member in members
    ):
        raise UserError(f"{path}: its pickle is larger than any prompt's. It was not read.")
    for data in pickles:
        if not _is_modest(data):
            raise UserError(
                f"{path} was refused: its pickle holds what no file of tensors does. It was not read."
            )


_MOST_NESTED = 20
"""Tuples within tuples by reference: each doubles the time that the next one takes as a key."""


def _is_modest(pickled: bytes) -> bool:
    """Whether unpickling takes time and memory as the pickle's length: torch allows ``bytearray(10**10)``."""
    depths: dict[Any, int] = {}  # of tuples, by their place in the pickle's memory
    last, depth, inside = "", 0, 0
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            name = operation.name
            if name == "STACK_GLOBAL" or (name == "GLOBAL" and str(argument).split()[0] in _BUILTIN):
                return False
            if name.endswith("PUT") and last.startswith("TUPLE"):
                depths[argument] = depth
            elif name == "MEMOIZE":  # of pickles that torch does not write
                return False
            elif name.endswith("GET"):
                inside = max(inside, depths.get(argument, 0))
            elif name == "DUP":
                inside = max(inside, depth)
            elif name.startswith("TUPLE"):
                depth, inside = inside + 1, 0
                if depth > _MOST_NESTED:
                    return False
            last = name
    except ValueError:
        return True  # torch says what is wrong with it
    return True


_BUILTIN = {"builtins", "__builtin__", "_codecs"}


def _tensors(value: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(value, dict) and "model" in value:
        value = value["model"]
    if isinstance(value, Tensor):
        return {SINGLE_KEY: value}
    if isinstance(value, dict):
        tensors = {str(key): item for key, item in value.items() if isinstance(item, Tensor)}
        if tensors:
            return tensors
    raise UserError(f"{path} holds a {type(value).__name__} and no tensor.")


def read_numpy(path: Path) -> dict[str, Tensor]:
    """``.npy`` (one array) or ``.npz`` (one array a key)."""
    data = read_bounded(path, MAX_TENSOR_BYTES)
    if data.startswith(b"\x93NUMPY"):
        return {SINGLE_KEY: _read_array(io.BytesIO(data), len(data), str(path))}
    found: dict[str, Tensor] = {}
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    continue
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # zipfile unfolds the others whole, whatever size is declared.
                    raise UserError(
                        f"{path}[{member.filename!r}] is compressed in a way that numpy never uses."
                    )
                total += member.file_size
                if total > MAX_TENSOR_BYTES:
                    raise UserError(f"{path} would unpack to more than {MAX_TENSOR_BYTES:,} bytes.")
                key = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    found[key] = _read_array(stream, member.file_size, f"{path}[{key!r}]")
    except UserError:
        raise
    except Exception as error:
        # zipfile and zlib have no common exception for a damaged archive.
        raise UserError(f"{path} is not a complete .npz file: {error}.") from None
    if not found:
        raise UserError(f"{path} holds no arrays.")
    return found


def _read_array(stream: IO[bytes], size: int, source: str) -> Tensor:
    """One array, its declared size compared with the bytes that are there before memory is taken."""
    try:
        major, _ = np.lib.format.read_magic(stream)
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(
            major
        )
        if read_header is None:
            raise UserError(f"{source}: version {major} of the npy format is not read; 1 and 2 are.")
        shape, fortran_order, dtype = read_header(stream)
    except UserError:
        raise
    except Exception as error:
        # The header is a Python literal; a damaged one fails in many ways.
        raise UserError(f"{source} has no valid npy header: {error}.") from None
    if dtype.kind != "f":
        raise UserError(f"{source}: a prompt must be a float array, not {dtype}.")
    if any(length < 0 for length in shape):
        raise UserError(f"{source}: impossible shape {list(shape)}.")
    expected, remaining = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if expected != remaining:
        raise UserError(
            f"{source}: shape {list(shape)} of {dtype} needs {expected:,} bytes, but {remaining:,} are there."
        )
    data = stream.read(expected)
    if len(data) != expected:
        raise UserError(f"{source} ends after {len(data):,} of {expected:,} bytes.")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused as such
        return torch.from_numpy(np.array(array, np.float32, order="C"))
