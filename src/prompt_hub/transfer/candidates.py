"""Which of the prompts in a place can be a source for a target, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prompt_hub.backbones.base import Backbone, BackboneIdentity
from prompt_hub.encoding.layouts import layout_for
from prompt_hub.errors import UserError
from prompt_hub.indicators.compare import task_types
from prompt_hub.indicators.measured import task_of
from prompt_hub.prompts.collection import Collection
from prompt_hub.prompts.fit import differences, misfits
from prompt_hub.prompts.soft_prompt import SoftPrompt

Check = Callable[[SoftPrompt], tuple[list[str], list[str]]]
"""Of a prompt: what speaks against using it, and warnings."""


@dataclass(frozen=True)
class Candidate:
    """name: the place below the folder, or the key in the file."""

    name: str
    prompt: SoftPrompt

    @property
    def task(self) -> str:
        return task_of(self.prompt.metadata.task or self.name)

    @property
    def task_type(self) -> str | None:
        """As far as the prompt or the registry knows one."""
        return task_types({self.name: self.prompt}).get(self.task)


@dataclass(frozen=True)
class LeftOut:
    """foreign: it does not belong here (damaged, another backbone or layout), which ``strict`` objects to."""

    name: str
    reason: str
    foreign: bool


@dataclass
class Candidates:
    """found: in the order of their names. left_out: all others, with reasons."""

    place: Path
    found: list[Candidate]
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def leave_out(self, reasons: dict[str, str], foreign: bool = False) -> None:
        """Moves the named ones to those left out; ``UserError`` if none remains."""
        self.left_out += [LeftOut(name, reason, foreign) for name, reason in reasons.items()]
        self.found = [each for each in self.found if each.name not in reasons]
        if not self.found:
            raise UserError(f"No prompt in {self.place} can be a source. {self._reasons(self.left_out)}")

    def check_strict(self) -> None:
        """``UserError`` for prompts that do not belong here."""
        foreign = [each for each in self.left_out if each.foreign]
        if foreign:
            raise UserError(
                f"{len(foreign)} prompt(s) in {self.place} do not fit. {self._reasons(foreign)} Remove them, "
                "or leave --strict out to rank the others."
            )

    @staticmethod
    def _reasons(left_out: Sequence[LeftOut]) -> str:
        shown = " ".join(f"{each.name}: {each.reason}." for each in left_out[:5])
        more = len(left_out) - 5
        return f"{shown} And {more} more." if more > 0 else shown


def gather(
    collection: Collection, target: str, check: Check, *, strict: bool = False, without: Iterable[str] = ()
) -> Candidates:
    """The prompts of ``collection`` that pass ``check`` and are not of the target's own task.

    without: hashes of prompts that are no candidates (the reference). strict: ``UserError`` where a prompt
    is damaged or fails the check.
    """
    known = set(without)
    candidates = Candidates(
        collection.place, [Candidate(*item) for item in sorted(collection.prompts.items())]
    )
    candidates.left_out = [LeftOut(name, why, True) for name, why in collection.damaged.items()]
    misfit = {}
    for each in candidates.found:
        problems, warnings = check(each.prompt)
        if problems:
            misfit[each.name] = "; ".join(problems)
        else:
            candidates.warnings += [f"{each.name}: {warning}" for warning in warnings]
    if strict:
        candidates.left_out += [LeftOut(name, why, True) for name, why in misfit.items()]
        candidates.check_strict()
    candidates.leave_out(misfit, foreign=True)
    candidates.leave_out(
        {
            each.name: "it is the reference" if each.prompt.hash in known else "it is the target's own"
            for each in candidates.found
            if each.prompt.hash in known or each.task == task_of(target)
        }
    )
    return candidates


def fits_backbone(identity: BackboneIdentity, layout: str) -> Check:
    return lambda prompt: misfits(prompt.metadata, prompt.hidden, identity, layout)


def like(reference: SoftPrompt, same_length: bool) -> Check:
    """Prompts whose numbers can be compared with those of ``reference``."""

    def check(prompt: SoftPrompt) -> tuple[list[str], list[str]]:
        problems = differences(reference.metadata, prompt.metadata)
        if same_length and prompt.prompt_len != reference.prompt_len:
            problems.append(f"lengths differ: {reference.prompt_len} rows and {prompt.prompt_len}")
        return problems, []

    return check


def all_of(checks: Sequence[Check]) -> Check:
    def check(prompt: SoftPrompt) -> tuple[list[str], list[str]]:
        found = [each(prompt) for each in checks]
        return [problem for one, _ in found for problem in one], [text for _, some in found for text in some]

    return check


def layout_of(collection: Collection, backbone: Backbone, asked: str | None) -> str:
    """The layout to use candidates under: the one asked for, the one that all of them have, the family's."""
    stored = {
        prompt.metadata.layout
        for prompt in collection.prompts.values()
        if not misfits(prompt.metadata, prompt.hidden, backbone.identity, None)[0]
    }
    return layout_for(backbone.family, asked or (stored.pop() if len(stored) == 1 else None)).name


def one_backbone(collection: Collection, name: str | None = None) -> SoftPrompt:
    """A prompt of the backbone that all of them share; ``UserError`` where they do not share one.

    name: a backbone that was asked for; then any prompt will do.
    """
    if not collection.prompts:
        reasons = " ".join(f"{name}: {why}" for name, why in collection.damaged.items())
        raise UserError(f"No prompt in {collection.place} can be read. {reasons}")
    if name is not None:
        return next(iter(collection.prompts.values()))
    by_name = {prompt.metadata.backbone_name: prompt for prompt in collection.prompts.values()}
    named = sorted(name for name in by_name if name)
    if not named:
        raise UserError(
            f"The prompts in {collection.place} do not say which backbone they are for. Name it: --backbone."
        )
    if len(named) > 1:
        raise UserError(
            f"The prompts in {collection.place} are for several backbones: {', '.join(named)}. Name one with "
            "--backbone; prompts of the others are then left out."
        )
    return by_name[named[0]]
