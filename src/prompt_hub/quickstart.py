"""The quickstart: the main job once round, on data that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prompt_hub.backbones import load_backbone
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.mini.reviews import review_split, review_task
from prompt_hub.reports.figures import draw_scores
from prompt_hub.runs.records import write_json
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import train_prompt

TRAIN_ROWS, EVAL_ROWS = 400, 150


def run_quickstart(
    backbone_name: str, folder: Path, *, steps: int, seed: int = 42, device: str = "auto"
) -> dict[str, Any]:
    """Train a prompt on film reviews, score it there and, untrained, on kitchen-tool reviews.

    Writes the prompt, ``quickstart.json`` and ``quickstart.png`` into ``folder`` and returns the results.
    """
    backbone = load_backbone(backbone_name, device=device)
    film, kitchen = review_task("film"), review_task("kitchen")
    args = PromptTrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        prompt_len=16,
        hold_out=40,
        seed=seed,
        use_cpu=device == "cpu",
    )
    trained = train_prompt(
        backbone,
        film,
        review_split("film", "train", TRAIN_ROWS, seed),
        args,
        folder / "film",
        validation=review_split("film", "validation", EVAL_ROWS, seed),
    )
    moved = evaluate_stored(
        backbone, trained.prompt, kitchen, review_split("kitchen", "validation", EVAL_ROWS, seed), seed=seed
    )
    assert trained.evaluation is not None
    results: dict[str, Any] = {
        "backbone": backbone.name,
        "steps": trained.steps,
        "prompt": str(folder / "film"),
        "film": trained.evaluation.to_dict(),
        "kitchen": moved.to_dict(),
        "diagnosis": trained.diagnosis,
    }
    figure = draw_scores(
        [results["film"], results["kitchen"]],
        ["film reviews\n(trained on)", "kitchen-tool reviews\n(zero-shot transfer)"],
        folder / "quickstart.png",
    )
    results["figure"] = str(figure)
    write_json(folder / "quickstart.json", results)
    return results
