"""Indicators from activated neurons: how alike two prompts drive the feed-forward layers of their backbone.

Su et al. 2022, section 6.1 (ON). Each prompt runs once, alone, with the paper's dummy input
(``neurons.capture``); labels are needed only where neurons are weighted by what they tell about the target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prompt_hub.errors import UserError
from prompt_hub.indicators.base import Context, Indicator, Needs, Target
from prompt_hub.progress import track

if TYPE_CHECKING:
    from prompt_hub.backbones.ffn import FFNSite
    from prompt_hub.prompts.soft_prompt import SoftPrompt

Layers = Callable[[int], Sequence[int]]
"""From the number of layers to those that are compared."""

_MEASURE_OF: dict[str, str] = {
    "on": "on",
    "on_last_third": "on",
    "neuron_jaccard": "jaccard",
    "neuron_top_k": "top_k",
    "neuron_cosine": "cosine",
    "neuron_correlation": "correlation",
    "skill_on": "on",
}
_SKILL = "skill_on"


def in_layers(indicator: Indicator, layers: str) -> Indicator:
    """The indicator on some layers: ``3-5`` or ``7``, numbered from 0."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", layers.strip())
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if indicator.name not in _MEASURE_OF or first > last:
        raise UserError(
            f"{indicator.name}:{layers} is no indicator. Layers follow an overlap of neurons "
            f"({', '.join(_MEASURE_OF)}) as FIRST-LAST or one number, such as on:3-5."
        )
    return replace(
        indicator,
        name=f"{indicator.name}:{layers.strip()}",
        title=f"{indicator.title}, layers {layers.strip()}",
        compute=_overlap(
            _MEASURE_OF[indicator.name], lambda count: range(first, last + 1), indicator.name == _SKILL
        ),
    )


def _overlap(measure: str, layers: Layers, skill: bool = False) -> Callable[..., np.ndarray]:
    """``Compute`` of a measure of ``neurons.overlap`` on some layers."""

    def compute(sources: Sequence[SoftPrompt], targets: Sequence[Target], context: Context) -> np.ndarray:
        from prompt_hub.neurons.capture import sites_for
        from prompt_hub.neurons.overlap import TOP_K, overlap

        assert context.backbone is not None
        sites = sites_for(context.backbone)
        neurons = _Captured(context, sites)
        chosen = list(layers(len(sites)))
        k = min(TOP_K, len(chosen) * sites[0].width)
        values = np.full((len(targets), len(sources)), np.nan)
        for row, target in enumerate(track(targets, "compare neurons", len(targets))):
            assert target.prompt is not None
            weights = _skill(target, sites, context) if skill else None
            own = neurons.of(target.prompt)
            for column, source in enumerate(sources):
                values[row, column] = overlap(
                    own, neurons.of(source), measure, layers=chosen, weights=weights, k=k
                )
        return values

    return compute


class _Captured:
    """The neurons of prompts, each run once."""

    def __init__(self, context: Context, sites: Sequence[FFNSite]) -> None:
        self._context, self._sites = context, sites
        self._held: dict[str, np.ndarray] = {}

    def of(self, prompt: SoftPrompt) -> np.ndarray:
        """``[L, F]``."""
        from prompt_hub.neurons.stored import capture_stored

        assert self._context.backbone is not None
        # Prompts of equal numbers under two layouts are two.
        key = f"{prompt.hash} {prompt.metadata.layout}"
        if key not in self._held:
            found, _ = capture_stored(
                self._context.backbone,
                prompt,
                layout=self._context.layout,
                values=("after",),
                sites=self._sites,
            )
            self._held[key] = found["after"].numpy()
        return self._held[key]


def _skill(target: Target, sites: Sequence[FFNSite], context: Context) -> np.ndarray:
    """``[L, F]``: how much each neuron tells about the target's classes under the target's own prompt.

    Half of the rows give the thresholds, the other half the accuracies.
    """
    from prompt_hub.evaluation.stored import fitting_encoder
    from prompt_hub.neurons.over_rows import predictivity
    from prompt_hub.neurons.overlap import skill_weights
    from prompt_hub.tasks.splits import hold_out

    assert context.backbone is not None
    assert target.prompt is not None and target.task is not None and target.rows is not None
    encoder, _ = fitting_encoder(context.backbone, target.prompt, target.task, context.layout)
    train, test = hold_out(target.rows, 0.5, maximum=len(target.rows))
    told = predictivity(
        encoder, target.prompt.embeddings, train, test, sites=sites, batch_size=context.batch_size
    )
    return skill_weights(told.numpy())


def _all(count: int) -> Sequence[int]:
    return range(count)


def _last_third(count: int) -> Sequence[int]:
    return range(count - max(1, count // 3), count)


def _indicator(name: str, title: str, formula: str, layers: Layers = _all) -> Indicator:
    skill = name == _SKILL
    return Indicator(
        name,
        title,
        formula,
        _overlap(_MEASURE_OF[name], layers, skill),
        Needs.TARGET_PROMPT | Needs.BACKBONE | (Needs.TARGET_ROWS if skill else Needs(0)),
        kinds=("classification",) if skill else Indicator.kinds,
    )


INDICATORS = (
    _indicator("on", "ON", "cosine of a > 0 and b > 0, neurons a and b of all layers"),
    _indicator("on_last_third", "ON, last third", "ON of the last third of the layers", _last_third),
    _indicator("neuron_jaccard", "Jaccard of neurons", "|a > 0 and b > 0| / |a > 0 or b > 0|"),
    _indicator("neuron_top_k", "Top neurons", "share of the 100 highest of a that are among those of b"),
    _indicator("neuron_cosine", "Cosine of neurons", "cos(a, b)"),
    _indicator("neuron_correlation", "Correlation of neurons", "Pearson's correlation of a and b"),
    _indicator(_SKILL, "Skill-weighted ON", "ON, each neuron weighted by how well it tells classes apart"),
)
