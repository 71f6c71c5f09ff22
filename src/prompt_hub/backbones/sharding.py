"""A frozen model whose layers are divided among the processes of a distributed run (FSDP).

Every process keeps its share of each layer and gathers the layer while it is used (Zhao et al. 2023,
"PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel"), so that the model fits where the device
of one process is too small. Each process has its own rows; embeddings and head, which prompts stand among and
label words are rows of, are kept whole.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from prompt_hub.backbones.recomputing import layer_stacks
from prompt_hub.errors import UserError


def process_device(bits: str | None = None) -> torch.device:
    """The device of this process of a distributed run. bits: as ``load_backbone``'s quantised dtypes.

    Raises ``UserError`` where there is one process only, and for quantised weights.
    """
    if bits is not None:
        raise UserError(f"A {bits} backbone cannot be sharded. Use --device balanced, or another --dtype.")
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() < 2:
        raise UserError(
            "Device 'sharded' divides a backbone among several processes, but there is one. Start them: "
            "torchrun --nproc-per-node 2 -m prompt_hub train --device sharded ..."
        )
    return (
        torch.device("cuda", torch.cuda.current_device())
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def shard(model: nn.Module, device: torch.device) -> None:
    """Divide the layers of ``model``, in place. Every process calls it, with the same model.

    Raises ``UserError`` for a model whose layers are not found.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    stacks = layer_stacks(model)
    if not stacks:
        raise UserError(
            f"A sharded backbone needs layers that transformers knows; {type(model).__name__} has none. Use "
            "--device balanced."
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for stack in stacks:
        for layer in stack.children():
            fully_shard(layer, mesh=mesh)
