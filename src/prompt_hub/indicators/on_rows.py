"""What indicators share that run a source prompt on labelled rows of the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from prompt_hub.indicators.base import Context, Target
from prompt_hub.progress import track

if TYPE_CHECKING:
    from torch import Tensor

    from prompt_hub.encoding.encoder import Encoder
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.tasks import Split

OfRows = Callable[["Encoder", "Tensor", "Split", int], float]
"""A number from the encoder of the target, the source's embeddings ``[P, H]``, rows and a batch size."""


def for_pairs(of_rows: OfRows) -> Callable[..., np.ndarray]:
    """``Compute`` of it: the target's template and label words, the source's layout.

    NaN where the source was trained on the target's rows.
    """

    def compute(sources: Sequence[SoftPrompt], targets: Sequence[Target], context: Context) -> np.ndarray:
        from prompt_hub.evaluation.stored import fitting_encoder

        assert context.backbone is not None
        values = np.full((len(targets), len(sources)), np.nan)
        pairs = list(product(range(len(targets)), range(len(sources))))
        for row, column in track(pairs, "run prompts on target rows", len(pairs)):
            target, source = targets[row], sources[column]
            assert target.task is not None and target.rows is not None
            if source.hash not in target.seen_by:
                encoder, _ = fitting_encoder(context.backbone, source, target.task, context.layout)
                values[row, column] = of_rows(encoder, source.embeddings, target.rows, context.batch_size)
        return values

    return compute
