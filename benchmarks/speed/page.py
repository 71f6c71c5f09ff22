"""Measurements as Markdown: one block a device and part, written between two marks of a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from compared_systems import PromptHub
from epochs import EVAL_BATCH, TRAIN_BATCH
from peft_systems import every_name
from shapes import ALL_SHAPES

from speed import compiling, figures
from speed.together import WAYS

Found = dict[str, Any]
DEVICES = ("cpu", "cuda")
_ONCE = ("memory", "matrix")
"""Parts that are not measured in rounds."""


def put_into(page: Path, found: Sequence[Found]) -> None:
    """Replaces the block of every device and part in ``found``; figures go to ``images`` beside the page."""
    text = page.read_text(encoding="utf-8")
    for device in DEVICES:
        for part, here in _by_part(found, device):
            lines = [_block(here, part)]
            if part == "growth":
                drawn = figures.growth(_measured(here), page.parent / "images")
                lines += [f"![{title}](images/{name})" for name, title in drawn]
            start, end = marks(device, part)
            pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
            if not pattern.search(text):
                raise SystemExit(
                    f"{page} has no lines {start} and {end}, between which the block would stand."
                )
            block = "\n\n".join([start, *lines, end])
            text = pattern.sub(lambda _, block=block: block, text)
    page.write_text(text, encoding="utf-8")


def marks(device: str, part: str) -> tuple[str, str]:
    return f"<!-- performance: {device}, {part} -->", f"<!-- end of performance: {device}, {part} -->"


def markdown(found: Sequence[Found], device: str) -> str:
    """All that was measured on one device."""
    blocks = [_block(here, part) for part, here in _by_part(found, device)]
    return "\n\n".join(blocks) or f"Nothing is measured on {device}."


def _by_part(found: Sequence[Found], device: str) -> Iterator[tuple[str, list[Found]]]:
    for part in PARTS:
        here = [each for each in found if (each["device"], each["part"]) == (device, part)]
        if here:
            yield part, here


def _block(found: Sequence[Found], part: str) -> str:
    """Of one part on one device: title, machine, table, and what is missing."""
    title, table = PARTS[part]
    made = [f"**{title}**"]
    measured = _measured(found)
    if measured:
        made += [_machines(measured, part not in _ONCE), *filter(None, [table(measured)])]
    if len(measured) < len(found):
        made.append(_missing(found))
    return "\n\n".join(made)


def _measured(found: Iterable[Found]) -> list[Found]:
    return _sorted(each for each in found if "missing" not in each)


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


def _machines(found: Sequence[Found], in_rounds: bool) -> str:
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
    medians = f" Medians (least to greatest) of {' or '.join(map(str, rounds))} rounds." if in_rounds else ""
    return (
        f"{' '.join(sorted(names))} Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}; processes "
        f"that wanted to run meanwhile: {min(loads, default=0):g} to {max(loads, default=0):g}.{medians}"
        f"{small}"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {line} |" for line in [" | ".join(head), " | ".join(["---"] * len(head)), *lines])


def _about(each: Found) -> list[str]:
    return [each["shape"], each["dtype"], str(each["prompt_len"])]


def _steps(found: Sequence[Found]) -> str:
    rows = []
    for each in found:
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
    for each in found:
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
        for each in found
    ]  # fmt: skip
    head = ("shape", "dtype", "prompt", "evaluations", "rows", "s", "s of forward passes", "times")
    return _table(head, rows)


def _together(found: Sequence[Found]) -> str:
    rows = []
    for each in found:
        cells = []
        for seconds in (each["seconds"], each["step_seconds"]):
            once, after = (seconds[way] for way in WAYS)
            ratio = [slow / fast for slow, fast in zip(after, once, strict=True)]
            cells += [_spread(once), _spread(after), _spread(ratio)]
        rows.append([*_about(each), f"{each['seeds']} by {each['steps']}", *cells])
    head = ("shape", "dtype", "prompt", "seeds by steps", "s at once", "s one after the other", "faster by",
            "s a step at once", "s a step one after the other", "faster by")  # fmt: skip
    return _table(head, rows)


def _compiled(found: Sequence[Found]) -> str:
    rows = []
    for each in found:
        for mode, measured in each["modes"].items():
            fast, plain = (measured["seconds"][way] for way in compiling.WAYS)
            first = [measured["first_seconds"][way] for way in compiling.WAYS]
            rows.append(
                [
                    *_about(each), f"{mode}, {measured['rows']} texts",
                    *(_spread([1000 * took for took in seconds]) for seconds in (plain, fast)),
                    _spread([slow / quick for slow, quick in zip(plain, fast, strict=True)]),
                    f"{first[0] - first[1]:,.1f}",
                ]
            )  # fmt: skip
    head = ("shape", "dtype", "prompt", "batch", "ms as they are", "ms compiled", "faster by",
            "s to compile")  # fmt: skip
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


PARTS: dict[str, tuple[str, Callable[[Sequence[Found]], str]]] = {
    "train": (f"Training step, {TRAIN_BATCH} texts", _steps),
    "eval": (f"Evaluation batch, {EVAL_BATCH} texts", _steps),
    "memory": ("Peak memory above the loaded model", _memory),
    "matrix": ("A matrix of prompts and tasks", _matrix),
    "together": ("Eight seeds at once", _together),
    "compile": ("Layers compiled by torch", _compiled),
    "growth": ("What the cost grows with", lambda found: ""),
}
"""By name: its title on the page, and its table."""
