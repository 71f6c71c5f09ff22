"""Measured transfer as it is stored: a CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prompt_hub.errors import UserError
from prompt_hub.indicators.measured import read_scores


def measured_scores(place: str | Path) -> pd.DataFrame:
    """``[targets, sources]`` scores, see ``indicators.measured.read_scores``."""
    path = Path(place)
    if path.is_dir():
        raise UserError(
            f"{path} is a folder. Name a CSV of scores, with targets in rows and sources in columns."
        )
    return read_scores(path)
