"""The steps of the tour, a function each: it does the work, writes its figure and returns plain data."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from prompt_hub.evaluation.cross_task import score_pair
from prompt_hub.evaluation.evaluate import Evaluation
from prompt_hub.evaluation.pairs import Pair, same_type, summarise
from prompt_hub.quickstart import settings
from prompt_hub.quickstart.tour import Step, Stop, Tour
from prompt_hub.reports.figures import draw_scores, draw_starts, draw_transfer


def train_prompts(tour: Tour) -> dict[str, Any] | None:
    """A prompt for every task, scored beside its floors."""
    found = {}
    for number, stop in enumerate(tour.stops, 1):
        task = stop.task
        trained = tour.train(stop, tour.prompt_folder(task), tour.steps)
        stop.prompt, stop.evaluation = trained.prompt, trained.evaluation
        found[task.name] = trained.to_dict()
        own = stop.trained[1]
        tour.say(
            f"{number} of {len(tour.stops)}: {task.name}, {trained.steps} steps, {trained.seconds:.0f} s: "
            f"{own.primary_metric} {own.score:.3f}"
        )
    figure = draw_scores(list(found.values()), list(found), tour.folder / "scores.png")
    return {"tasks": found, "figure": str(figure)}


def transfer_prompts(tour: Tour) -> dict[str, Any] | None:
    """Every prompt on every other task without training.

    Pairs of a task that generates text and one that does not are left out: prompts for the one were never
    trained for what the other reads.
    """
    pairs: list[Pair] = []
    without_rows = []
    for source in tour.stops:
        others = [
            stop for stop in tour.stops if stop is not source and _generates(stop) == _generates(source)
        ]
        for target in others:
            own_prompt, own = target.trained
            pair = score_pair(
                tour.backbone,
                source.trained[0],
                source.task,
                target.task,
                target.validation,
                own_prompt,
                own,
                batch_size=settings.EVAL_BATCH,
                seed=tour.seed,
            )
            if pair is None:
                without_rows.append([source.task.name, target.task.name])
            else:
                pairs.append(pair)
        if others:
            tour.say(f"Used the prompt of {source.task.name} on {len(others)} other tasks")
    if not pairs and not without_rows:
        return None
    grouped = sorted(tour.stops, key=lambda stop: _types(tour).index(stop.task.type))
    owns = {stop.task.name: stop.trained[1] for stop in grouped}
    result = {
        "tasks": [stop.task.name for stop in grouped],
        "types": [stop.task.type for stop in grouped],
        "own": {name: own.score for name, own in owns.items()},
        "floors": {name: _floors(own) for name, own in owns.items()},
        "pairs": [pair.to_dict() for pair in pairs],
        "without_rows": without_rows,
        "same_type": summarise([pair for pair in pairs if pair.same_type]),
        "different_type": summarise([pair for pair in pairs if not pair.same_type]),
    }
    result["figure"] = str(draw_transfer(result, tour.folder / "transfer.png"))
    return result


def compare_starts(tour: Tour) -> dict[str, Any] | None:
    """A few steps for one task, from the prompt of another task of its type and from scratch.

    The pair is the first that the order of the tasks gives, whatever it scores. Every number of steps is a
    training of its own, with its own schedule.
    """
    pair = next((pair for pair in combinations(tour.stops, 2) if _fit(*pair)), None)
    if pair is None:
        return None
    source, target = pair
    prompt, own = source.trained[0], target.trained[1]
    folder = tour.folder / "starts"
    starts = {
        # Knows nothing of the task: the family's own start may already put the task in words.
        "scratch": (folder / "scratch" / target.task.name, "vocab"),
        "warm": (
            folder / f"warm-{prompt.hash[:8]}" / target.task.name,
            f"prompt:{tour.prompt_folder(source.task)}",
        ),
    }
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in starts}
    for steps in [steps for steps in settings.WARM_STEPS if steps <= tour.steps] or [tour.steps]:
        for name, (place, init) in starts.items():
            trained = tour.train(target, place / str(steps), steps, init=init, hold_out=0, floors=())
            assert trained.evaluation is not None
            metric = trained.evaluation.primary_metric
            scores[name].append(
                {"steps": steps, "score": trained.evaluation.score, "ci95": trained.evaluation.ci95[metric]}
            )
        tour.say(f"Compared two starts on {target.task.name} after {steps} steps")
    result: dict[str, Any] = {
        "source": source.task.name,
        "target": target.task.name,
        "metric": own.primary_metric,
        "n": own.n,
        "scores": scores,
        "zero_shot": _zero_shot(tour, source, target),
        "full": {"steps": tour.steps, "score": own.score},
        "floors": _floors(own),
    }
    result["figure"] = str(draw_starts(result, tour.folder / "warm_start.png"))
    return result


def _types(tour: Tour) -> list[str]:
    return list(dict.fromkeys(stop.task.type for stop in tour.stops))


def _generates(stop: Stop) -> bool:
    return stop.task.kind == "generation"


def _fit(source: Stop, target: Stop) -> bool:
    return same_type(source.task, target.task) and _generates(source) == _generates(target)


def _zero_shot(tour: Tour, source: Stop, target: Stop) -> float | None:
    """What the transfer step found for the pair, on the same rows."""
    pairs = (tour.results.get("transfer") or {"pairs": []})["pairs"]
    names = (source.task.name, target.task.name)
    found = (pair for pair in pairs if (pair["source"], pair["target"]) == names)
    return next((pair["score"] for pair in found if not pair["removed_overlap"]), None)


def _floors(evaluation: Evaluation) -> dict[str, float]:
    """The floors in the primary metric."""
    return {name: values[evaluation.primary_metric] for name, values in evaluation.floors.items()}


STEPS: dict[str, Step] = {
    "training": train_prompts,
    "transfer": transfer_prompts,
    "warm_start": compare_starts,
}
