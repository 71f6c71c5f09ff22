"""Measured transfer as it is stored: a table in a file, or the folder of a transfer matrix."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prompt_hub.indicators.measured import from_tidy, read_scores
from prompt_hub.transfer.table import load_table


def measured_scores(place: str | Path) -> pd.DataFrame:
    """``[targets, sources]`` by task, the mean over seeds; NaN for cells that are not computed.

    place: a CSV (``indicators.measured.read_scores``), or a folder that ``prompt-hub matrix`` wrote.
    """
    path = Path(place)
    return from_tidy(load_table(path), str(path)) if path.is_dir() else read_scores(path)
