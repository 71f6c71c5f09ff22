"""All indicators by name. A new one is a file that makes an ``Indicator``, and its line here."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_hub.errors import UserError, unknown_name
from prompt_hub.indicators import embedding, features, neurons, proxies
from prompt_hub.indicators.base import Indicator, Needs

INDICATORS: dict[str, Indicator] = {
    indicator.name: indicator
    for indicator in (
        *embedding.INDICATORS,
        *neurons.INDICATORS,
        *features.INDICATORS,
        *proxies.INDICATORS,
    )
}
ALL = "all"


def get_indicator(name: str) -> Indicator:
    """By name or title; case, ``-`` and ``_`` do not matter (``C_avg``, ``c-avg``).

    ``on:3-5`` is an overlap of neurons in layers 3 to 5 only.
    """
    stem, _, layers = name.strip().partition(":")
    found = INDICATORS.get(stem.lower().replace("-", "_"))
    if found is None:
        raise unknown_name("indicator", name, INDICATORS)
    return neurons.in_layers(found, layers) if layers else found


def get_indicators(names: Iterable[str] | None = None) -> list[Indicator]:
    """The named ones in that order, ``all`` for every one; by default all that look at prompts only."""
    if names is None:
        return [each for each in INDICATORS.values() if each.needs == Needs.TARGET_PROMPT]
    found: list[Indicator] = []
    for name in names:
        found += INDICATORS.values() if name == ALL else [get_indicator(name)]
    found = list(dict.fromkeys(found))
    if not found:
        raise UserError(f"No indicator is named. Known: {', '.join(INDICATORS)}.")
    return found
