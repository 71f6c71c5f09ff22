"""One input, and many: changed by chance, or by atheris, which looks at what readers do with them."""

from __future__ import annotations

import hashlib
import importlib
import logging
import pkgutil
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fuzz.mutate import mutated
from fuzz.targets import TARGETS, Target
from fuzz.watch import Breach, check, inside

PACKAGE = Path(__file__).parents[1] / "src" / "prompt_hub"
CORPUS = Path(__file__).parent / "corpus"
"""A folder a target: inputs that went wrong once, and those that reached new code; read by the tests."""


def quiet() -> None:
    """Progress bars and warnings of libraries say nothing here."""
    import transformers

    sys.dont_write_bytecode = True  # a module that is imported late may otherwise write beside its source
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def try_one(target: Target, data: bytes) -> None:
    """Raises ``Breach``, or whatever the reader raised, for an input that it does not stand."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name).resolve() / "scratch"
        scratch.mkdir()
        with inside(scratch.parent):
            check(lambda: target.read(data, scratch))


@cache
def seeds(name: str) -> list[bytes]:
    """Valid files of a target, read once: what libraries import and open late is then there."""
    found = TARGETS[name].seeds()
    for data in found:
        with tempfile.TemporaryDirectory() as scratch:
            TARGETS[name].read(data, Path(scratch))
    return found


def kept(name: str) -> list[bytes]:
    """The corpus of a target, in the order of the files' names."""
    folder = CORPUS / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def inputs(name: str, chooser: random.Random) -> Iterator[bytes]:
    """Changed seeds and corpus, without end."""
    valid, before = seeds(name), kept(name)
    while True:
        if before and chooser.random() < 0.3:
            yield mutated(chooser.choice(before), False, chooser)
        else:
            yield mutated(chooser.choice(valid), TARGETS[name].is_document, chooser)


@dataclass
class Found:
    """failures: file of the input by what was raised, the first of each kind."""

    name: str
    seconds: float = 0.0
    runs: int = 0
    failures: dict[str, Path] = field(default_factory=dict)


def by_chance(name: str, seconds: float, seed: int, output: Path) -> Found:
    """Tries inputs for so long; those that fail are written to ``output``."""
    quiet()
    found, started = Found(name), time.monotonic()
    for data in inputs(name, random.Random(seed)):
        found.seconds = time.monotonic() - started
        if found.seconds > seconds:
            return found
        found.runs += 1
        try:
            try_one(TARGETS[name], data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # tokenizers' panic is no Exception
            kind = _kind(error)
            if kind not in found.failures:
                found.failures[kind] = written(output / name, data)
    raise AssertionError("inputs() has no end")


def written(folder: Path, data: bytes) -> Path:
    """The input as a file that is called by its content."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def _kind(error: BaseException) -> str:
    """What was raised, and where: in this package, else wherever it was."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/prompt_hub/" in frame.filename]
    place = (ours or frames)[-1]
    words = f": {error!s:.200}" if isinstance(error, Breach) else ""
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}{words}"


def guided(name: str, seconds: float, seed: int, output: Path) -> None:
    """As ``by_chance`` by atheris, which ends this process: at once where an input fails, which it stores."""
    import atheris

    with atheris.instrument_imports(include=["prompt_hub"]):
        for module in pkgutil.walk_packages([str(PACKAGE)], "prompt_hub."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    quiet()
    target = TARGETS[name]
    reached = output / name / "reached"
    for data in (*seeds(name), *kept(name)):
        written(reached, data)

    def changed(data: bytes, most: int, number: int) -> bytes:
        chooser = random.Random(number)
        if chooser.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return mutated(data, False, chooser)[:most]

    options = [
        sys.argv[0], str(reached), f"-max_total_time={round(seconds)}", f"-seed={seed + 1}", "-timeout=0",
        "-rss_limit_mb=8000", "-max_len=200000", "-print_final_stats=1",
        f"-artifact_prefix={output / name}/failed-",
    ]  # fmt: skip
    atheris.Setup(options, lambda data: try_one(target, data), custom_mutator=changed)
    atheris.Fuzz()
