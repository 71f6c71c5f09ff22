"""How many examples a race takes, and how often it loses the best source: simulated answers, no model.

python benchmarks/racing.py [--races 200]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from prompt_hub.transfer.race import Race


@dataclass(frozen=True)
class Case:
    """What the sources score on average, on how many rows; targets: races whose confidence is shared."""

    name: str
    chances: tuple[float, ...]
    rows: int
    confidence: float = 0.95
    targets: int = 1
    epsilon: float = 0.0


CASES = (
    Case("one clearly best of 8", (0.9, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5), 1000, targets=8),
    Case("the same on 200 rows", (0.9, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5), 200, targets=8),
    Case("second 5 points behind", (0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5), 1000, targets=8),
    Case("second 2 points behind, of 16", (0.9, 0.88) + (0.6,) * 14, 2000, targets=16),
    Case("four within 3 points", (0.9, 0.89, 0.88, 0.87, 0.6, 0.5, 0.5, 0.5), 1000, targets=8),
    Case(
        "the same, 2 points do not matter", (0.9, 0.89, 0.88, 0.87, 0.6, 0.5, 0.5, 0.5), 1000, 0.95, 8, 0.02
    ),
    Case("4 equal, confidence 0.8", (0.6,) * 4, 200, 0.8),
    Case("2 equal, confidence 0.8", (0.6,) * 2, 200, 0.8),
)


def simulate(case: Case, races: int, seed: int = 0) -> tuple[float, float, float]:
    """(share of examples used, share of races that lost the best source, share that chose another one)

    Best is the source with the highest mean over the rows at hand. Chosen wrongly is one that is more than
    the case's epsilon below it.
    """
    chooser = np.random.default_rng(seed)
    used, lost, wrong = [], 0, 0
    for _ in range(races):
        scores = (chooser.random((len(case.chances), case.rows)) < np.array(case.chances)[:, None]).astype(
            float
        )
        means = scores.mean(axis=1)
        names = [str(number) for number in range(len(scores))]
        race = Race(names, case.rows, case.confidence, races=case.targets, epsilon=case.epsilon)
        while asked := race.next():
            for name, rows in asked:
                race.tell(name, scores[int(name)][rows])
        verdict = race.verdict
        assert verdict is not None
        used.append(verdict.examples / verdict.full)
        lost += max(means[int(name)] for name in verdict.left) < means.max()
        wrong += means[int(verdict.best)] < means.max() - case.epsilon - 1e-9
    return float(np.mean(used)), lost / races, wrong / races


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=200)
    races = parser.parse_args(arguments).races
    print("| sources | rows | stated confidence | examples used | fewer by | best lost | chosen wrongly |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        used, lost, wrong = simulate(case, races)
        stated = f"{case.confidence:g}" + (f" for {case.targets} targets" if case.targets > 1 else "")
        measured = f"{used:.0%} | {1 / used:.1f}x | {lost:.3f} | {wrong:.3f}"
        print(f"| {case.name} | {case.rows} | {stated} | {measured} |")


if __name__ == "__main__":
    main()
