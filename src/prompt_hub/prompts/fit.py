"""Does a prompt belong to a backbone? Told from what is stored with it, both sides named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import PromptMetadata

if TYPE_CHECKING:
    from prompt_hub.backbones.base import BackboneIdentity


def check_fits(
    metadata: PromptMetadata, hidden: int, identity: BackboneIdentity, layout: str | None, force: bool
) -> list[str]:
    """Warnings; raises ``UserError`` when the prompt (of width ``hidden``) does not belong.

    Compared: width, family, embedding matrix, tokenizer, layout. An imported prompt may not know its
    backbone's hash: then the last part of the name decides (roberta-base is FacebookAI/roberta-base), and
    without a name too there is only a warning. ``force`` turns everything but the width into warnings.
    """
    both = f"This is a {metadata.describe()}; the backbone is {_describe(identity)}."
    if hidden != identity.hidden:
        raise UserError(
            f"{both} A prompt of width {hidden} cannot enter a model of width {identity.hidden}. Use the "
            "prompt's own backbone, or a projector to bring it into the other space."
        )
    problems, warnings = misfits(metadata, hidden, identity, layout)
    if not problems:
        return warnings
    if force:
        return warnings + [f"Used although {problem}." for problem in problems]
    raise UserError(
        f"{both} They do not fit: {'; '.join(problems)}. Use the prompt's own backbone and layout, or pass "
        "force to try it anyway."
    )


def misfits(
    metadata: PromptMetadata, hidden: int, identity: BackboneIdentity, layout: str | None
) -> tuple[list[str], list[str]]:
    """What speaks against using the prompt, and warnings about what is not known; never raises."""
    problems, warnings = _backbone(metadata, identity)
    if metadata.family and metadata.family != identity.family:
        problems.insert(0, f"families differ: prompt {metadata.family}, backbone {identity.family}")
    if hidden != identity.hidden:
        problems.insert(0, f"widths differ: prompt {hidden}, backbone {identity.hidden}")
    if layout is not None and metadata.layout is None:
        warnings.append(f"The prompt does not say which layout it was trained with; {layout!r} is used.")
    elif layout is not None and layout != metadata.layout:
        problems.append(
            f"layouts differ: the prompt was trained with {metadata.layout!r}, asked is {layout!r}"
        )
    return problems, warnings


def differences(first: PromptMetadata, second: PromptMetadata) -> list[str]:
    """What makes the numbers of two prompts incomparable, as far as both say it: another space or layout."""
    found = []
    hashes = [metadata.backbone.get("embedding_hash") for metadata in (first, second)]
    names = [metadata.backbone_name for metadata in (first, second)]
    if first.hidden != second.hidden:
        found.append(f"widths differ: {first.hidden} and {second.hidden}")
    if first.family and second.family and first.family != second.family:
        found.append(f"families differ: {first.family} and {second.family}")
    if all(hashes) and hashes[0] != hashes[1]:
        found.append(f"backbones differ: {names[0]!r} and {names[1]!r} have other input embeddings")
    elif not all(hashes) and names[0] and names[1] and _last_part(names[0]) != _last_part(names[1]):
        found.append(f"backbones differ: {names[0]!r} and {names[1]!r}")
    if first.layout and second.layout and first.layout != second.layout:
        found.append(f"layouts differ: {first.layout!r} and {second.layout!r}")
    return found


def _backbone(metadata: PromptMetadata, identity: BackboneIdentity) -> tuple[list[str], list[str]]:
    """Problems and warnings about which model the prompt was trained on."""
    stored = metadata.backbone.get("embedding_hash")
    if stored:
        if stored != identity.embedding_hash:
            return [f"input embeddings differ: prompt {stored}, backbone {identity.embedding_hash}"], []
        tokenizer = metadata.backbone.get("tokenizer_hash")
        if tokenizer and tokenizer != identity.tokenizer_hash:
            same = "only the tokenizer differs, the input embeddings are the same"
            return [f"{same}: prompt {tokenizer}, backbone {identity.tokenizer_hash}"], []
        return [], []
    name = metadata.backbone_name
    if name is None:
        return [], [
            f"Unverified: the prompt does not say which backbone it was trained on; only the width "
            f"({identity.hidden}) was compared with {identity.name}."
        ]
    if _last_part(name) != _last_part(identity.name):
        return [f"names differ: the prompt was trained on {name!r}, the backbone is {identity.name!r}"], []
    return [], []


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()


def _describe(identity: BackboneIdentity) -> str:
    return f"{identity.name!r} ({identity.family}, width {identity.hidden})"
