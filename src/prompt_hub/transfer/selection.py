"""Ranking candidate sources for a target: by score on a small sample of it, or by an indicator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.errors import UserError, unknown_name
from prompt_hub.indicators.base import Context, Indicator, Needs, Target
from prompt_hub.indicators.registry import INDICATORS, get_indicator
from prompt_hub.prompts.collection import Collection, load_prompts
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Split, Task, get_task, load_split
from prompt_hub.transfer import candidates as of
from prompt_hub.transfer.measured import measured_scores
from prompt_hub.transfer.scores import Loader, draw_sample, score_candidates
from prompt_hub.transfer.trust import trust_indicator, trust_scores

SCORE = "score"
SAMPLE_ROWS = 200


@dataclass(frozen=True)
class Settings:
    """limit: labelled rows of the target to look at. layout: see ``candidates.layout_of``."""

    limit: int = SAMPLE_ROWS
    layout: str | None = None
    strict: bool = False
    batch_size: int = 32
    seed: int = 42


def rank(
    task: Task | str,
    prompts: Collection | Path | str,
    *,
    by: str = SCORE,
    backbone: Backbone | str | None = None,
    reference: SoftPrompt | Path | str | None = None,
    rows: Split | Loader | None = None,
    data_dir: Path | str | None = None,
    matrix: pd.DataFrame | Path | str | None = None,
    limit: int = SAMPLE_ROWS,
    layout: str | None = None,
    strict: bool = False,
    batch_size: int = 32,
    seed: int = 42,
) -> pd.DataFrame:
    """Candidate sources for ``task``, the most promising first.

    by: ``score`` (each candidate is scored, without training, on at most ``limit`` labelled rows of the
    target's training data) or the name of an indicator. reference: a prompt of the target, for indicators
    that compare prompts. rows: labelled rows of the target, or how to load them; by default its training
    split. matrix: measured transfer between other tasks, for ``trust``. strict: ``UserError`` where a prompt
    of another backbone or layout, or a damaged one, is among them; otherwise they are left out.

    A row a candidate: place (from 1), prompt (its name), task, task_type, same_type, value (score or
    indicator). By score also low and high (95%), n, first (share of the bootstrap samples in which it is the
    best), and gain, gain_low, gain_high: over the backbone without a prompt, row by row. ``attrs``: by,
    target, metric, n, floors, expected (``scores.expected_score``), removed_overlap, trust
    (``trust.Trust`` as a dictionary), left_out (name, reason), warnings; None or empty where there is none.
    """
    target = get_task(task) if isinstance(task, str) else task
    settings = Settings(limit, layout, strict, batch_size, seed)
    indicator = check_way(by, limit)
    collection = prompts if isinstance(prompts, Collection) else load_prompts(prompts)
    measured = measured_scores(matrix) if isinstance(matrix, (str, Path)) else matrix
    load = _loader(target, rows, data_dir, seed)
    known = SoftPrompt.from_pretrained(reference) if isinstance(reference, (str, Path)) else reference
    if indicator is None:
        table = _by_score(target, collection, _loaded(backbone, collection), load, settings)
    else:
        model = _loaded(backbone, collection) if Needs.BACKBONE in indicator.needs else None
        table = _by_indicator(indicator, target, collection, known, model, load, settings)
    if measured is not None:
        try:
            found = (
                trust_scores(measured, table.attrs["n"], target.name, seed)
                if indicator is None
                else trust_indicator(
                    indicator,
                    _belonging(collection, table),
                    measured,
                    target.name,
                    Context(model, layout, batch_size=batch_size),
                    seed,
                )
            )
            table.attrs["trust"] = found.to_dict()
        except UserError as error:
            table.attrs["warnings"].append(f"The ranking was not held against the matrix: {error}")
    return table


def check_way(by: str, limit: int = SAMPLE_ROWS) -> Indicator | None:
    """The indicator to rank by, None for score; ``UserError`` for what cannot be asked."""
    if limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}. 100 to 500 rows are usual.")
    if by == SCORE:
        return None
    try:
        return get_indicator(by)
    except UserError:
        if ":" in by:
            raise
        raise unknown_name("way of ranking", by, {SCORE, *INDICATORS}) from None


def _by_score(
    target: Task, collection: Collection, backbone: Backbone, load: Loader, settings: Settings
) -> pd.DataFrame:
    layout = of.layout_of(collection, backbone, settings.layout)
    fits = of.fits_backbone(backbone.identity, layout)
    candidates = of.gather(collection, target.name, fits, strict=settings.strict)
    sample = draw_sample(load, settings.limit, candidates, settings.seed)
    found = score_candidates(
        backbone, target, candidates, sample, layout, batch_size=settings.batch_size, seed=settings.seed
    )
    rows = []
    for each in found.standings:
        low, high = each.evaluation.ci95[found.metric]
        rows.append(
            {
                **_described(each.candidate, target),
                "value": each.score,
                "low": low,
                "high": high,
                "n": each.evaluation.n,
                "first": each.first,
                "gain": each.gain,
                "gain_low": each.gain_ci95[0],
                "gain_high": each.gain_ci95[1],
            }
        )
    return _table(
        rows,
        SCORE,
        target,
        candidates,
        metric=found.metric,
        n=len(sample.rows),
        floors=found.floors,
        expected=found.expected,
        removed_overlap=sample.removed,
    )


def _by_indicator(
    indicator: Indicator,
    target: Task,
    collection: Collection,
    reference: SoftPrompt | None,
    backbone: Backbone | None,
    load: Loader,
    settings: Settings,
) -> pd.DataFrame:
    checks, layout = [], settings.layout
    if Needs.TARGET_PROMPT in indicator.needs:
        if reference is None:
            raise UserError(
                f"Indicator {indicator.name!r} compares prompts, so it needs one of the target: --reference "
                f"PROMPT. A short training gives one (prompt-hub train --task {target.name} --max-steps 50 "
                "--output FOLDER); or rank --by score, which needs none."
            )
        checks.append(of.like(reference, same_length=indicator.same_length))
    if backbone is not None:
        layout = of.layout_of(collection, backbone, settings.layout)
        checks.append(of.fits_backbone(backbone.identity, layout))
    check = of.all_of(checks)
    without = [reference.hash] if reference else []
    candidates = of.gather(collection, target.name, check, strict=settings.strict, without=without)
    context = Context(backbone, layout, batch_size=settings.batch_size)
    sample = None
    if Needs.TARGET_ROWS in indicator.needs:
        sample = draw_sample(load, settings.limit, candidates, settings.seed)
    sources = {each.name: each.prompt for each in candidates.found}
    asked = Target(target.name, reference, target, sample.rows if sample else None)
    values = indicator.matrix(sources, [asked], context).loc[target.name]
    order = indicator.predicted(values).sort_values(ascending=False, kind="stable").index
    by_name = {each.name: each for each in candidates.found}
    rows = [{**_described(by_name[name], target), "value": float(values[name])} for name in order]
    return _table(
        rows,
        indicator.name,
        target,
        candidates,
        n=len(sample.rows) if sample else None,
        removed_overlap=sample.removed if sample else 0,
    )


def _belonging(collection: Collection, table: pd.DataFrame) -> dict[str, SoftPrompt]:
    """The candidates and the prompts of the target's own task: all that do not differ from each other."""
    foreign = {each["name"] for each in table.attrs["left_out"] if each["foreign"]}
    return {name: prompt for name, prompt in collection.prompts.items() if name not in foreign}


def _described(candidate: of.Candidate, target: Task) -> dict[str, Any]:
    kind = candidate.task_type
    return {
        "prompt": candidate.name,
        "task": candidate.task,
        "task_type": kind,
        "same_type": None if kind is None else kind == target.type,
    }


def _table(
    rows: list[dict[str, Any]], by: str, target: Task, candidates: of.Candidates, **about: Any
) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table.insert(0, "place", range(1, len(table) + 1))
    table.attrs = {
        "by": by,
        "target": target.name,
        "metric": None,
        "n": None,
        "floors": {},
        "expected": None,
        "trust": None,
        **about,
        "left_out": [asdict(each) for each in candidates.left_out],
        "warnings": candidates.warnings,
    }
    return table


def _loaded(backbone: Backbone | str | None, collection: Collection) -> Backbone:
    if isinstance(backbone, Backbone):
        return backbone
    if backbone is not None:
        return load_backbone(backbone)
    known = of.one_backbone(collection).metadata
    assert known.backbone_name is not None
    return load_backbone(known.backbone_name, revision=known.backbone.get("revision"))


def _loader(target: Task, rows: Split | Loader | None, data_dir: Path | str | None, seed: int) -> Loader:
    if isinstance(rows, Split):
        every = rows
        return lambda limit: every
    if rows is not None:
        return rows
    return lambda limit: load_split(target, "train", data_dir=data_dir, limit=limit, seed=seed)
