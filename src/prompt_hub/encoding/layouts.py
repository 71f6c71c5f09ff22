"""Layouts: where prompt, mask and text stand in the input, and what happens to positions.

A template says what text stands around a task's fields; the layout says where the soft prompt goes and is
stored with every prompt, because a prompt trained under one layout does not work under another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prompt_hub.backbones.base import Backbone, Placement
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.tasks.task import parse_template, template_problems


@dataclass(frozen=True)
class Layout:
    """name: as stored with prompts. families: which backbones it serves. placement: positions and mask."""

    name: str
    families: tuple[str, ...]
    placement: Placement = field(default_factory=Placement)

    def check_model(self, backbone: Backbone) -> None:
        """Raises ``UserError`` for a model that cannot place the prompt as the layout does."""
        if not backbone.takes(self.placement):
            raise UserError(
                f"Layout {self.name!r} is for BERT, RoBERTa, T5 and models built like them; backbone "
                f"{backbone.describe()} treats positions otherwise. Use {layout_for(backbone.family).name!r}."
            )


LAYOUTS = {
    layout.name: layout
    for layout in (
        # The seed's 2.0 order: soft prompt, [CLS], then the template (mask, text_a, text_b by default).
        Layout("prompt-mask-text", ("masked_lm",)),
        # Prompt, then the template; the label word is the next token (or the decoder's first word).
        Layout("prompt-text", ("causal_lm", "seq2seq_lm")),
        # The paper's 1.0 code: BERT and RoBERTa read the label over prompt row 0, the prompt has no
        # positions; T5 has the prompt in front. Texts are the task's paper segments, not its template.
        Layout("paper", ("masked_lm", "seq2seq_lm"), Placement(True, "none")),
    )
}


def known_layouts() -> list[str]:
    """Names that a stored prompt's layout can have."""
    return list(LAYOUTS)


def serves(name: str | None, family: str) -> bool:
    """Whether there is a layout of that name, and it is for the family."""
    return name in LAYOUTS and family in LAYOUTS[name].families


def layout_for(family: str, name: str | None = None) -> Layout:
    """The named layout, or the family's default. Raises ``UserError`` for one that does not fit."""
    if name is None:
        return next(layout for layout in LAYOUTS.values() if family in layout.families)
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    layout = LAYOUTS[name]
    if family not in layout.families:
        raise UserError(
            f"Layout {name!r} is for {', '.join(layout.families)} backbones, not for a {family}. "
            f"Use {layout_for(family).name!r}."
        )
    return layout


@dataclass(frozen=True)
class Part:
    """One piece of a template: fixed text, the mask, or a field with the text that leads into it."""

    kind: str
    text: str = ""


def template_parts(template: str, family: str, has_text_b: bool) -> list[Part]:
    """A template as parts, e.g. ``"{mask} {text_a}"`` as mask, then field text_a led in by a space.

    White space before a field belongs to the field (byte-level tokenizers write it into the first token);
    spaces before the mask are dropped. Raises ``UserError`` for a template that does not fit the family.
    """
    problems = template_problems(template, family, has_text_b)
    if problems:
        raise UserError(" ".join(problems))
    parts: list[Part] = []
    pieces = parse_template(template)
    lead = ""
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece == "{mask}":
            parts.append(Part("mask"))
        elif piece in ("{text_a}", "{text_b}"):
            parts.append(Part(piece[1:-1], lead))
            lead = ""
        else:
            if following == "{mask}":
                piece = piece.rstrip(" ")
            elif following:
                lead = piece[len(piece.rstrip()) :]
                piece = piece.rstrip()
            if piece:
                parts.append(Part("literal", piece))
    return parts
