"""Made-up reviews of films, restaurants, kitchen tools and hotels.

What a review finally says is what its main clause says: "although the plot was dull, the music was lovely"
is in favour. About half the reviews hold a clause of the other tone, some opinions are denied ("was not
dull"), so that the tone of single words says little.
"""

from __future__ import annotations

import random

from prompt_hub.mini.item import Item
from prompt_hub.mini.words import DAYS, MONTHS, Part, Words, lines, words

LABELS = ("terrible", "great")
DOMAINS = ("film", "restaurant", "kitchen", "hotel")

# Opinion words of either tone: adjectives.
GENERAL = (
    words(
        "awful bad poor weak dreadful annoying useless disappointing horrible unpleasant shabby pathetic "
        "miserable lousy mediocre frustrating ugly careless worthless sad inferior irritating dismal grim"
    ),
    words(
        "good lovely excellent wonderful superb pleasant delightful brilliant fantastic perfect charming "
        "splendid impressive admirable amazing remarkable beautiful fine enjoyable marvellous outstanding "
        "satisfying terrific stunning"
    ),
)
OWN = {
    "film": (
        words(
            "dull predictable boring confusing shallow clumsy slow tedious silly lifeless forgettable wooden"
        ),
        words(
            "gripping moving clever funny thrilling touching witty original tense magical honest hilarious"
        ),
    ),
    "restaurant": (
        words("stale soggy bland greasy burnt tasteless sour raw salty overpriced watery cold"),
        words("tasty fresh crisp juicy delicious tender creamy generous fragrant spicy savoury homemade"),
    ),
    "kitchen": (
        words("flimsy blunt leaky wobbly brittle rusty noisy unsafe sticky fragile crooked faulty"),
        words("sturdy sharp handy reliable solid durable practical light precise robust safe efficient"),
    ),
    "hotel": (
        words("dirty cramped damp smelly loud dark outdated dusty stuffy rude gloomy mouldy"),
        words("clean spacious comfortable quiet cosy bright modern sunny elegant friendly airy peaceful"),
    ),
}
ASPECTS = {
    "film": words(
        "plot acting camera_work dialogue music ending script editing lead_actor cast opening_scene story "
        "costumes soundtrack final_scene director humour pacing"
    ),
    "restaurant": words(
        "soup steak dessert salad wine service waiter menu fish bread sauce pasta coffee table kitchen "
        "starter portion chef"
    ),
    "kitchen": words(
        "handle blade lid motor coating timer kettle base switch manual mixer knife toaster grater cable "
        "filter spoon scale"
    ),
    "hotel": words(
        "room bed bathroom breakfast view pool lobby staff shower lift balcony reception carpet towel "
        "corridor garden bar location"
    ),
}
OPENINGS = {
    "film": lines(
        """
        we saw it on {day}.
        i watched this twice.
        my friends took me along.
        it runs for two hours.
        it came out in {month}.
        we rented it last night.
        """
    ),
    "restaurant": lines(
        """
        we ate there on {day}.
        i booked a table for four.
        my parents invited us.
        it is near the station.
        it opened in {month}.
        we went there after work.
        """
    ),
    "kitchen": lines(
        """
        i bought it on {day}.
        we use it every morning.
        it was a present.
        it came in a small box.
        i ordered it in {month}.
        my sister has one too.
        """
    ),
    "hotel": lines(
        """
        we arrived on {day}.
        i stayed for two nights.
        my company booked it.
        it is close to the beach.
        we spent a week there in {month}.
        we had a double room.
        """
    ),
}
CLAUSES = lines(
    """
    the {aspect} was {opinion}
    the {aspect} was really {opinion}
    i found the {aspect} {opinion}
    the {aspect} seemed {opinion}
    the {aspect} turned out to be {opinion}
    we thought the {aspect} was {opinion}
    """
)
DENIALS = lines(
    """
    the {aspect} was not {opinion}
    the {aspect} was never {opinion}
    nobody could call the {aspect} {opinion}
    """
)
SAME = lines(
    """
    {main} and {more}.
    {main}; also, {more}.
    not only this: {main} and {more}.
    {main}, and also {more}.
    {more}, {main}.
    {main}; besides, {more}.
    """
)
# main decides, other is of the other tone.
CONTRAST = lines(
    """
    {other}, but {main}.
    although {other}, {main}.
    {main}, even though {other}.
    {other}; still, {main}.
    while {other}, {main}.
    {main}, although {other}.
    """
)


def _clause(chooser: random.Random, domain: str, part: Part, tone: int, aspect: str) -> str:
    denied = chooser.random() < 0.2
    said = 1 - tone if denied else tone
    pool = GENERAL if chooser.random() < 0.5 else OWN[domain]
    template = (DENIALS if denied else CLAUSES).pick(chooser, part)
    return template.format(aspect=aspect, opinion=pool[said].pick(chooser, part))


def review(chooser: random.Random, domain: str, part: Part = "any", short: bool = False) -> Item:
    """One review of a domain, of one or two clauses (short: of one); its label is one of ``LABELS``."""
    tone = chooser.randrange(2)
    aspects: Words[str] = ASPECTS[domain]
    first = aspects.pick(chooser, part)
    second = aspects.pick(chooser, part, first)
    main = _clause(chooser, domain, part, tone, first)
    contrast = not short and chooser.random() < 0.5
    aside = _clause(chooser, domain, part, 1 - tone if contrast else tone, second)
    if short:
        text = f"{main}."
    else:
        text = (CONTRAST if contrast else SAME).pick(chooser, part).format(main=main, other=aside, more=aside)
    if chooser.random() < 0.6:
        opening = OPENINGS[domain].pick(chooser, part)
        text = f"{opening} {text}".format(day=DAYS.pick(chooser, part), month=MONTHS.pick(chooser, part))
    return Item(text, None, LABELS[tone])
