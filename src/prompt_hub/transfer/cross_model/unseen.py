"""What a trained projector is worth: on the tasks of its training, and on tasks that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prompt_hub.evaluation.over_seeds import over_seeds
from prompt_hub.evaluation.pairs import same_type
from prompt_hub.tasks import Split, Task
from prompt_hub.transfer.cross_model.base import CrossModelMap
from prompt_hub.transfer.cross_model.beside import ScoreBesideControls
from prompt_hub.transfer.cross_model.controls import evaluate_projected
from prompt_hub.transfer.cross_model.projector_run import TaskData

TRAINED, SAME_TYPE, OTHER_TYPE = GROUPS = ("trained", "same-type unseen", "other-type unseen")


def group_of(task: Task, trained: Sequence[Task]) -> str:
    """How near a task is to those of the training."""
    if any(task.name == one.name for one in trained):
        return TRAINED
    return SAME_TYPE if any(same_type(task, one) for one in trained) else OTHER_TYPE


@dataclass(frozen=True)
class JudgedTask:
    """A task on which a projected prompt was scored. left_out: rows that a prompt or the projector had seen.

    controls: by name, with ``score``, ``gain`` (projected minus control), ``gain_ci95`` over the rows and
    ``same_map`` (the image of another source).
    """

    task: str
    type: str
    group: str
    n: int
    left_out: int
    metric: str
    score: float
    ci95: list[float]
    majority: float | None
    controls: dict[str, dict[str, Any]]
    verdict: str
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class GroupGain:
    """Over the tasks of a group: score of the projected prompt minus that of one control.

    ci95: over the tasks (Student's t); of a single task, over its rows.
    """

    group: str
    control: str
    tasks: int
    score: float
    gain: float
    ci95: tuple[float, float]


def judge(
    found: CrossModelMap,
    data: TaskData,
    rows: Split,
    group: str,
    *,
    others: Mapping[str, TaskData],
    batch_size: int = 32,
    seed: int = 42,
) -> JudgedTask:
    """Score the image of a task's source prompt on the task's rows, beside every control.

    others: the first of them that has another type than the task, or else the first, gives the control
    ``another task's source``.
    """
    encoder = data.encoder
    different = [one for name, one in others.items() if name != data.name]
    different.sort(key=lambda one: same_type(one.encoder.task, encoder.task))
    result = evaluate_projected(
        found,
        data.source,
        encoder.backbone,
        encoder.task,
        rows,
        others={"another task's source": different[0].source} if different else None,
        own=data.own,
        batch_size=batch_size,
        seed=seed,
    )
    return judged_from(result, encoder.task, group)


def judged_from(result: ScoreBesideControls, task: Task, group: str) -> JudgedTask:
    """A score beside its controls as one line of a comparison."""
    known = result.evaluation
    return JudgedTask(
        task=task.name,
        type=task.type,
        group=group,
        n=known.n,
        left_out=result.removed,
        metric=known.primary_metric,
        score=known.score,
        ci95=list(known.ci95[known.primary_metric]),
        majority=result.majority,
        controls={
            line.name: {
                "score": line.score,
                "gain": line.gain,
                "gain_ci95": list(line.gain_ci95),
                "same_map": line.same_map,
            }
            for line in result.controls
        },
        verdict=result.verdict(),
        warnings=[*result.warnings, *known.warnings],
    )


def group_gains(judged: Sequence[JudgedTask]) -> list[GroupGain]:
    """For each group that has tasks, the gain over every control that all of them have."""
    found = []
    for group in GROUPS:
        tasks = [one for one in judged if one.group == group]
        for control in tasks[0].controls if tasks else ():
            if not all(control in one.controls for one in tasks):
                continue
            gains = over_seeds([one.controls[control]["gain"] for one in tasks])
            low, high = gains.ci95 or tasks[0].controls[control]["gain_ci95"]
            score = sum(one.score for one in tasks) / len(tasks)
            found.append(GroupGain(group, control, len(tasks), score, gains.mean, (low, high)))
    return found


def group_verdicts(judged: Sequence[JudgedTask]) -> dict[str, str]:
    """By group, whether the source matters: above every other source by more than the interval."""
    verdicts = {}
    gains = group_gains(judged)
    for group in dict.fromkeys(one.group for one in gains):
        tasks = [one for one in judged if one.group == group]
        rivals = [
            one
            for one in gains
            if one.group == group and one.ci95[0] <= 0 and tasks[0].controls[one.control]["same_map"]
        ]
        what = f"On {group} tasks ({len(tasks)})"
        if not rivals:
            verdicts[group] = f"{what} the source matters: no other source does as well."
            continue
        best = min(rivals, key=lambda one: one.gain)
        over, (low, high) = "tasks" if best.tasks > 1 else "rows", best.ci95
        verdicts[group] = (
            f"{what} the projector ignores its input, as far as this shows: {best.control} does as well "
            f"(difference {best.gain:+.3f}, 95% interval over {over} {low:+.3f} to {high:+.3f})."
        )
    return verdicts
