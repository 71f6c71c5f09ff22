"""Made-up facts about objects and people, with statements and questions about them.

Three classes: a statement follows from the facts (yes), contradicts them (no), or is left open (maybe). Two
classes: the passage answers a question (yes) or not (no). The same statements occur under every label, so
that nothing can be read from the statement alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from prompt_hub.mini.item import Item
from prompt_hub.mini.words import (
    CITIES,
    COLOURS,
    DAYS,
    FOODS,
    HOBBIES,
    JOBS,
    MATERIALS,
    MONTHS,
    NAMES,
    OBJECTS,
    PETS,
    PLACES,
    Part,
    Words,
    lines,
)

STATEMENT_LABELS = ("no", "maybe", "yes")
ANSWER_LABELS = ("no", "yes")
DOMAINS = ("objects", "people")


@dataclass(frozen=True)
class Attribute:
    """values; says: statements ({e} the entity, {v} the value); denies; asks: questions about it."""

    values: Words[str]
    says: Words[str]
    denies: Words[str]
    asks: Words[str]


OBJECT_ATTRIBUTES = {
    "colour": Attribute(
        COLOURS,
        lines("{e} is {v}\n the colour of {e} is {v}\n {e} has a {v} colour"),
        lines("{e} is not {v}\n the colour of {e} is not {v}\n {e} does not have a {v} colour"),
        lines("what colour is {e}?\n what is the colour of {e}?\n which colour does {e} have?"),
    ),
    "place": Attribute(
        PLACES,
        lines("{e} is {v}\n {e} stands {v}\n you can find {e} {v}"),
        lines("{e} is not {v}\n {e} does not stand {v}\n you cannot find {e} {v}"),
        lines("where is {e}?\n where does {e} stand?\n where can i find {e}?"),
    ),
    "owner": Attribute(
        NAMES,
        lines("{e} belongs to {v}\n {v} owns {e}\n the owner of {e} is {v}"),
        lines("{e} does not belong to {v}\n {v} does not own {e}\n the owner of {e} is not {v}"),
        lines("who owns {e}?\n whom does {e} belong to?\n who is the owner of {e}?"),
    ),
    "material": Attribute(
        MATERIALS,
        lines("{e} is made of {v}\n {e} consists of {v}\n the material of {e} is {v}"),
        lines("{e} is not made of {v}\n {e} does not consist of {v}\n the material of {e} is not {v}"),
        lines("what is {e} made of?\n what does {e} consist of?\n which material is {e}?"),
    ),
    "day": Attribute(
        DAYS,
        lines("{e} was bought on {v}\n somebody bought {e} on {v}\n {e} came from the shop on {v}"),
        lines("{e} was not bought on {v}\n nobody bought {e} on {v}\n {e} did not come from the shop on {v}"),
        lines("when was {e} bought?\n on which day did somebody buy {e}?\n when did {e} come from the shop?"),
    ),
}
PEOPLE_ATTRIBUTES = {
    "job": Attribute(
        JOBS,
        lines("{e} is a {v}\n {e} works as a {v}\n {e} earns money as a {v}"),
        lines("{e} is not a {v}\n {e} does not work as a {v}\n {e} does not earn money as a {v}"),
        lines("what is the job of {e}?\n what does {e} work as?\n how does {e} earn money?"),
    ),
    "city": Attribute(
        CITIES,
        lines("{e} lives in {v}\n the home of {e} is in {v}\n {e} has a flat in {v}"),
        lines("{e} does not live in {v}\n the home of {e} is not in {v}\n {e} does not have a flat in {v}"),
        lines("where does {e} live?\n where is the home of {e}?\n where does {e} have a flat?"),
    ),
    "pet": Attribute(
        PETS,
        lines("{e} has a {v}\n {e} keeps a {v}\n the pet of {e} is a {v}"),
        lines("{e} does not have a {v}\n {e} does not keep a {v}\n the pet of {e} is not a {v}"),
        lines("which animal does {e} have?\n what animal does {e} keep?\n what is the pet of {e}?"),
    ),
    "food": Attribute(
        FOODS,
        lines("{e} likes to eat {v}\n {e} is fond of {v}\n the favourite food of {e} is {v}"),
        lines("{e} does not like to eat {v}\n {e} is not fond of {v}\n the favourite food of {e} is not {v}"),
        lines("what does {e} like to eat?\n which food is {e} fond of?\n what is the favourite food of {e}?"),
    ),
    "hobby": Attribute(
        HOBBIES,
        lines("the hobby of {e} is {v}\n {e} enjoys {v}\n in the evening {e} practises {v}"),
        lines(
            "the hobby of {e} is not {v}\n {e} does not enjoy {v}\n in the evening {e} never practises {v}"
        ),
        lines("what is the hobby of {e}?\n what does {e} enjoy?\n what does {e} practise in the evening?"),
    ),
    "birthday": Attribute(
        MONTHS,
        lines("{e} was born in {v}\n the birthday of {e} is in {v}\n {e} has a party every {v}"),
        lines("{e} was not born in {v}\n the birthday of {e} is not in {v}\n {e} has no party in {v}"),
        lines("when was {e} born?\n when is the birthday of {e}?\n when does {e} have a party?"),
    ),
}
ATTRIBUTES = {"objects": OBJECT_ATTRIBUTES, "people": PEOPLE_ATTRIBUTES}
ENTITIES = {"objects": Words(tuple(f"the {word}" for word in OBJECTS.every)), "people": NAMES}


def _facts(chooser: random.Random, domain: str, part: Part, told: list[tuple[str, str, str]]) -> str:
    """One sentence a fact (entity, attribute, value), in random order."""
    told = list(told)
    chooser.shuffle(told)
    attributes = ATTRIBUTES[domain]
    return " ".join(attributes[name].says.pick(chooser, part).format(e=e, v=v) + "." for e, name, v in told)


def statement(chooser: random.Random, domain: str, part: Part = "any", short: bool = False) -> Item:
    """Two facts (short: one) and a statement about them; the label is one of ``STATEMENT_LABELS``."""
    label = chooser.choice(STATEMENT_LABELS)
    attributes = ATTRIBUTES[domain]
    entity = ENTITIES[domain].pick(chooser, part)
    asked, other, third = chooser.sample(sorted(attributes), 3)
    value = attributes[asked].values.pick(chooser, part)
    denied = chooser.random() < 0.25
    told = [] if short else [(entity, other, attributes[other].values.pick(chooser, part))]
    if label == "maybe":
        told.append((entity, third, attributes[third].values.pick(chooser, part)))
        if chooser.random() < 0.2:
            # The asked value is told of somebody or something else.
            told[-1] = (ENTITIES[domain].pick(chooser, part, entity), asked, value)
    elif (label == "yes") != denied:
        told.append((entity, asked, value))
    else:
        told.append((entity, asked, attributes[asked].values.pick(chooser, part, value)))
    template = (attributes[asked].denies if denied else attributes[asked].says).pick(chooser, part)
    return Item(
        _facts(chooser, domain, part, told),
        template.format(e=entity, v=value) + ".",
        label,
    )


def question(chooser: random.Random, domain: str, part: Part = "any", short: bool = False) -> Item:
    """A question and a passage of two facts (short: one).

    The label, one of ``ANSWER_LABELS``, says whether the passage answers the question.
    """
    label = chooser.choice(ANSWER_LABELS)
    attributes = ATTRIBUTES[domain]
    entity = ENTITIES[domain].pick(chooser, part)
    asked, other, third = chooser.sample(sorted(attributes), 3)
    told = [] if short else [(entity, other, attributes[other].values.pick(chooser, part))]
    if label == "yes":
        told.append((entity, asked, attributes[asked].values.pick(chooser, part)))
    elif chooser.random() < 0.25:
        somebody = ENTITIES[domain].pick(chooser, part, entity)
        told.append((somebody, asked, attributes[asked].values.pick(chooser, part)))
    else:
        told.append((entity, third, attributes[third].values.pick(chooser, part)))
    asks = attributes[asked].asks.pick(chooser, part).format(e=entity)
    return Item(asks, _facts(chooser, domain, part, told), label)
