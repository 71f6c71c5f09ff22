"""Prints what training, judging and storing a projector adds to the peak of resident memory, in bytes.

    python memory_of_training.py TARGET FOLDER

TARGET: folder of a backbone of width 1024 with thin layers. The source prompt is 100 x 768. In a process of
its own, because a peak cannot be taken back.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch

from prompt_hub.backbones import load_backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.transfer.cross_model.projector_run import TaskData
from prompt_hub.transfer.cross_model.recipe import Recipe
from prompt_hub.transfer.cross_model.train_map import Material, train_map


class Source:
    """As much of a source backbone as training a projector from stored prompts needs."""

    name = "source-768"

    def __init__(self, target) -> None:
        self.identity = replace(target.identity, name=self.name, hidden=768, embedding_hash="0" * 16)
        self.embedding_matrix = torch.randn(400, 768)
        self.tokenizer = target.tokenizer

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embedding_matrix[ids]


def main(target_folder: str, folder: str) -> None:
    target = load_backbone(target_folder, device="cpu")
    source, task = Source(target), get_task("mini/film")
    prompt = SoftPrompt(
        torch.randn(100, 768), PromptMetadata(backbone=source.identity.to_dict(), task=task.name)
    )
    data = TaskData(Encoder(target, task, 100), prompt, None, load_split(task, "train", limit=40))
    material = Material(
        source, target, {task.name: data}, [task.name],
        {task.name: load_split(task, "validation", limit=20)},
    )  # fmt: skip
    args = PromptTrainingArguments(
        output_dir=folder, max_steps=1, evaluations=1, use_cpu=True, disable_tqdm=True, report_to="none"
    )
    before = resident()
    found = train_map(material, Recipe(), args, Path(folder)).found
    found.save_pretrained(Path(folder) / "map")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(found.training["parameters"], peak - before)


def resident() -> int:
    """Bytes of this process in memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(*sys.argv[1:])
