"""Indicators: numbers that predict transfer from one prompt or task to another."""

from prompt_hub.indicators.base import Context, Indicator, Needs, Target, live_rows
from prompt_hub.indicators.compare import compare
from prompt_hub.indicators.measured import read_scores
from prompt_hub.indicators.registry import INDICATORS, get_indicator
from prompt_hub.indicators.validation import PROTOCOLS, agreement, validate

__all__ = [
    "INDICATORS",
    "PROTOCOLS",
    "Context",
    "Indicator",
    "Needs",
    "Target",
    "agreement",
    "compare",
    "get_indicator",
    "live_rows",
    "read_scores",
    "validate",
]
