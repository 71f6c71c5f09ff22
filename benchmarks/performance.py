"""How fast Prompt Hub is: beside PEFT, beside its own reference path, below the machine's roof.

    python benchmarks/performance.py --minutes 10 --output build/performance --into docs/performance.md

Every measurement is a JSON file in --output, written as soon as it is known: a run that was interrupted, or
ran out of --minutes, goes on where it was. ``docs/performance.md`` says what is measured and how. Needs no
downloads; matplotlib for figures.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from compared_systems import System
from epochs import note, prepare
from machine import load
from peak_memory import peak_memory
from peft_systems import every_name, every_system
from shapes import ALL_SHAPES, Shape
from speed import compiling, growth, matrix, page, steps, together
from speed.setting import DTYPES, NotReached, Setting
from speed.store import Store

PARTS = tuple(page.PARTS)
SHAPES = ("roberta-base", "gpt2", "t5-small", "smollm2")
_ALIASES = {"smollm2": "smollm2-135m"}


@dataclass(frozen=True)
class Job:
    """One measurement: how its file is called, what it is of, and what makes it."""

    part: str
    shape: Shape
    prompt_len: int
    measure: Callable[[], dict[str, Any]]
    detail: str = ""


class Models:
    """The systems of one shape and prompt length, the last asked for, so that parts share them."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.memory_seconds = 0.0  # of the last measurement in a process of its own
        self._key: Any = None
        self._systems: list[System] = []

    def of(self, shape: Shape, prompt_len: int) -> list[System]:
        if self._key != (shape.name, prompt_len):
            self.let_go()
            note(f"{shape.name}, prompt {prompt_len}: models")
            self._systems = every_system(shape, prompt_len, self.setting.small, self.setting.place)
            self._key = (shape.name, prompt_len)
        return self._systems

    def let_go(self) -> None:
        self._key, self._systems = None, []
        gc.collect()
        if self.setting.on_gpu:
            torch.cuda.empty_cache()


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    prepare(options.threads)
    setting = Setting(
        options.device, options.dtype, time.monotonic() + 60 * options.minutes, options.rounds, options.small,
        options.threads,
    )  # fmt: skip
    store = Store(options.output)
    missing = measure(jobs(options, setting), setting, store) if options.minutes > 0 else []
    if missing:
        note(f"{len(missing)} measurements are missing, for example {missing[0]}")
    if options.into:
        page.put_into(options.into, list(store.all()))
    else:
        print(page.markdown(list(store.all()), options.device))
    return 0


def measure(wanted: Iterable[Job], setting: Setting, store: Store) -> list[str]:
    """Does what is not stored yet; what was not reached and why, which is stored as well."""
    missing = []
    for job in wanted:
        key = _key(job, setting)
        before = store.get(key)
        if before is not None and "missing" not in before:
            continue
        about = {
            "part": job.part,
            "detail": job.detail,
            "shape": job.shape.name,
            "prompt_len": job.prompt_len,
            "device": setting.device.split(":")[0],
            "dtype": setting.dtype,
            "small": setting.small,
            "rounds": setting.rounds,
            "machine": {**setting.host, "load": load()},
            "measured": time.strftime("%Y-%m-%d %H:%M"),
        }
        started = time.monotonic()
        try:
            setting.check(0)
            store.put(key, {**about, **job.measure(), "took": round(time.monotonic() - started, 1)})
            continue
        except NotReached as reason:
            why = str(reason)
        except Exception as error:  # one model that does not run must not stop the others
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        missing.append(f"{key}: {why}")
        store.put(key, {**about, "missing": why})
    return missing


def jobs(options: argparse.Namespace, setting: Setting) -> Iterator[Job]:
    """All measurements asked for, the most telling first."""
    models, shapes, first = Models(setting), options.shapes, options.prompt_lens[0]
    yield from _steps_and_memory(options, setting, models, first)
    for shape in shapes:
        for part, module in (("together", together), ("matrix", matrix), ("compile", compiling)):
            if part in options.parts:
                yield Job(part, shape, first, _freeing(models, module.compare, shape, first, setting))
    for prompt_len in options.prompt_lens[1:]:
        yield from _steps_and_memory(options, setting, models, prompt_len)
    if "growth" in options.parts:
        for shape in shapes:
            yield from _growth(shape, setting, models)


def _steps_and_memory(
    options: argparse.Namespace, setting: Setting, models: Models, prompt_len: int
) -> Iterator[Job]:
    for shape in options.shapes:
        for mode in ("train", "eval"):
            if mode in options.parts:
                yield Job(mode, shape, prompt_len, _compared(models, shape, prompt_len, mode, setting))
        if "memory" in options.parts and setting.on_gpu:
            yield Job("memory", shape, prompt_len, _gpu_memory(models, shape, prompt_len, setting))
    for shape in options.shapes if "memory" in options.parts and not setting.on_gpu else []:
        for name in every_name(shape):
            run = _cpu_memory(models, shape, name, prompt_len, setting)
            yield Job("memory", shape, prompt_len, run, detail=name)


def _compared(
    models: Models, shape: Shape, prompt_len: int, mode: str, setting: Setting
) -> Callable[[], dict[str, Any]]:
    return lambda: steps.compare(models.of(shape, prompt_len), shape, prompt_len, mode, setting)


def _gpu_memory(
    models: Models, shape: Shape, prompt_len: int, setting: Setting
) -> Callable[[], dict[str, Any]]:
    return lambda: {"peak_mb": steps.gpu_memory(models.of(shape, prompt_len), shape, setting)}


def _cpu_memory(
    models: Models, shape: Shape, name: str, prompt_len: int, setting: Setting
) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        models.let_go()
        if setting.dtype != "float32":
            raise NotReached("on a CPU memory is measured in float32 only")
        setting.check(models.memory_seconds)
        started = time.monotonic()
        peaks = peak_memory(shape.name, [name], setting.counts, prompt_len, setting.small, setting.threads)
        models.memory_seconds = time.monotonic() - started
        return {"peak_mb": peaks}

    return run


def _freeing(
    models: Models, run: Callable[..., dict[str, Any]], *arguments: Any
) -> Callable[[], dict[str, Any]]:
    def freed() -> dict[str, Any]:
        models.let_go()
        return run(*arguments)

    return freed


def _growth(shape: Shape, setting: Setting, models: Models) -> Iterator[Job]:
    made: list[growth.Growing] = []

    def growing() -> growth.Growing:
        if not made:
            models.let_go()
            made.append(growth.Growing(shape, setting))
        return made[0]

    prompt_len = growth.STILL["prompt length"]
    yield Job("growth", shape, prompt_len, lambda: growing().still(), "still")
    for axis, values in (growth.SMALL if setting.small else growth.AXES).items():
        for value in values:
            yield Job("growth", shape, prompt_len, _point(growing, axis, value), f"{axis}={value}")
    made.clear()


def _point(growing: Callable[[], growth.Growing], axis: str, value: int) -> Callable[[], dict[str, Any]]:
    return lambda: {"axis": axis, "value": value, **growing().at(axis, value)}


def _key(job: Job, setting: Setting) -> str:
    detail = "".join(letter if letter.isalnum() else "-" for letter in job.detail)
    parts = [
        job.part, job.shape.name, f"p{job.prompt_len}", setting.device.split(":")[0], setting.dtype, detail,
        "small" if setting.small else "",
    ]  # fmt: skip
    return "_".join(filter(None, parts))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the models (default: float32)")
    parser.add_argument(
        "--minutes", type=float, default=30, help="for all of it; 0: only write the page (default: 30)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the measurements")
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"from: {','.join(PARTS)}")
    parser.add_argument(
        "--shapes", type=_shapes, default=_shapes(",".join(SHAPES)),
        help=f"from: {','.join(ALL_SHAPES)}\n(default: {','.join(SHAPES)})",
    )  # fmt: skip
    parser.add_argument(
        "--prompt-lens", type=_numbers, default=[100, 20], help="soft tokens (default: 100,20)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of a measurement (default: 5)")
    parser.add_argument(
        "--threads",
        type=int,
        default=torch.get_num_threads(),
        help="of torch on a CPU (default: torch's own)",
    )
    parser.add_argument("--small", action="store_true", help="tiny models, to try the script")
    parser.add_argument("--into", type=Path, help="Markdown file whose marked blocks are replaced")
    options = parser.parse_args(argv)
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: there is no CUDA device here; use cpu")
    return options


def _parts(text: str) -> list[str]:
    return _names(text, PARTS)


def _shapes(text: str) -> list[Shape]:
    names = [_ALIASES.get(name, name) for name in text.split(",")]
    return [ALL_SHAPES[name] for name in _names(",".join(names), ALL_SHAPES)]


def _names(text: str, allowed: Any) -> list[str]:
    for name in text.split(","):
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"unknown name {name!r}; allowed: {', '.join(allowed)}")
    return text.split(",")


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("numbers must be at least 1")
    return numbers


if __name__ == "__main__":
    raise SystemExit(main())
