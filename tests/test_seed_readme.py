"""The README of the original code (thunlp/Prompt-Transferability, 2.0), typed in from top to bottom.

The snippets are its own, word for word, in the order printed there (as of its commit 580b23e; spaces at the
ends of lines are left out). They run in one Python session and one folder. What stands in for the
downloads: embedded backbones under the names ``roberta-base`` and ``roberta-large``, and generated reviews as
the data of the two tasks.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from printed_code import ROOT, Session
from prompt_hub.mini.backbones import mini_backbone
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import get_task, load_split

PROMPT_LENGTH = 100
TRAIN_ROWS, VALIDATION_ROWS = 64, 24
LAYERS, NEURONS = 4, 512
"""Of the backbone that is called roberta-base here."""


@pytest.fixture
def session(tmp_path, monkeypatch) -> Session:
    """A checkout under the README's name, backbones and data under the names that it uses."""
    checkout = tmp_path / "Prompt-Transferability-2.0-latest"
    shutil.copytree(ROOT / "example", checkout / "example")
    (tmp_path / "models").mkdir()
    for name, stands_in in (("roberta-base", "mini-roberta"), ("roberta-large", "mini-bert")):
        (tmp_path / "models" / name).symlink_to(mini_backbone(stands_in))
    for task, stands_in in (("sst2", "mini/film"), ("rotten_tomatoes", "mini/hotel")):
        (tmp_path / "data" / task).mkdir(parents=True)
        for split, count in (("train", TRAIN_ROWS), ("validation", VALIDATION_ROWS)):
            rows = load_split(get_task(stands_in), split, limit=count).examples
            lines = [json.dumps({"text_a": row.text_a, "label": row.label}) for row in rows]
            (tmp_path / "data" / task / f"{split}.jsonl").write_text("\n".join(lines))
    return Session(tmp_path, tmp_path / "data", tmp_path / "models", monkeypatch, python=checkout)


@pytest.mark.slow
def test_the_originals_readme_runs_as_printed_from_top_to_bottom(session):
    # ## Usage: "Or, you can run the bash file to run a quick example."
    printed = session.bash(
        """\
cd Prompt-Transferability-2.0-latest
bash example/train.sh
"""
    )
    assert [line.split(" ", 1)[0] for line in printed.splitlines()] == ["train", "eval", "rotten_tomatoes"]

    session.python(
        """\
from prompt_hub.hub import PromptHub
from prompt_hub.training_args import PromptTrainingArguments

# Training config
args = PromptTrainingArguments(
  output_dir='outputs',
  dataset='sst2',
  backbone='roberta-base',
  learning_rate=1e-2
)
trainer = PromptHub(args=args)

# Prompt training and evaluation
trainer.train_prompt()
trainer.eval_prompt()

# Cross-task evaluation
cross_task_eval_results = trainer.cross_task_eval('roberta-base', 'sst2', 'rotten_tomatoes')


# Activated neuron
activated_neuron_before_relu, activated_neuron_after_relu = trainer.activated_neuron(args.backbone, args.dataset)
"""  # noqa: E501
    )
    prompt = session["trainer"].prompt("roberta-base", "sst2")
    assert prompt.embeddings.shape == (PROMPT_LENGTH, 128)
    assert not torch.equal(prompt.embeddings, prompt.initial)
    assert session["cross_task_eval_results"]["n"] == VALIDATION_ROWS
    assert session["activated_neuron_before_relu"].shape == (LAYERS, NEURONS)

    # "Or, run the following command to start to run a quick example"
    again = session.bash(
        "cd Prompt-Transferability-2.0-latest\n"  # The README is still there.
        r"""python example/train.py \
        --output_dir outputs \
        --dataset sst2 \
        --learning_rate 1e-2 \
        --num_train_epochs 3 \
        --save_total_limit 1 \
        --evaluation_strategy epoch \
        --save_strategy epoch \
        --load_best_model_at_end true \
        --metric_for_best_model combined_score
"""
    )
    assert without_times(again) == without_times(printed)

    # ### Prompt Tuning. Step 1: initialization of arguments and trainer
    session.python(
        """\
from prompt_hub.training_args import PromptTrainingArguments

args = PromptTrainingArguments(
  output_dir='outputs',
  backbone='roberta-base',
  dataset='sst2',
  prompt_len=100
)
trainer = PromptHub(args=args)
"""
    )
    # Step 2: prompt training
    session.python(
        """\
# Optional arguments to overwrite default parameters
# trainer.train_prompt('roberta-large', 'sst2')
trainer.train_prompt()
"""
    )
    trained = session["trainer"].prompt("roberta-base", "sst2")
    assert trained.hash != prompt.hash, "the second training on these names is a training of its own"
    # Step 3: prompt evaluation
    session.python(
        """\
# Optional arguments to overwrite default parameters
# eval_results = trainer.eval_prompt('roberta-base', 'sst2')
eval_results = trainer.eval_prompt()
"""
    )
    eval_results = session["eval_results"]
    assert eval_results["prompt_hash"] == trained.hash and eval_results["n"] == VALIDATION_ROWS

    # The lines that the README has as comments.
    session.python("trainer.train_prompt('roberta-large', 'sst2')")
    session.python("eval_results = trainer.eval_prompt('roberta-base', 'sst2')")
    assert session["eval_results"]["metrics"] == eval_results["metrics"]
    assert session["trainer"].prompt("roberta-large", "sst2").metadata.backbone_name == "roberta-large"

    # ### Cross-Task Transfer
    session.python(
        "cross_task_eval_results = trainer.cross_task_eval('roberta-base', 'sst2', 'rotten_tomatoes')"
    )
    found = session["cross_task_eval_results"]
    assert (found["task"], found["source_task"]) == ("rotten_tomatoes", "sst2")
    assert found["prompt_hash"] == trained.hash and found["n"] == VALIDATION_ROWS

    # ### Cross-Model Transfer. Step 1: cross-model training
    session.python(
        "trainer.cross_model_train(source_model='roberta-base', target_model='roberta-large', task='sst2')"
    )
    # Step 2: cross-model evaluation
    session.python(
        "cross_model_eval_results = trainer.cross_model_eval("
        "source_model='roberta-base', target_model='roberta-large', task='sst2')"
    )
    projected = SoftPrompt.from_pretrained(Path("outputs") / "roberta-large" / "sst2-from-roberta-base")
    assert projected.embeddings.shape == (PROMPT_LENGTH, 96)
    assert projected.metadata.parent["hash"] == trained.hash
    found = session["cross_model_eval_results"]
    assert (found["source_backbone"], found["backbone"]) == ("roberta-base", "roberta-large")
    assert found["n"] == VALIDATION_ROWS and found["controls"] and found["training"]["steps"] > 0

    # ### Transferability Indicators. Step 1: acquire task-specific neurons
    session.python(
        "activated_neuron_before_relu, activated_neuron_after_relu = "
        "trainer.activated_neuron('roberta-base', 'sst2')"
    )
    before, after = session["activated_neuron_before_relu"], session["activated_neuron_after_relu"]
    assert before.shape == after.shape == (LAYERS, NEURONS)
    assert torch.allclose(after, torch.nn.functional.gelu(before), atol=1e-5)

    # Step 2: similarity/transferability between two tasks.
    # The README compares with a prompt that it did not train: without one the call says how to get it.
    similarity = (
        "cos_sim = trainer.neuron_similarity(backbone='roberta-base', task1='sst2', task2='rotten_tomatoes')"
    )
    with pytest.raises(Exception, match=r"train_prompt\('roberta-base', 'rotten_tomatoes'\)"):
        session.python(similarity)
    session.python("trainer.train_prompt('roberta-base', 'rotten_tomatoes')")
    session.python(similarity)
    other = session["trainer"].activated_neuron("roberta-base", "rotten_tomatoes")[1] > 0
    both = ((after > 0) & other).sum() / ((after > 0).sum() * other.sum()).sqrt()
    assert session["cos_sim"] == pytest.approx(float(both))

    # Step 3: masked neurons
    session.python(
        """\
eval_metric, mask = trainer.mask_activated_neuron(args.backbone, args.dataset, ratio=0.2)
trainer.plot_neuron()
"""
    )
    assert session["mask"].sum() == round(0.2 * LAYERS * NEURONS)
    assert 0 <= session["eval_metric"]["accuracy"] <= 1
    assert (Path("outputs") / "roberta-base" / "neurons.png").stat().st_size > 5000


def without_times(printed: str) -> list[Any]:
    """The scores of the lines that the example script prints: the same arguments give the same numbers."""
    return [json.loads(line.split(" ", 1)[1])["metrics"] for line in printed.splitlines()]
