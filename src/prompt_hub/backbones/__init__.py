"""Frozen language models behind one interface, a file a family."""

from prompt_hub.backbones.base import Backbone, BackboneIdentity, Batch, MixedPrompts, Placement
from prompt_hub.backbones.load import load_backbone, register_backbone

__all__ = [
    "Backbone",
    "BackboneIdentity",
    "Batch",
    "MixedPrompts",
    "Placement",
    "load_backbone",
    "register_backbone",
]
