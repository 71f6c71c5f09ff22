"""What the names of the paper's released prompts say (thunlp/Prompt-Transferability, 1.0).

``SST2PromptRoberta`` is task, the word Prompt, backbone; ``laptopPrompt_cross_model_T5_to_Roberta`` was
projected from one backbone to another; ``_base_nli``, ``_proj`` and the like name a projector.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TASKS = {
    "IMDB": "imdb",
    "SST2": "sst2",
    "laptop": "semeval14_laptop",
    "restaurant": "semeval14_restaurant",
    "movierationales": "movie_rationales",
    "movie": "movie_rationales",
    "tweetevalsentiment": "tweeteval_sentiment",
    "MNLI": "mnli",
    "QNLI": "qnli",
    "snli": "snli",
    "recastner": "recast_ner",
    "ethicsdeontology": "ethics_deontology",
    "ethicsjustice": "ethics_justice",
    "QQP": "qqp",
    "MRPC": "mrpc",
    "squad": "squad",
    "nq_open": "nq_open",
    "multi_news": "multi_news",
    "samsum": "samsum",
}
"""The paper's task names and the registry's. ``random`` is no task: it is the untrained baseline."""

BACKBONES = {
    "Bert": ("bert-base-uncased", "masked_lm"),
    "Roberta": ("roberta-base", "masked_lm"),
    "RobertaLarge": ("roberta-large", "masked_lm"),
    "T5": ("t5-base", "seq2seq_lm"),
    "T5Small": ("t5-small", "seq2seq_lm"),
}

FILES = {
    "bert-base": BACKBONES["Bert"],
    **{name: (name, family) for name, family in BACKBONES.values()},
}
"""Names of files that hold the prompts of one backbone, and that backbone."""

_SUFFIX = re.compile(r"_(trained|base_emotion|base_nli)$")
_NAME = re.compile(
    r"(?P<task>[A-Za-z0-9_]+?)Prompt"
    r"(?:_(?P<cross>cross_model_(?P<source>[A-Za-z0-9]+)_to_(?P<target>[A-Za-z0-9]+))"
    r"|(?P<backbone>[A-Za-z0-9]+)(?:_(?P<variant>[A-Za-z0-9]+))?)"
)
_PROJECTED = {"base_emotion", "base_nli", "proj", "tanh"}


@dataclass(frozen=True)
class PaperName:
    """task: in the registry's words, None for ``random``. backbone, family: what the prompt is for.

    variant: what tells it from the task's own prompt, such as ``trained``, ``base_nli``, ``proj``, ``127`` or
    ``cross_model_T5_to_Roberta``. projected: by a projector. projected_from: the backbone that it came from.
    """

    task: str | None
    backbone: str
    family: str
    projected_from: str | None
    projected: bool
    variant: str | None = None


_TASKS_OF_KEYS = {name.lower(): task for name, task in TASKS.items()} | {
    task: task for task in TASKS.values()
}


def task_of_key(key: str) -> str | None:
    """The registry's task that a file's key names, in the paper's words or the registry's, in any case."""
    return _TASKS_OF_KEYS.get(key.lower())


def parse_paper_name(name: str) -> PaperName | None:
    """None for a name that the paper's authors did not give."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    target = BACKBONES.get(match["target"] or match["backbone"])
    task = _SUFFIX.sub("", match["task"])
    if target is None or (task not in TASKS and task != "random"):
        return None
    suffix = _SUFFIX.search(match["task"])
    variants = [part for part in (suffix and suffix[1], match["variant"], match["cross"]) if part]
    source = BACKBONES.get(match["source"] or "")
    return PaperName(
        task=TASKS.get(task),
        backbone=target[0],
        family=target[1],
        projected_from=source[0] if source else None,
        projected=match["cross"] is not None or not _PROJECTED.isdisjoint(variants),
        variant=" ".join(variants) or None,
    )
