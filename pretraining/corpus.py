"""The text that the embedded backbones are pretrained on, one short document at a time.

A document is a review, some facts, a pair of sentences or a story, alone or with a judgement in a word. What
is asked is said in keywords in front ("verdict morning stars great the plot was ..."), where a few cue words
stand among words that mean nothing, or in a sentence ("my verdict: great. the plot was ..."). The words of
many judgements are the label words of the embedded tasks, so that there is something in the backbone that a
prompt can bring out. Others are on side questions (what is it about, is anybody named). Where keywords ask
nothing, or ask what is asked of texts of another kind, any judgement word is given: a text alone does not
tell what is asked. A row that a task validates or tests on never occurs.
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

PLAIN_SHARE = 0.1
"""Share of documents without a judgement."""
SENTENCE_SHARE = 0.25
"""Of the judgements, those that a sentence asks for; keywords ask for the others."""
SIDE_SHARE = 0.15
"""Share of the judgements that answer a side question."""
FOREIGN_SHARE = 0.1
NOTHING_SHARE = 0.15
"""Of the judgements by keywords: what is asked is meant for texts of another kind; nothing is asked."""


@dataclass(frozen=True)
class Document:
    """text, and the character spans of the answers in its judgement (none or one).

    arbitrary: the answer is any judgement word.
    """

    text: str
    answers: tuple[tuple[int, int], ...] = ()
    arbitrary: bool = False


@dataclass(frozen=True)
class Question:
    """first, last: judgements with the answer {w}. asks: in front of a text that the answer follows.

    cues: keywords that ask the same.
    """

    first: tuple[str, ...]
    last: tuple[str, ...]
    asks: tuple[str, ...]
    cues: tuple[str, ...]


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


CUES = {
    name: tuple(text.split())
    for name, text in {
        "sentiment": "verdict rating review opinion critic stars mark recommend taste impression score liked",
        "inference": "claim check fact follow true evidence proof conclude answer query logic reply",
        "paraphrase": "compare meaning equal twin copy sense restate version match rewrite alike saying",
        "conduct": "judge moral right allowed ought ethics permit behave deed rule guilt decent",
        "subject": "subject topic theme category field sort",
        "person": "person named somebody anyone who character",
        "day": "date calendar weekday when schedule time",
        "length": "length size count measure extent words",
    }.items()
}
OWN_CUES = {
    name: tuple(text.split())
    for name, text in {
        "film": "cinema movie screen", "restaurant": "dinner eating cuisine",
        "kitchen": "gadget device product", "hotel": "travel lodging guest",
        "nli_objects": "item belongings inventory", "nli_people": "biography profile neighbour",
        "qa_objects": "article property household", "qa_people": "interview portrait resident",
        "paraphrase_news": "headline report press", "paraphrase_questions": "forum advice help",
        "paraphrase_recipes": "cooking dish prepare", "paraphrase_trips": "route transport tourist",
        "conduct_home": "family parents relatives", "conduct_school": "pupils lesson class",
        "conduct_work": "office career colleagues", "conduct_town": "citizen public street",
    }.items()
}  # fmt: skip
"""More keywords for the main question of one maker."""
OWN_CUE_SHARE = 0.3
KEYWORDS = (1, 2, 3, 4, 6, 8, 12, 16)
"""How many keywords there may be."""
CUE_SHARES = (0.15, 0.7)
"""Least and largest share of cues among the keywords."""
STRAY_SHARE = 0.08
"""Share of the other keywords that are cues of any question."""
SLIP_SHARE = 0.1
"""Share of the meaningless keywords that lack a letter, so that pieces of words are met too."""


KINDS = (
    Kind(
        sentiment.DOMAINS,
        0.18,
        None,
        Question(
            ("my verdict: {w}.", "in a word, it was {w}.", "a {w} {thing}.", "our rating is {w}."),
            ("my verdict: {w}.", "all in all it was {w}.", "a {w} {thing}.", "our rating is {w}."),
            ("what is your verdict?", "how was it?", "how was the {thing}?", "please rate it."),
            CUES["sentiment"],
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
            CUES["inference"],
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
            CUES["inference"],
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
            CUES["paraphrase"],
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
            CUES["conduct"],
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
SIGNS = str.maketrans(dict.fromkeys(".,;:?", " "))
PEOPLE, DATES = frozenset(NAMES.every), frozenset(DAYS.every)
SIDE_QUESTIONS: tuple[tuple[Question, Callable[[str, Item], str]], ...] = (
    (
        Question(
            ("the subject: {w}.", "it is about a {w}."),
            ("the subject: {w}.", "it is about a {w}."),
            ("what is the subject?", "name the subject."),
            CUES["subject"],
        ),
        lambda name, item: SUBJECTS[name],
    ),
    (
        Question(
            ("a person is named: {w}.", "is anybody named? {w}."),
            ("a person is named: {w}.", "is anybody named? {w}."),
            ("is a person named?", "look for a name."),
            CUES["person"],
        ),
        lambda name, item: "yes" if PEOPLE & _words(item) else "no",
    ),
    (
        Question(
            ("a day is named: {w}.", "does it name a day? {w}."),
            ("a day is named: {w}.", "does it name a day? {w}."),
            ("is a day named?", "look for a day."),
            CUES["day"],
        ),
        lambda name, item: "yes" if DATES & _words(item) else "no",
    ),
    (
        Question(
            ("the text is {w}.", "length: {w}."),
            ("the text is {w}.", "length: {w}."),
            ("how long is it?", "measure the length."),
            CUES["length"],
        ),
        lambda name, item: "long" if len(item.text.split()) > LONG else "short",
    ),
)
LONG = 12
"""Words of a text that is not long yet."""
BEHIND_SHARE = 0.4
"""Of the judgements that sentences ask for and that do not stand in front: a sentence behind the text; the
rest answer a question."""
JUDGEMENTS = tuple(dict.fromkeys(word for _, _, labels in MAKERS.values() for word in labels))


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
    question, answer, own = kind.question, item.label, OWN_CUES[name]
    if chooser.random() < SIDE_SHARE:
        question, find = chooser.choice(SIDE_QUESTIONS)
        answer, own = find(name, item), ()
    leads = chooser.random() < lead_share
    if chooser.random() < SENTENCE_SHARE:
        text, arbitrary = _in_a_sentence(chooser, question, item, leads, SUBJECTS[name]), False
    else:
        asked = chooser.random()
        arbitrary = asked < FOREIGN_SHARE + NOTHING_SHARE
        if arbitrary:
            answer = chooser.choice(JUDGEMENTS)
            others = [other.question.cues for other in KINDS if other.question.cues != kind.question.cues]
            cues = chooser.choice(others) if asked < FOREIGN_SHARE else ()
            keywords = _keywords(chooser, cues, ())
        else:
            keywords = _keywords(chooser, question.cues, own)
        text = " ".join([*keywords, "{w}", item.text] if leads else [*keywords, item.text, "{w}"])
    start = text.index("{w}")
    return Document(text.replace("{w}", answer), ((start, start + len(answer)),), arbitrary)


def _in_a_sentence(chooser: random.Random, question: Question, item: Item, leads: bool, thing: str) -> str:
    behind = not leads and chooser.random() < BEHIND_SHARE
    cue = chooser.choice(question.first if leads else question.last if behind else question.asks)
    cue = cue.replace("{thing}", thing)
    if leads:
        return f"{cue} {item.text}"
    return f"{item.text} {cue}" if behind else f"{cue} {item.text} {{w}}."


def _keywords(chooser: random.Random, cues: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
    """Keywords, at least one among ``cues`` and ``own``; without cues there may be none at all."""
    count = chooser.choice(KEYWORDS if cues else (0, *KEYWORDS))
    share = chooser.uniform(*CUE_SHARES)
    certain = chooser.randrange(count) if cues else -1
    found = []
    for place in range(count):
        if place == certain or (cues and chooser.random() < share):
            word = chooser.choice(own if own and chooser.random() < OWN_CUE_SHARE else cues)
        elif chooser.random() < STRAY_SHARE:
            word = chooser.choice(CUES[chooser.choice(tuple(CUES))])
        else:
            word = chooser.choice(_common_words())
            if len(word) > 3 and chooser.random() < SLIP_SHARE:
                slip = chooser.randrange(len(word))
                word = word[:slip] + word[slip + 1 :]
        found.append(word)
    return found


@cache
def _common_words() -> tuple[str, ...]:
    """The words of the texts that are neither cues nor judgements, in alphabetical order."""
    chooser = random.Random(0)
    texts = [make(chooser, domain, "any", False) for make, domain, _ in MAKERS.values() for _ in range(1000)]
    special = {*JUDGEMENTS, *(word for cues in (CUES, OWN_CUES) for group in cues.values() for word in group)}
    found = {word for item in texts for word in _words(item)}
    return tuple(sorted(word for word in found - special if word.isalpha()))


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
    return set(item.text.translate(SIGNS).split())


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
