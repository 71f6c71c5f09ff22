"""Batches that fit into memory: halved until they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from prompt_hub.errors import UserError, first_line

T = TypeVar("T")


def in_batches_that_fit(run: Callable[[int], T], batch_size: int) -> tuple[T, int]:
    """What ``run(batch_size)`` gives, and the batch size that it took: half as long as memory runs out.

    Raises ``UserError`` where not even one row fits; other errors pass.
    """
    while True:
        try:
            return run(batch_size), batch_size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = first_line(error)
        # Outside of the except clause, whose traceback would keep the batch's tensors.
        clear_device_cache(garbage_collection=True)
        if batch_size == 1:
            raise UserError(
                f"Memory ran out with one row a batch: {reason} Take a smaller backbone or --dtype bfloat16, "
                "or free the device."
            )
        batch_size //= 2


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def halved(asked: int, took: int) -> list[str]:
    """The warning that belongs into a record; none where the batch fitted."""
    if took == asked:
        return []
    return [f"Memory ran out with {asked} rows a batch; computed with {took}. Choose --batch-size {took}."]
