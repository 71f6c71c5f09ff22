"""The words that the generated texts are made of.

Every list is in two parts: ``Words.train`` is what training rows may use, ``Words.held`` is what validation
and test rows use. The text that the embedded backbones are pretrained on uses both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Part = Literal["train", "held", "any"]
T = TypeVar("T")

HELD_SHARE = 3
"""Every third entry of a list is held out of the training rows."""


@dataclass(frozen=True)
class Words(Generic[T]):
    """A list of words, phrases, templates or records, of which a third is held out."""

    every: tuple[T, ...]

    @property
    def train(self) -> tuple[T, ...]:
        return tuple(word for place, word in enumerate(self.every) if place % HELD_SHARE != HELD_SHARE - 1)

    @property
    def held(self) -> tuple[T, ...]:
        return tuple(word for place, word in enumerate(self.every) if place % HELD_SHARE == HELD_SHARE - 1)

    def of(self, part: Part) -> tuple[T, ...]:
        return self.every if part == "any" else self.train if part == "train" else self.held

    def pick(self, chooser: random.Random, part: Part, *without: T) -> T:
        """One entry of the part, other than those in ``without``."""
        while True:
            found = chooser.choice(self.of(part))
            if found not in without:
                return found


def words(text: str) -> Words[str]:
    """Words between white space; ``_`` stands for a space within one."""
    return Words(tuple(word.replace("_", " ") for word in text.split()))


def lines(text: str) -> Words[str]:
    """One entry a line."""
    return Words(tuple(line.strip() for line in text.strip().splitlines()))


def pairs(text: str) -> Words[tuple[str, ...]]:
    """Entries between white space, each of several forms between ``/``."""
    return Words(tuple(tuple(form.replace("_", " ") for form in word.split("/")) for word in text.split()))


WOMEN = words(
    "anna clara emma julia laura maria nina olga paula rosa sarah tina vera wanda zoe "
    "alice betty carla diana "
    "ella fiona grace hanna irene"
)
MEN = words(
    "adam boris carlo david erik felix georg henry ivan jonas karl leo marco noah oscar "
    "peter ralf simon thomas "
    "victor walter anton bruno daniel"
)
NAMES = Words(tuple(name for pair in zip(WOMEN.every, MEN.every, strict=True) for name in pair))
DAYS = words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = words("january february march april may june july august september october november december")
CITIES = words(
    "paris london madrid rome berlin vienna oslo prague lisbon dublin athens cairo lima "
    "boston chicago denver "
    "tokyo delhi sydney geneva hamburg milan porto warsaw"
)
COLOURS = words("red blue green yellow black white brown grey pink purple orange golden")
MATERIALS = words("wood steel glass plastic paper leather cotton stone clay copper silk rubber")
OBJECTS = words(
    "cup plate lamp chair table clock box basket bottle vase mirror carpet pillow blanket drum guitar piano "
    "bicycle tent rope ladder hammer brush bucket ring necklace hat coat scarf glove boot belt wallet bag "
    "umbrella camera radio phone pen pencil book map letter stamp"
)
PLACES = lines(
    """
    on the shelf
    in the drawer
    under the bed
    in the garage
    behind the door
    on the desk
    in the cellar
    near the window
    in the garden
    on the roof
    in the cupboard
    beside the sofa
    in the attic
    on the balcony
    under the stairs
    in the hall
    """
)
JOBS = words(
    "doctor teacher baker farmer lawyer pilot nurse singer painter plumber waiter barber driver gardener "
    "writer dentist tailor butcher sailor dancer cook clerk soldier engineer"
)
PETS = words("dog cat horse parrot rabbit hamster turtle goat snake canary pony hen")
FOODS = words(
    "pizza soup rice cheese fish salad bread noodles chicken chocolate apples honey beans "
    "mushrooms cake eggs "
    "olives pears"
)
HOBBIES = words("chess tennis football cycling fishing singing knitting skating dancing swimming hiking yoga")
