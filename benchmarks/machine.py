"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import peft
import torch
import transformers


def machine(threads: int) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }


def accelerator(device: str) -> str | None:
    """The name of the GPU that ``device`` means; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else None


def load() -> float | None:
    """Processes that wanted to run in the last minute."""
    with suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 1)
    return None
