"""The generated ``README.md`` of a prompt folder: a model card that the Hugging Face Hub understands."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from prompt_hub.prompts.metadata import PromptMetadata

_MODEL_CLASSES = {
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq_lm": "AutoModelForSeq2SeqLM",
    "masked_lm": "AutoModelForMaskedLM",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_GENERATION = {"generation", "qa", "summarization"}
_NOT_METRICS = {"n", "interval", "seed", "seeds"}


class MetricRow(NamedTuple):
    name: str
    value: float
    n: int | None
    interval: str


def model_card(metadata: PromptMetadata, repo_id: str | None = None) -> str:
    """``repo_id``: where the prompt will be found; without it the examples name a local folder.

    Every name comes from outside, so all are escaped: the front matter by the YAML writer, code by JSON
    quoting, text by backslashes.
    """
    rows = list(metric_rows(metadata.metrics))
    front = yaml.safe_dump(_front_matter(metadata, rows, repo_id), sort_keys=False, allow_unicode=False)
    title = f"Soft prompt for {metadata.task or 'an unnamed task'}"
    sections = [f"---\n{front}---", f"# {_escape(title)}", _facts(metadata)]
    if rows:
        sections.append("## Results\n\n" + _table(rows))
    sections.append("## Use\n\n" + _usage(metadata, repo_id or "path/to/this/folder"))
    return "\n\n".join(sections) + "\n"


def metric_rows(metrics: dict[str, Any], prefix: str = "", n: int | None = None) -> Iterator[MetricRow]:
    """Every number in a nested metrics dict, with the nearest ``n`` and the ``interval`` beside it."""
    own = metrics.get("n")
    n = own if isinstance(own, int) else n
    for key, value in metrics.items():
        if key in _NOT_METRICS:
            continue
        if isinstance(value, dict):
            yield from metric_rows(value, f"{prefix}{key} ", n)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield MetricRow(f"{prefix}{key}", float(value), n, _interval(metrics.get("interval")))


def _interval(value: Any) -> str:
    if (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(v, (int, float)) for v in value)
    ):
        return f"{value[0]:.4g} to {value[1]:.4g}"
    return ""


def _front_matter(metadata: PromptMetadata, rows: list[MetricRow], repo_id: str | None) -> dict[str, Any]:
    # The Hub knows PEFT's loading code and draws the tree of adapters from base_model.
    front: dict[str, Any] = {"library_name": "peft"}
    name = metadata.backbone_name
    if name and _HUB_ID.fullmatch(name):
        front |= {"base_model": name, "base_model_relation": "adapter"}
    front["tags"] = ["prompt-hub", "soft-prompt", "prompt-tuning"]
    if metadata.task and rows:
        task = _one_line(metadata.task)
        kind = "text-generation" if metadata.task_type in _GENERATION else "text-classification"
        front["model-index"] = [
            {
                "name": repo_id or f"soft-prompt-{metadata.prompt_hash}",
                "results": [
                    {
                        "task": {"type": kind},
                        # A "/" would name somebody's data set on the Hub.
                        "dataset": {"name": task, "type": task.replace("/", "-")},
                        "metrics": [
                            {
                                "type": _one_line(row.name).split(" ")[-1],
                                "value": row.value,
                                "name": _one_line(row.name),
                            }
                            for row in rows
                        ],
                    }
                ],
            }
        ]
    return front


def _facts(metadata: PromptMetadata) -> str:
    size = f"{metadata.prompt_len} x {metadata.hidden}" if metadata.hidden else str(metadata.prompt_len)
    facts = {
        "Backbone": metadata.backbone_name,
        "Revision": metadata.backbone.get("revision"),
        "Family": metadata.family,
        "Size (rows x width)": size,
        "Layout": metadata.layout,
        "Task": metadata.task,
        "Task type": metadata.task_type,
        "Label words": ", ".join(metadata.label_words),
        "Training data": ", ".join(f"{key} {value}" for key, value in metadata.data.items()),
        "Seed": metadata.seed,
        "Comes from": _origin(metadata.parent or {}),
        "Prompt hash": metadata.prompt_hash,
        "Made with": ", ".join(f"{key} {value}" for key, value in metadata.versions.items()),
        "Created": metadata.created,
    }
    return "\n".join(
        f"- {label}: {_escape(str(value))}" for label, value in facts.items() if value not in (None, "")
    )


def _origin(parent: dict[str, Any]) -> str:
    """The parent's facts; those of several parents after each other."""
    facts = [f"{key} {value}" for key, value in parent.items() if value and key != "parents"]
    parents = parent.get("parents")
    for one in parents if isinstance(parents, list) else []:
        if isinstance(one, dict):
            facts.append(" ".join(f"{key} {value}" for key, value in one.items() if value is not None))
    return ", ".join(facts)


def _table(rows: list[MetricRow]) -> str:
    lines = ["| metric | value | 95% interval | n |", "|---|---|---|---|"]
    for row in rows:
        count = "not recorded" if row.n is None else str(row.n)
        lines.append(f"| {_escape(row.name)} | {row.value:.4g} | {_escape(row.interval)} | {count} |")
    return "\n".join(lines)


def _usage(metadata: PromptMetadata, place: str) -> str:
    model_class = _MODEL_CLASSES.get(metadata.family or "", "AutoModel")
    base = _quote(metadata.backbone_name or "the backbone")
    hub = (
        "from prompt_hub.prompts.soft_prompt import SoftPrompt\n\n"
        f"prompt = SoftPrompt.from_pretrained({_quote(place)})"
    )
    peft = (
        f"from peft import PeftModel\nfrom transformers import {model_class}\n\n"
        f"model = {model_class}.from_pretrained({base})\n"
        f"model = PeftModel.from_pretrained(model, {_quote(place)})"
    )
    note = "PEFT puts the prompt in front of the text; template and label words are up to the caller."
    if metadata.layout == "paper" and metadata.family == "masked_lm":
        note = (
            "PEFT puts the prompt in front of the text as if it were text. This prompt was trained with the "
            "paper's layout (mask over row 0, no positions for the prompt): in PEFT it scores otherwise."
        )
    return f"{_fenced(hub)}\n\nWith PEFT alone:\n\n{_fenced(peft)}\n\n{note}"


def _fenced(code: str) -> str:
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{code}\n{fence}"


def _quote(text: str) -> str:
    return json.dumps(text)


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _escape(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    line = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", line)
