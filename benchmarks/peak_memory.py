"""Peak memory of a training or evaluation step on a CPU, in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

from epochs import note, prepare, width, work
from peft_systems import system_named
from shapes import ALL_SHAPES

_M_MMAP_THRESHOLD = -3  # its number in glibc's malloc.h


def peak_memory(
    shape_name: str,
    system_names: Sequence[str],
    counts: Sequence[int],
    prompt_len: int,
    small: bool,
    threads: int,
) -> dict[str, dict[str, float]]:
    """MB above the loaded model, by system and mode, each in a fresh process."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # The server imports these once and holds nothing else, so that a fresh process costs no import.
        context.set_forkserver_preload(["torch", "transformers", "peft"])
    peaks: dict[str, dict[str, float]] = {}
    for name in system_names:
        peaks[name] = {}
        for mode in ("train", "eval"):
            note(f"memory: {shape_name}, {name}, {mode}")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                job = pool.submit(peak_of, shape_name, name, mode, counts, prompt_len, small, threads)
                peaks[name][mode] = job.result()
    return peaks


def peak_of(
    shape_name: str,
    system_name: str,
    mode: str,
    counts: Sequence[int],
    prompt_len: int,
    small: bool,
    threads: int,
) -> float:
    """Peak MB of resident memory above the state after the model was loaded; run in a process of its own."""
    prepare(threads)
    give_freed_memory_back()
    shape = ALL_SHAPES[shape_name]
    system = system_named(system_name, shape, prompt_len, small)
    batches, run = work(system, shape, mode, counts, small)
    # The widest batch decides; it is as wide in both systems, because the longest text is in one of them.
    batches = sorted(batches, key=width)
    run(batches[0][:1])  # loads code and starts threads, which are not the model's memory
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading
    loaded = memory_mb("VmRSS")
    with system.evaluation() if mode == "eval" else nullcontext():
        for batch in (batches[-1], batches[-1], batches[len(batches) // 2]):
            run(batch)
    return memory_mb("VmHWM") - loaded


def give_freed_memory_back() -> None:
    """Let glibc return every tensor above 1 MB to the system as soon as it is freed.

    Otherwise the peak holds gaps between tensors that differ by 100 MB between two runs of one program.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def memory_mb(field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process; elsewhere than on Linux the peak for both.

    On Linux ``ru_maxrss`` would start from the parent's memory, which a process inherits when it is born.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
