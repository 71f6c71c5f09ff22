"""What the tour takes where nothing else is asked for: under three minutes on two cores."""

from __future__ import annotations

BACKBONE = "mini-roberta"
TASKS = (
    "mini/film",
    "mini/kitchen",
    "mini/nli_objects",
    "mini/nli_people",
    "mini/paraphrase_news",
    "mini/paraphrase_trips",
    "mini/conduct_home",
    "mini/conduct_work",
)
"""Two of each type, so that every target has a source of its own type and sources of others."""

SEED = 42
PROMPT_LEN = 16
STEPS = 200
TRAIN_BATCH, EVAL_BATCH = 16, 32
TRAIN_ROWS, EVAL_ROWS = 1200, 200
HOLD_OUT = 40
"""Training rows that choose the checkpoint; the validation rows are only reported."""

WARM_STEPS = (5, 10, 20, 40)
"""After how many steps a warm start is compared with a start from scratch."""
