"""Made-up matrices and the command are those of the rooms that test them."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("transfer", "cli")]
