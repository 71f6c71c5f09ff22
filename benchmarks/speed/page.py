"""Measurements as Markdown: one block a device, written between two marks of a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from compared_systems import PromptHub
from epochs import EVAL_BATCH, TRAIN_BATCH
from peft_systems import every_name
from shapes import ALL_SHAPES

from speed import figures
from speed.together import WAYS

Found = dict[str, Any]
DEVICES = ("cpu", "cuda")


def put_into(page: Path, found: Sequence[Found]) -> None:
    """Replaces the block of every device that ``found`` knows; figures go to ``images`` beside the page."""
    text = page.read_text(encoding="utf-8")
    for device in DEVICES:
        here = [each for each in found if each["device"] == device]
        if not here:
            continue
        drawn = figures.growth(_measured(here, "growth"), page.parent / "images")
        lines = [markdown(here, device), *(f"\n![{title}](images/{name})" for name, title in drawn)]
        start, end = marks(device)
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page} has no lines {start} and {end}, between which the block would stand.")
        block = "\n".join([start, "", *lines, "", end])
        text = pattern.sub(lambda _, block=block: block, text)
    page.write_text(text, encoding="utf-8")


def marks(device: str) -> tuple[str, str]:
    return f"<!-- performance: {device} -->", f"<!-- end of performance: {device} -->"


def markdown(found: Iterable[Found], device: str) -> str:
    """Tables of one device."""
    here = [each for each in found if each["device"] == device]
    if not here:
        return f"Nothing is measured on {device}."
    made = [_machines(here)]
    for title, table in (
        (f"Training step, {TRAIN_BATCH} texts", _steps(here, "train")),
        (f"Evaluation batch, {EVAL_BATCH} texts", _steps(here, "eval")),
        ("Peak memory above the loaded model", _memory(here)),
        ("A matrix of prompts and tasks", _matrix(here)),
        ("Eight seeds at once", _together(here)),
    ):
        if table:
            made.append(f"**{title}**\n\n{table}")
    if any("missing" in each for each in here):
        made.append(_missing(here))
    return "\n\n".join(made)


def _measured(found: Iterable[Found], part: str) -> list[Found]:
    return _sorted(each for each in found if each["part"] == part and "missing" not in each)


def _sorted(found: Iterable[Found]) -> list[Found]:
    """As a reader expects them: wide types and long prompts first, shapes and systems as listed."""
    shapes = list(ALL_SHAPES)

    def place(each: Found) -> tuple[Any, ...]:
        names = every_name(ALL_SHAPES[each["shape"]])
        system = names.index(each["detail"]) if each["detail"] in names else -1
        return (
            each["dtype"] != "float32", -each["prompt_len"], shapes.index(each["shape"]), system,
            each.get("axis", ""), each.get("value", 0),
        )  # fmt: skip

    return sorted(found, key=place)


def _machines(found: Sequence[Found]) -> str:
    names = set()
    for each in found:
        host = each["machine"]
        where = host["accelerator"] or f"{host['cpu']}, torch threads: {host['threads']}"
        names.add(
            f"{where}; {host['cores']} cores; Python {host['python']}, torch {host['torch']}, transformers "
            f"{host['transformers']}, PEFT {host['peft']}."
        )
    loads = [each["machine"]["load"] for each in found if each["machine"]["load"] is not None]
    rounds = sorted({each["rounds"] for each in found})
    days = sorted({each["measured"][:10] for each in found})
    small = " Tiny models: only the script was tried." if any(each["small"] for each in found) else ""
    return (
        f"{' '.join(sorted(names))} Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}; processes "
        f"that wanted to run meanwhile: {min(loads, default=0):g} to {max(loads, default=0):g}. Medians "
        f"(least to greatest) of {' or '.join(map(str, rounds))} rounds.{small}"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {line} |" for line in [" | ".join(head), " | ".join(["---"] * len(head)), *lines])


def _about(each: Found) -> list[str]:
    return [each["shape"], each["dtype"], str(each["prompt_len"])]


def _steps(found: Sequence[Found], mode: str) -> str:
    rows = []
    for each in _measured(found, mode):
        ours = each["systems"][PromptHub.name]["seconds"]
        roof = each["roof"]["operations_per_second"]
        for name, system in each["systems"].items():
            seconds = system["seconds"]
            ratio = [theirs / own for theirs, own in zip(seconds, ours, strict=True)]
            share = [system["operations"] / took / rate for took, rate in zip(seconds, roof, strict=True)]
            path = f" ({system['path']})" if name == PromptHub.name else ""
            rows.append(
                [
                    *_about(each), name + path, _spread([1000 * took for took in seconds]),
                    f"{system['tokens'] / median(seconds):.3g}", f"{system['computed_tokens_a_row']:.1f}",
                    "" if name == PromptHub.name else _spread(ratio), f"{100 * median(share):.0f}%",
                ]
            )  # fmt: skip
        tokens, inputs, outputs = each["roof"]["size"]
        rate = f"{median(roof) / 1e9:,.0f} GFLOP/s"
        rows.append(
            [*_about(each), f"roof: {tokens} x {inputs} x {outputs} at {rate}", "", "", "", "", "100%"]
        )
    head = ("shape", "dtype", "prompt", "system", "ms", "text tokens/s", "computed tokens a row",
            "Prompt Hub is faster by", "of the roof")  # fmt: skip
    return _table(head, rows)


def _memory(found: Sequence[Found]) -> str:
    peaks: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    for each in _measured(found, "memory"):
        peaks.setdefault(tuple(_about(each)), {}).update(each["peak_mb"])
    rows = []
    for about, systems in peaks.items():
        ours = systems.get(PromptHub.name)
        for name, peak in systems.items():
            ratios = ["", ""]
            if ours and name != PromptHub.name:
                ratios = [f"{ours[mode] / max(peak[mode], 1e-9):.2f}" for mode in ("train", "eval")]
            rows.append([*about, name, f"{peak['train']:,.0f}", f"{peak['eval']:,.0f}", *ratios])
    head = ("shape", "dtype", "prompt", "system", "MB train", "MB eval", "Prompt Hub takes, train", "eval")
    return _table(head, rows)


def _matrix(found: Sequence[Found]) -> str:
    rows = [
        [
            *_about(each), f"{each['prompts']} by {each['tasks']}, {each['evaluations']} with floors",
            str(each["rows"]), f"{each['seconds']:.1f}",
            f"{each['forward_seconds']:.1f} ({each['forward_timed']})",
            f"{each['seconds'] / each['forward_seconds']:.2f}",
        ]
        for each in _measured(found, "matrix")
    ]  # fmt: skip
    head = ("shape", "dtype", "prompt", "evaluations", "rows", "s", "s of forward passes", "times")
    return _table(head, rows)


def _together(found: Sequence[Found]) -> str:
    rows = []
    for each in _measured(found, "together"):
        cells = []
        for seconds in (each["seconds"], each["step_seconds"]):
            once, after = (seconds[way] for way in WAYS)
            ratio = [slow / fast for slow, fast in zip(after, once, strict=True)]
            cells += [_spread(once), _spread(after), _spread(ratio)]
        rows.append([*_about(each), f"{each['seeds']} by {each['steps']}", *cells])
    head = ("shape", "dtype", "prompt", "seeds by steps", "s at once", "s one after the other", "faster by",
            "s a step at once", "s a step one after the other", "faster by")  # fmt: skip
    return _table(head, rows)


def _missing(found: Sequence[Found]) -> str:
    """What was asked for and not measured, one line a reason and part."""
    lines: dict[str, list[str]] = {}
    for each in _sorted(each for each in found if "missing" in each):
        name = each["shape"] + (f" ({each['detail']})" if each["detail"] else "")
        about = f"{each['part']}, {each['dtype']}, prompt {each['prompt_len']}, {each['missing']}"
        lines.setdefault(about, []).append(name)
    return "Not measured:\n\n" + "\n".join(
        f"- {about}: {', '.join(dict.fromkeys(names))}" for about, names in lines.items()
    )


def _spread(values: Sequence[float]) -> str:
    return f"{_short(median(values))} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
