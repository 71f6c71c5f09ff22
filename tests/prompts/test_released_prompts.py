"""The paper's released prompts: all of them are found, named, imported and run under their layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from prompt_hub.backbones import load_backbone
from prompt_hub.errors import UserError
from prompt_hub.evaluation.stored import evaluate_stored
from prompt_hub.prompts.formats import import_prompt, import_prompts
from prompt_hub.prompts.paper_names import BACKBONES, TASKS, parse_paper_name
from prompt_hub.tasks import Example, Split, get_task
from tiny_models import build

WIDTHS = {"Bert": 8, "Roberta": 8, "RobertaLarge": 12, "T5": 8, "T5Small": 4}


@pytest.fixture(scope="module")
def manifest(shared: Path) -> list[dict[str, str]]:
    with (shared / "paper" / "prompts_manifest.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def replica(manifest: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released folder with all its 146 files, the tensors small ones."""
    root = tmp_path_factory.mktemp("released")
    twins: dict[str, torch.Tensor] = {}
    for index, row in enumerate(manifest):
        known = parse_paper_name(Path(row["name"]).name)
        assert known is not None
        label = next(label for label, value in BACKBONES.items() if value[0] == known.backbone)
        fresh = torch.randn(4, WIDTHS[label], generator=torch.Generator().manual_seed(index))
        values = twins.setdefault(row["sha256"], fresh)
        folder = root / row["name"]
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = {"model": {"encoder.prompt_embeddings.weight": values}, "optimizer_name": "AdamW"}
        torch.save(checkpoint if row["file"].endswith(".pkl") else values, folder / row["file"])
    return root


def test_all_146_files_are_imported_with_name_backbone_and_layout(
    replica: Path, manifest: list[dict[str, str]]
) -> None:
    prompts = import_prompts(replica, layout="paper")
    expected = {
        row["name"] if row["file"] == "task_prompt" else f"{row['name']}/{Path(row['file']).stem}": row
        for row in manifest
    }
    assert set(prompts) == set(expected) and len(prompts) == 146
    for name, row in expected.items():
        metadata = prompts[name].metadata
        folder = Path(row["name"]).name
        known = parse_paper_name(folder)
        assert known is not None and metadata.parent is not None
        assert (metadata.task, metadata.backbone_name, metadata.family, metadata.layout) == (
            known.task, known.backbone, known.family, "paper",
        )  # fmt: skip
        assert metadata.parent["name"] == name
        large = "Large" in folder.split("Prompt")[1]
        assert (metadata.backbone_name == "roberta-large") is large


def test_variants_are_told_from_the_tasks_own_prompts() -> None:
    said = {
        "SST2PromptRoberta": None,
        "IMDB_trainedPromptRoberta": "trained",
        "laptop_base_emotionPromptRoberta_tanh": "base_emotion tanh",
        "QNLIPromptRoberta_proj": "proj",
        "ethicsjusticePromptRobertaLarge_127": "127",
        "MNLIPrompt_cross_model_T5_to_Roberta": "cross_model_T5_to_Roberta",
    }
    known = {name: parse_paper_name(name) for name in said}
    assert {name: found.variant for name, found in known.items() if found} == said
    projected = {name for name, found in known.items() if found and found.projected}
    assert projected == {
        "laptop_base_emotionPromptRoberta_tanh", "QNLIPromptRoberta_proj",
        "MNLIPrompt_cross_model_T5_to_Roberta",
    }  # fmt: skip


def test_a_folder_that_is_a_prompt_and_holds_others_gives_all_of_them(replica: Path) -> None:
    names = set(import_prompts(replica / "restaurantPromptRoberta_proj"))
    assert names == {"restaurantPromptRoberta_proj", "IMDBPromptRoberta_proj", "laptopPromptRoberta_proj"}
    # One folder with its checkpoint beside it is one prompt.
    assert len(import_prompts(replica / "RobertaLarge_from_chimin" / "IMDBPromptRobertaLarge")) == 1


@pytest.mark.parametrize("file", ["bert-base", "roberta-base", "roberta-large", "t5-small", "t5-base"])
def test_a_file_of_one_backbones_prompts_says_task_and_backbone_of_each(shared: Path, file: str) -> None:
    prompts = import_prompts(shared / "paper" / "prompts" / f"{file}.npz", layout="paper")
    backbone = {"bert-base": "bert-base-uncased"}.get(file, file)
    for key, prompt in prompts.items():
        assert prompt.metadata.task == TASKS[key] and prompt.metadata.backbone_name == backbone
        assert prompt.metadata.layout == "paper"
        assert len(prompt.live_rows) == (100 if file.startswith("t5") else 99)


def test_only_under_layout_paper_a_files_name_is_taken_for_a_backbone(tmp_path: Path) -> None:
    np.savez(tmp_path / "roberta-base.npz", SST2=np.zeros((4, 8), np.float32))
    assert import_prompt(tmp_path / "roberta-base.npz").metadata.backbone_name is None
    given = import_prompt(tmp_path / "roberta-base.npz", layout="paper", backbone_name="mine")
    assert given.metadata.backbone_name == "mine"


def test_the_same_prompt_from_folder_and_from_file(shared: Path) -> None:
    one = import_prompt(shared / "paper" / "original_prompts" / "SST2PromptRoberta")
    same = import_prompt(shared / "paper" / "prompts" / "roberta-base.npz", key="SST2", layout="paper")
    assert one.hash == same.hash


def test_a_damaged_file_is_named_and_the_rest_is_read(replica: Path, tmp_path: Path) -> None:
    for name in ("SST2PromptRoberta", "MNLIPromptRoberta"):
        (tmp_path / name).mkdir()
        data = (replica / name / "task_prompt").read_bytes()
        (tmp_path / name / "task_prompt").write_bytes(data if name.startswith("SST2") else data[:90])
    with pytest.raises(UserError, match="MNLIPromptRoberta"):
        import_prompts(tmp_path)
    failures: dict[str, str] = {}
    assert set(import_prompts(tmp_path, failures=failures)) == {"SST2PromptRoberta"}
    assert set(failures) == {"MNLIPromptRoberta"}


# -- evaluation on stand-ins -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory):
    """``stand_in("roberta-base")``: a tiny model of that name, as wide as the real one."""
    root = tmp_path_factory.mktemp("stand-ins")
    widths = {"bert-base-uncased": 768, "roberta-base": 768, "roberta-large": 1024, "t5-base": 768}
    loaded: dict[str, object] = {}

    def get(name: str):
        if name not in loaded:
            kind = name.split("-")[0]
            loaded[name] = load_backbone(str(build(kind, root / name, width=widths.get(name, 512))))
        return loaded[name]

    return get


def rows(task_name: str) -> tuple[object, Split]:
    task = get_task(task_name)
    if task.kind == "generation":
        text = "question: who sleeps? context: the dog sleeps." if task_name == "squad" else "the dog sleeps"
        examples = [Example(text, None, "the dog", ("the dog",))] * 3
    else:
        second = "the plot was bad" if task.has_text_b else None
        examples = [Example("the film was good", second, index) for index in range(len(task.classes))]
    return task, Split.of("validation", examples, "test")


def test_every_original_prompt_is_evaluated_on_its_backbone(shared: Path, stand_in) -> None:
    prompts = import_prompts(shared / "paper" / "original_prompts", layout="paper")
    for name, prompt in prompts.items():
        task, split = rows(prompt.metadata.task or "sst2")
        backbone = stand_in(prompt.metadata.backbone_name)
        result = evaluate_stored(backbone, prompt, task, split, floors=("no_prompt", "random_prompt"))
        assert result.layout == "paper" and result.n == len(split), name
        assert set(result.floors) == {"no_prompt", "random_prompt"}


def test_a_released_prompt_goes_through_the_commands(
    shared: Path, stand_in, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.command import succeeds

    shelf = Path(stand_in("roberta-base").name).parent
    monkeypatch.setenv("PROMPT_HUB_BACKBONES", str(shelf))
    data = tmp_path / "data" / "sst2"
    data.mkdir(parents=True)
    lines = [json.dumps({"sentence": "the film was good", "label": label}) for label in (0, 1)]
    (data / "validation.jsonl").write_text("\n".join(lines))
    source = shared / "paper" / "original_prompts" / "SST2PromptRoberta"
    succeeds("prompts", "import", source, "--layout", "paper", "-o", tmp_path / "sst2")
    found = succeeds("eval", tmp_path / "sst2", "--data-dir", tmp_path / "data", "--json").json
    assert (found["task"], found["backbone"], found["layout"], found["n"]) == (
        "sst2", "roberta-base", "paper", 2,
    )  # fmt: skip
