"""The text that the embedded backbones are pretrained on, one short document at a time.

A document is a review, some facts, a pair of sentences or a story, alone or with a judgement in words: in
front ("my verdict: great. the plot was ..."), behind, or behind with a question in front. The words of many
judgements are the label words of the embedded tasks, so that there is something in the backbone that a prompt
can bring out. Others are on side questions (what is it about, is anybody named), so that the text alone does
not tell which question is asked. A row that a task validates or tests on never occurs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from prompt_hub.mini import conduct, inference, paraphrase, sentiment
from prompt_hub.mini.generator import MAKERS, rows
from prompt_hub.mini.item import Item
from prompt_hub.mini.words import DAYS, NAMES

PLAIN_SHARE = 0.15
"""Share of documents without a judgement."""


@dataclass(frozen=True)
class Document:
    """text, and the character spans of the label words in its judgement (none or one).

    leads: the judgement stands before what it judges.
    """

    text: str
    answers: tuple[tuple[int, int], ...] = ()
    leads: bool = False


@dataclass(frozen=True)
class Question:
    """first, last: judgements with the answer {w}. asks: in front of a text that the answer follows."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    asks: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """Documents of one type.

    names: the makers. share: of all documents. plain: the label of those without a judgement, and how often
    it is this one. question: the one that the labels answer.
    """

    names: tuple[str, ...]
    share: float
    plain: tuple[str, float] | None
    question: Question


KINDS = (
    Kind(
        sentiment.DOMAINS,
        0.18,
        None,
        Question(
            ("my verdict: {w}.", "in a word, it was {w}.", "a {w} {thing}.", "our rating is {w}."),
            ("my verdict: {w}.", "all in all it was {w}.", "a {w} {thing}.", "our rating is {w}."),
            ("what is your verdict?", "how was it?", "how was the {thing}?", "please rate it."),
        ),
    ),
    Kind(
        tuple(f"nli_{name}" for name in inference.DOMAINS),
        0.22,
        ("yes", 1.0),
        Question(
            ("is the last sentence true? {w}.", "does it follow? {w}.", "the claim is checked: {w}."),
            ("is the last sentence true? {w}.", "does it follow? {w}.", "is that right? {w}."),
            ("check the last sentence.", "does the end follow from the rest?", "facts and a claim."),
        ),
    ),
    Kind(
        tuple(f"qa_{name}" for name in inference.DOMAINS),
        0.12,
        ("yes", 1.0),
        Question(
            ("is the question answered? {w}.", "does it answer that? {w}.", "is there an answer? {w}."),
            ("is the question answered? {w}.", "does it answer that? {w}.", "is that an answer? {w}."),
            ("is the question answered here?", "check the answer.", "a question and a passage."),
        ),
    ),
    Kind(
        tuple(f"paraphrase_{name}" for name in paraphrase.DOMAINS),
        0.26,
        ("same", 1.0),
        Question(
            ("the meaning is {w}.", "two sentences, {w} sense.", "compared: {w}."),
            ("the meaning is {w}.", "the two are {w}.", "compared: {w}."),
            ("compare the two.", "is the meaning equal?", "two sentences to compare."),
        ),
    ),
    Kind(
        tuple(f"conduct_{name}" for name in conduct.DOMAINS),
        0.22,
        ("fine", 0.9),
        Question(
            ("that was {w}.", "judged as {w}.", "i call it {w}."),
            ("that was {w}.", "people judged it as {w}.", "i call it {w}."),
            ("judge this.", "may one do so?", "a question of conduct."),
        ),
    ),
)
SHORT_SHARE = 0.5
"""Share of the texts that are of the simplest form of their kind."""
SUBJECTS = {
    "film": "film", "restaurant": "meal", "kitchen": "tool", "hotel": "stay", "nli_objects": "thing",
    "qa_objects": "thing", "nli_people": "person", "qa_people": "person", "paraphrase_news": "event",
    "paraphrase_questions": "advice", "paraphrase_recipes": "recipe", "paraphrase_trips": "journey",
    "conduct_home": "family", "conduct_school": "school", "conduct_work": "job", "conduct_town": "town",
}  # fmt: skip
SIDE_SHARE = 0.35
"""Share of the judgements that answer a side question."""
PEOPLE, DATES = frozenset(NAMES.every), frozenset(DAYS.every)
SIDE_QUESTIONS: tuple[tuple[Question, Callable[[str, Item], str]], ...] = (
    (
        Question(
            ("the subject: {w}.", "it is about a {w}."),
            ("the subject: {w}.", "it is about a {w}."),
            ("what is the subject?", "name the subject."),
        ),
        lambda name, item: SUBJECTS[name],
    ),
    (
        Question(
            ("a person is named: {w}.", "is anybody named? {w}."),
            ("a person is named: {w}.", "is anybody named? {w}."),
            ("is a person named?", "look for a name."),
        ),
        lambda name, item: "yes" if PEOPLE & _words(item) else "no",
    ),
    (
        Question(
            ("a day is named: {w}.", "does it name a day? {w}."),
            ("a day is named: {w}.", "does it name a day? {w}."),
            ("is a day named?", "look for a day."),
        ),
        lambda name, item: "yes" if DATES & _words(item) else "no",
    ),
    (
        Question(
            ("the text is {w}.", "length: {w}."),
            ("the text is {w}.", "length: {w}."),
            ("how long is it?", "measure the length."),
        ),
        lambda name, item: "long" if len(item.text.split()) > LONG else "short",
    ),
)
LONG = 12
"""Words of a text that is not long yet."""
BEHIND_SHARE = 0.4
"""Of the judgements that do not stand in front: a sentence behind the text; the rest answer a question."""


def document(seed: int, index: int, lead_share: float) -> Document:
    """Document number ``index`` of the corpus with this seed.

    lead_share: how many of the judgements stand in front. Masked LMs read both ways and get many; a model
    that reads from left to right learns nothing from them and gets few.
    """
    chooser = random.Random(f"{seed} {index}")
    kind = chooser.choices(KINDS, [kind.share for kind in KINDS])[0]
    name = chooser.choice(kind.names)
    if chooser.random() < PLAIN_SHARE:
        only = kind.plain is not None and chooser.random() < kind.plain[1]
        return Document(_item(chooser, name, kind.plain[0] if only and kind.plain else None).text)
    item = _item(chooser, name, None)
    question, answer = kind.question, item.label
    if chooser.random() < SIDE_SHARE:
        question, find = chooser.choice(SIDE_QUESTIONS)
        answer = find(name, item)
    where = chooser.random()
    leads = where < lead_share
    behind = not leads and where < lead_share + BEHIND_SHARE * (1 - lead_share)
    cue = chooser.choice(question.first if leads else question.last if behind else question.asks)
    cue = cue.replace("{thing}", SUBJECTS[name])
    if leads:
        text = f"{cue} {item.text}"
    elif behind:
        text = f"{item.text} {cue}"
    else:
        text = f"{cue} {item.text} {{w}}."
    start = text.index("{w}")
    return Document(text.replace("{w}", answer), ((start, start + len(answer)),), leads)


def documents(seed: int, count: int, lead_share: float) -> Iterator[Document]:
    """The first ``count`` documents."""
    return (document(seed, index, lead_share) for index in range(count))


def fingerprint(texts: Iterable[str]) -> str:
    """sha256 of the texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _words(item: Item) -> set[str]:
    return set(item.text.replace(".", " ").replace(",", " ").replace("?", " ").split())


def _item(chooser: random.Random, name: str, wanted: str | None) -> Item:
    make, domain, _ = MAKERS[name]
    short = chooser.random() < SHORT_SHARE
    glossary = short and make is paraphrase.pair and chooser.random() < 0.7
    while True:
        item = paraphrase.phrases(chooser, domain) if glossary else make(chooser, domain, "any", short)
        if (wanted is None or item.label == wanted) and item.text not in _kept_out():
            return item


@cache
def _kept_out() -> frozenset[str]:
    """Every validation and test row of every task."""
    return frozenset(
        item.text for name in MAKERS for split in ("validation", "test") for item in rows(name, split)
    )
