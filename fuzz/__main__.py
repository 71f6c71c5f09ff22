"""Gives invented files to every reader of files from strangers, and looks for what is not a ``UserError``.

    python -m fuzz --minutes 30 --output build/fuzz --into docs/reliability.md

Documents are changed in their structure, binary files by atheris where it is installed (pip install atheris),
else by chance. Each target has --minutes of its own; --jobs run at a time. Exit code 1 where a reader failed:
the input then lies in --output, and belongs into fuzz/corpus, where the tests read it, once it is mended.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from fuzz.run import CORPUS, by_chance, guided, written
from fuzz.targets import TARGETS

BEGIN, END = "<!-- fuzz -->", "<!-- end of fuzz -->"
ATHERIS, CHANCE = "atheris", "chance"
_KEPT, _KEPT_BYTES = 30, 8000


def main() -> int:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.alone:
        return one(options)
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda name: in_a_process(name, options), options.targets))
    if options.into:
        put_into(options.into, found)
    print(json.dumps({each["name"]: each for each in found}, indent=1))
    return int(any(each["failures"] for each in found))


def one(options: argparse.Namespace) -> int:
    """One target in this process."""
    [name] = options.targets
    if options.alone == ATHERIS:
        guided(name, 60 * options.minutes, options.seed, options.output)
    found = by_chance(name, 60 * options.minutes, options.seed, options.output)
    print(json.dumps(asdict(found), default=str))
    return int(bool(found.failures))


def in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A target in a process of its own, which may be killed by what it reads; its result is stored."""
    stored = options.output / f"{name}.json"
    binary = not TARGETS[name].is_document
    engine = ATHERIS if binary and importlib.util.find_spec("atheris") else CHANCE
    command = [
        sys.executable, "-m", "fuzz", "--alone", engine, "--targets", name, "--minutes", str(options.minutes),
        "--seed", str(options.seed), "--output", str(options.output),
    ]  # fmt: skip
    started = time.monotonic()
    # SIGALRM and temporary folders are a process's own; threads of libraries would only be in the way.
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said, told = whole(output), whole(errors)
    outcome: dict[str, Any] = {
        "name": name, "engine": engine, "seed": options.seed, "runs": 0, "failures": {},
        "minutes": round((time.monotonic() - started) / 60, 1),
        "core_minutes": round((used.ru_utime + used.ru_stime) / 60, 1), "code": process.returncode,
    }  # fmt: skip
    if engine == ATHERIS:
        count = re.search(r"number_of_executed_units: (\d+)", told)
        outcome["runs"] = int(count[1]) if count else 0
        failed = sorted((options.output / name).glob("failed-*"))
        if process.returncode or not count:
            outcome["failures"] = {told[-1500:]: str(failed[-1]) if failed else ""}
        if options.keep:
            keep(name, options.output / name / "reached")
    elif said:
        outcome |= {key: json.loads(said.splitlines()[-1])[key] for key in ("runs", "failures")}
    else:
        outcome["failures"] = {told[-1500:]: ""}
    stored.write_text(json.dumps(outcome, indent=1), encoding="utf-8")
    print(f"{name}: {outcome['runs']:,} inputs, {len(outcome['failures'])} failures", file=sys.stderr)
    return outcome


def whole(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def keep(name: str, reached: Path) -> None:
    """The shortest inputs that reached new code, into the corpus of the repository."""
    small = sorted(reached.iterdir(), key=lambda path: path.stat().st_size)
    for path in [each for each in small if each.stat().st_size <= _KEPT_BYTES][:_KEPT]:
        written(CORPUS / name, path.read_bytes())


def put_into(page: Path, found: list[dict[str, Any]]) -> None:
    """Replaces what stands between the marks; rows of targets that did not run now stay."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    block, after = rest.split(END)
    rows = {about: line for line in block.splitlines() for about in [line.strip("| ").split(" | ")[0]]}
    for each in found:
        about = TARGETS[each["name"]].about
        rows[about] = (
            f"| {about} | {each['engine']} | {each['runs']:,} | {each['minutes']:g} | "
            f"{each['core_minutes']:g} | {len(each['failures']) or 'none'} |"
        )
    lines = ["| files | changed by | inputs | minutes | on a core | failures |", "|---|---|---|---|---|---|"]
    lines += [rows[target.about] for target in TARGETS.values() if target.about in rows]
    block = "\n".join(lines)
    page.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="a target (default: 30)")
    parser.add_argument("--targets", type=_targets, default=list(TARGETS), help=f"of: {', '.join(TARGETS)}")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of what is changed (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("build/fuzz"), help="inputs that failed, counts")
    parser.add_argument("--into", type=Path, help="Markdown file whose marked block becomes the table")
    parser.add_argument(
        "--keep", action="store_true", help="short inputs that reached new code go to fuzz/corpus"
    )
    parser.add_argument("--alone", choices=(ATHERIS, CHANCE), help=argparse.SUPPRESS)
    return parser.parse_args()


def _targets(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in TARGETS:
            raise argparse.ArgumentTypeError(f"unknown target {name!r}; allowed: {', '.join(TARGETS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
