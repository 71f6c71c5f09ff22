"""The neurons of stored prompts: does the prompt fit, under which layout, then the capture."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_hub.backbones.base import Backbone
from prompt_hub.backbones.ffn import FFNSite
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.neurons.capture import VALUES, Activations, Positions, capture_prompt
from prompt_hub.prompts.soft_prompt import SoftPrompt


def capture_stored(
    backbone: Backbone,
    prompt: SoftPrompt,
    *,
    layout: str | None = None,
    force: bool = False,
    positions: Positions = "read",
    values: Sequence[str] = VALUES,
    sites: Sequence[FFNSite] | None = None,
) -> tuple[Activations, list[str]]:
    """``capture_prompt`` of a stored prompt under its own layout, and warnings.

    Raises ``UserError`` when it belongs to another backbone or layout; ``force`` turns all but a wrong width
    into warnings.
    """
    prompt.check_fits(backbone.identity, None, force)
    used = layout_for(backbone.family, layout or (None if force else prompt.metadata.layout)).name
    warnings = prompt.check_fits(backbone.identity, used, force)
    found = capture_prompt(
        backbone, prompt.embeddings, layout=used, positions=positions, values=values, sites=sites
    )
    return found, warnings
