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

_SUFFIX = re.compile(r"_(trained|base_emotion|base_nli)$")
_NAME = re.compile(
    r"(?P<task>[A-Za-z0-9_]+?)Prompt"
    r"(?:_cross_model_(?P<source>[A-Za-z0-9]+)_to_(?P<target>[A-Za-z0-9]+)"
    r"|(?P<backbone>[A-Za-z0-9]+)(?P<variant>_[A-Za-z0-9]+)?)"
)


@dataclass(frozen=True)
class PaperName:
    task: str | None
    backbone: str
    family: str
    projected_from: str | None
    projected: bool


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
    source = BACKBONES.get(match["source"] or "")
    projected = (
        match["source"] is not None
        or match["variant"] in ("_proj", "_tanh")
        or (suffix is not None and suffix[1] != "trained")
    )
    return PaperName(TASKS.get(task), *target, source[0] if source else None, projected)
