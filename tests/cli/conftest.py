"""Small files of rows, and prompts that the command itself trained on tiny backbones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from command import succeeds, write_csv, write_jsonl

SUBJECTS = ("the film", "the plot", "the actor", "the scene", "the story", "the dog", "the house", "the cat")


class Files(NamedTuple):
    """train: a CSV with columns review, stars. eval: JSON lines with the same. other: another CSV."""

    train: Path
    eval: Path
    other: Path


def reviews(openings: tuple[str, ...]) -> list[tuple[str, int]]:
    """(text, stars): 1 for bad, 2 for good."""
    return [
        (f"{subject} {opening} {word}", stars)
        for opening in openings
        for subject in SUBJECTS
        for stars, word in ((1, "awful"), (2, "great"))
    ]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"review": text, "stars": stars} for text, stars in reviews(("runs",))]
    return Files(
        write_csv(folder / "my.csv", reviews(("was", "sleeps"))),
        write_jsonl(folder / "my.jsonl", rows),
        write_csv(folder / "other.csv", reviews(("and people",))),
    )


@pytest.fixture(scope="session")
def own_columns() -> tuple[str, ...]:
    return ("--text-a", "review", "--label", "stars", "--label-words", "1=bad,2=good")


@pytest.fixture(scope="session")
def short() -> tuple[str, ...]:
    """Options of a training run of a second."""
    return ("--prompt-len", "4", "--max-steps", "4", "--batch-size", "8", "--device", "cpu", "--quiet")


@pytest.fixture(scope="session")
def trained(
    tiny_folder: Callable[[str], Path],
    files: Files,
    own_columns: tuple[str, ...],
    short: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """``trained("bert")``: a prompt that ``prompt-hub train`` made from the CSV. Not to be changed."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            output = tmp_path_factory.mktemp("prompts") / kind
            succeeds(
                "train", "--backbone", tiny_folder(kind), "--train", files.train, "--eval", files.eval,
                *own_columns, *short, "--output", output,
            )  # fmt: skip
            made[kind] = output
        return made[kind]

    return get
