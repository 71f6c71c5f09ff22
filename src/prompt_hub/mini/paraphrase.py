"""Pairs of sentences that say the same in other words, or something else in almost the same words."""

from __future__ import annotations

import random
from dataclasses import dataclass

from prompt_hub.mini.item import Item
from prompt_hub.mini.words import CITIES, DAYS, NAMES, Part, Words, lines, pairs

LABELS = ("different", "same")
DOMAINS = ("news", "questions", "recipes", "trips")


@dataclass(frozen=True)
class Frame:
    """templates: ways to say one thing. slots: their values, each with one or more synonyms."""

    templates: Words[str]
    slots: dict[str, Words[tuple[str, ...]]]


def _single(values: Words[str]) -> Words[tuple[str, ...]]:
    return Words(tuple((value,) for value in values.every))


def _phrases(text: str) -> Words[tuple[str, ...]]:
    return _single(lines(text))


FRAMES = {
    "news": Frame(
        lines(
            """
            {who} {did} {what} on {when}.
            on {when} {who} {did} {what}.
            {what} was {did} by {who} on {when}.
            on {when} {what} was {did} by {who}.
            it was {who} who {did} {what} on {when}.
            it was on {when} that {who} {did} {what}.
            """
        ),
        {
            "who": pairs(
                "the_mayor the_company/the_firm the_minister the_police the_club/the_team the_president "
                "the_doctor/the_physician the_lawyer/the_attorney the_king the_museum the_army the_church "
                "the_bank the_university the_council"
            ),
            "did": pairs(
                "opened bought/purchased closed/shut repaired/fixed built/constructed painted "
                "destroyed/ruined cleaned moved/relocated praised/applauded criticised/blamed visited "
                "inspected/examined sold rented/hired"
            ),
            "what": pairs(
                "the_bridge the_school the_shop/the_store the_hospital/the_clinic the_station the_tower "
                "the_road/the_street the_park the_theatre the_factory/the_plant the_airport the_library "
                "the_harbour/the_port the_stadium the_prison/the_jail"
            ),
            "when": _single(DAYS),
        },
    ),
    "questions": Frame(
        lines(
            """
            how can i {do} {what} {where}?
            what is the best way to {do} {what} {where}?
            how do you {do} {what} {where}?
            is there a way to {do} {what} {where}?
            what should i do to {do} {what} {where}?
            can you tell me how to {do} {what} {where}?
            """
        ),
        {
            "do": pairs(
                "clean/wash repair/fix sell buy/purchase paint build/construct hide/conceal carry/transport "
                "choose/select open close/shut protect/guard find/locate throw_away/dispose_of move"
            ),
            "what": pairs(
                "a_car/an_automobile a_bicycle/a_bike a_sofa/a_couch a_picture/a_photo a_fence a_boat/a_ship "
                "a_computer a_gift/a_present a_carpet/a_rug a_stone/a_rock a_window a_coat/a_jacket a_lamp "
                "a_mirror a_statue"
            ),
            "where": _phrases(
                "at home\n in winter\n without money\n in the rain\n at night\n in a hurry\n by myself\n"
                " in a small flat\n on a holiday"
            ),
        },
    ),
    "recipes": Frame(
        lines(
            """
            {do} the {food} {how} for {long} minutes.
            the {food} should be {done} {how} for {long} minutes.
            for {long} minutes, {do} the {food} {how}.
            take the {food} and {do} it {how} for {long} minutes.
            for {long} minutes the {food} must be {done} {how}.
            {do} it {how} for {long} minutes: the {food}.
            """
        ),
        {
            # A verb and its participle, for {do} and {done}: two forms, not synonyms.
            "verb": pairs(
                "boil/boiled fry/fried stir/stirred bake/baked mix/mixed roast/roasted steam/steamed "
                "grill/grilled knead/kneaded"
            ),
            "food": pairs(
                "dough beef potato/spud onion rice cabbage aubergine/eggplant courgette/zucchini pumpkin "
                "prawn/shrimp carrot sausage turkey tomato lentil/pulse"
            ),
            "how": _phrases(
                "in a pan\n in the oven\n with a spoon\n in hot water\n with some butter\n over a fire\n"
                " under a cloth\n with a little salt\n in a bowl"
            ),
            "long": _phrases("two\n five\n ten\n three\n twenty\n thirty\n four\n forty\n six"),
        },
    ),
    "trips": Frame(
        lines(
            """
            {who} travels from {start} to {goal} {how}.
            {who} goes to {goal} from {start} {how}.
            from {start} {who} travels to {goal} {how}.
            to {goal} {who} goes from {start} {how}.
            {how} {who} travels from {start} to {goal}.
            the trip of {who} leads from {start} to {goal} {how}.
            """
        ),
        {
            "who": _single(NAMES),
            "start": _single(CITIES),
            "goal": _single(CITIES),
            "how": pairs(
                "by_car/by_automobile by_train/by_rail by_plane/by_air by_ship/by_boat by_bus/by_coach "
                "on_foot/walking on_horseback by_bicycle/by_bike by_taxi/by_cab"
            ),
        },
    ),
}


def _said(chooser: random.Random, template: str, meaning: dict[str, tuple[str, ...]]) -> str:
    forms = {slot: chooser.choice(value) for slot, value in meaning.items()}
    if "verb" in meaning:
        forms["do"], forms["done"] = meaning["verb"]
    return template.format(**forms)


def _change(
    chooser: random.Random, domain: str, part: Part, meaning: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The meaning with one or more of its slots exchanged."""
    slots = FRAMES[domain].slots
    other = dict(meaning)
    for slot in chooser.sample(sorted(meaning), chooser.randint(1, len(meaning))):
        other[slot] = slots[slot].pick(chooser, part, *meaning.values(), *other.values())
    return other


def phrases(chooser: random.Random, domain: str) -> Item:
    """One to three phrases beside their synonyms, or beside others: what a glossary holds."""
    label = chooser.choice(LABELS)
    slots = FRAMES[domain].slots
    meaning = {slot: slots[slot].pick(chooser, "any") for slot in chooser.sample(sorted(slots), 3)}
    meaning = dict(list(meaning.items())[: chooser.randint(1, 3)])
    other = meaning if label == "same" else _change(chooser, domain, "any", meaning)
    texts = [", ".join(chooser.choice(forms) for forms in said.values()) + "." for said in (meaning, other)]
    return Item(texts[0], texts[1], label)


def pair(chooser: random.Random, domain: str, part: Part = "any", short: bool = False) -> Item:
    """Two sentences, built differently (short: alike); the label says whether they mean the same."""
    label = chooser.choice(LABELS)
    meaning: dict[str, tuple[str, ...]] = {}
    for slot, values in FRAMES[domain].slots.items():
        # Nobody travels to where they are.
        meaning[slot] = values.pick(chooser, part, *meaning.values())
    other = meaning
    if label == "different":
        other = _change(chooser, domain, part, meaning)
        if domain == "trips" and chooser.random() < 0.15:
            other = {**meaning, "start": meaning["goal"], "goal": meaning["start"]}
    templates = FRAMES[domain].templates
    first = templates.pick(chooser, part)
    second = first if short else templates.pick(chooser, part, first)
    return Item(_said(chooser, first, meaning), _said(chooser, second, other), label)
