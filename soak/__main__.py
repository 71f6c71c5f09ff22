"""Puts faults into running commands, continues each, and compares with a run to which nothing happened.

    python -m soak --injections 200 --output build/soak --into docs/reliability.md

Every injection has a number, which decides command, fault and moment, and leaves a JSON file in --output:
what is there is not done again. Exit code 1 where anything was lost. Full and read-only disks need the right
to mount (root on Linux); without it those are left out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from soak.faults import FAULTS, NEED_MOUNT
from soak.jobs import OUTPUT, Job, computed_twice, jobs, make_material
from soak.scene import Scene, can_mount
from soak.table import put_into
from soak.warm import Command, warm_up


def main() -> int:
    options = parse()
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    warm_up()
    with tempfile.TemporaryDirectory(dir=options.output) as name:
        found = inject_all(options, Path(name))
    if options.into:
        put_into(options.into, found)
    print(json.dumps({"injections": len(found), "bad": [each for each in found if each["bad"]]}))
    return int(any(each["bad"] for each in found))


def inject_all(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    material = folder / "material"
    material.mkdir()
    make_material(material)
    known = jobs(material)
    faults = [name for name in FAULTS if name not in NEED_MOUNT or can_mount(folder)]
    expected: dict[str, dict[str, Any]] = {}
    found = []
    for number in range(options.seed, options.seed + options.injections):
        stored = options.output / f"{number:05d}.json"
        if not stored.exists():
            chooser = random.Random(number)
            # In turns, so that few injections already try all of them.
            fault = faults[number % len(faults)]
            job = known[chooser.choice(FAULTS[fault][1])]
            if job.name not in expected:
                expected[job.name] = undisturbed(job, material, folder / f"whole-{job.name}", known)
            scene = Scene(
                job, material, folder / str(number), chooser,
                expected[job.name]["seconds"], expected[job.name]["bytes"],
            )  # fmt: skip
            outcome = {"number": number, "fault": fault, "job": job.name}
            outcome |= inject(scene, fault, expected[job.name]["state"])
            stored.write_text(json.dumps(outcome), encoding="utf-8")
            print(f"{number}: {fault}, {job.name}: {outcome['bad'] or 'nothing lost'}", file=sys.stderr)
        found.append(json.loads(stored.read_text(encoding="utf-8")))
    return found


def undisturbed(job: Job, material: Path, folder: Path, known: dict[str, Job]) -> dict[str, Any]:
    """What the command gives and takes when nothing happens."""
    if job.name == "report" and not (material / "results").exists():
        undisturbed(known["matrix"], material, folder.with_name("whole-results"), known)
        shutil.copytree(folder.with_name("whole-results") / OUTPUT, material / "results")
    folder.mkdir()
    started = time.monotonic()
    ended = Command(job.arguments, folder).wait()
    seconds = time.monotonic() - started
    if ended.code != 0:
        raise SystemExit(f"{job.name} does not work undisturbed: {ended.said}")
    output = folder / OUTPUT
    used = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return {"seconds": seconds, "bytes": used, "state": job.state(output)}


def differences(found: Any, expected: Any) -> str:
    """Where two states differ; nothing where they do not."""
    if found == expected:
        return ""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
        return f"{sorted(keys)}: {found.get(keys[0])} for {expected.get(keys[0])}"
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = zip(found, expected, strict=True)
        return next(differences(one, other) for one, other in pairs if one != other)
    return f"{found} for {expected}"


def inject(scene: Scene, fault: str, expected: Any) -> dict[str, Any]:
    """How a command ended under a fault, and what was lost (``bad``)."""
    bad = []
    try:
        ended = FAULTS[fault][0](scene)
        if ended.code != -9 and not ended.is_orderly:
            bad.append(f"it ended with code {ended.code}: {ended.said[-600:]}")
        kept = scene.job.finished(scene.output)
        again = scene.start().wait()
        if again.code != 0:
            there = sorted(str(path.relative_to(scene.output)) for path in scene.output.rglob("*"))
            bad.append(f"it does not go on: {again.said[-600:]} There are: {there[:20]}")
        else:
            if other := differences(scene.job.state(scene.output), expected):
                bad.append(f"its results are other ones: {other[:300]}")
            if scene.job.name == "matrix" and (twice := computed_twice(scene.output, kept)):
                bad.append(f"computed again: {', '.join(sorted(twice))}")
        return {"code": ended.code, "kept": len(kept), "bad": "; ".join(bad)}
    finally:
        scene.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--injections", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("build/soak"), help="folder of what was found")
    parser.add_argument("--into", type=Path, help="Markdown file whose marked block becomes the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
