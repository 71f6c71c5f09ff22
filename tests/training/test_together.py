"""Prompts trained together are those trained one after the other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from test_training import arguments, skewed

from prompt_hub.backbones import Backbone, load_backbone
from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, Split, get_task
from prompt_hub.training.run import TrainingResult, train_prompt
from prompt_hub.training.together import TrainingRun, train_seeds, train_together
from tiny_models import build


def rows_of(task_name: str, count: int, seed: int) -> Split:
    """Random words with random labels, in the form of the task's rows."""
    task, chooser = get_task(task_name), random.Random(seed)
    words = "the film was good bad great awful plot actor house garden".split()

    def text() -> str:
        return " ".join(chooser.choices(words, k=chooser.randint(2, 9)))

    def label():
        if task.kind == "regression":
            return chooser.uniform(*task.label_range)
        return chooser.randrange(len(task.classes)) if task.kind == "classification" else text()

    rows = [Example(text(), text() if task.has_text_b else None, label()) for _ in range(count)]
    return Split.of("train", rows, "made here")


def one_by_one(backbone: Backbone, runs: list[TrainingRun]) -> list[TrainingResult]:
    return [
        train_prompt(
            backbone, run.task, run.train, run.args, run.folder.parent / f"alone-{run.folder.name}",
            validation=run.validation,
        )
        for run in runs
    ]  # fmt: skip


def assert_same(together: list[TrainingResult], alone: list[TrainingResult], relative: float = 1e-5) -> None:
    for one, other in zip(together, alone, strict=True):
        expected = other.prompt.embeddings
        moved = (expected - other.prompt.initial).norm()
        assert moved > 0
        assert (one.prompt.embeddings - expected).norm() <= relative * moved
        assert one.steps == other.steps
        assert [sorted(entry) for entry in one.history] == [sorted(entry) for entry in other.history]
        for entry, reference in zip(one.history, other.history, strict=True):
            for name in set(entry) & {"loss", "eval_loss", "learning_rate", "grad_norm", "step"}:
                assert entry[name] == pytest.approx(reference[name], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("kind", ["gpt2", "roberta", "t5"])
def test_seeds_trained_together_are_those_trained_alone(tiny, tmp_path, kind):
    runs = [
        TrainingRun(
            get_task("sst2"), skewed(),
            arguments(tmp_path, seed=seed, learning_rate=0.02, warmup_steps=2, hold_out=8),
            tmp_path / f"seed-{seed}", skewed(16, 1),
        )
        for seed in (1, 2, 3)
    ]  # fmt: skip
    together = train_together(tiny(kind), runs)
    alone = one_by_one(tiny(kind), runs)
    assert_same(together, alone)
    prompts = [result.prompt.embeddings for result in together]
    assert not torch.allclose(prompts[0], prompts[1], atol=1e-3)
    for result, other in zip(together, alone, strict=True):
        assert SoftPrompt.from_pretrained(result.folder).hash == result.prompt.hash
        assert result.evaluation.metrics == other.evaluation.metrics
        assert {path.name for path in result.folder.iterdir()} == {
            path.name for path in other.folder.iterdir()
        }


@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
def test_tasks_settings_and_lengths_of_run_may_differ(tiny, tmp_path, kind):
    """Classes and a regression, words of several pieces; other rates, batches, optimisers, ends."""
    changes = {
        "sst2": dict(max_steps=9, learning_rate=0.01, gradient_accumulation_steps=2),
        "stsb": dict(max_steps=5, learning_rate=0.02, per_device_train_batch_size=3),
        "tweeteval_sentiment": dict(
            max_steps=-1, num_train_epochs=2, optim="adamw_hf", max_grad_norm=0.0, learning_rate=0.01
        ),
        "qnli": dict(max_steps=6, prompt_len=7, lr_scheduler_type="cosine", learning_rate=0.01),
        "rotten_tomatoes": dict(max_steps=20, early_stopping_patience=1, eval_steps=2, save_steps=2),
    }
    runs = [
        TrainingRun(
            get_task(name), rows_of(name, 41 + 10 * number, number),
            arguments(tmp_path, seed=number, **change), tmp_path / name,
        )
        for number, (name, change) in enumerate(changes.items())
    ]  # fmt: skip
    together = train_together(tiny(kind), runs)
    assert_same(together, one_by_one(tiny(kind), runs))
    assert len({result.steps for result in together}) > 2


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_generation_tasks_train_together_beside_a_classification(tiny, tmp_path, kind):
    runs = [
        TrainingRun(
            get_task(name), rows_of(name, 40, number),
            arguments(tmp_path, seed=number, max_steps=4, learning_rate=0.02, per_device_train_batch_size=4),
            tmp_path / f"{name}-{number}",
        )
        for number, name in enumerate(["samsum", "samsum", "sst2"])
    ]  # fmt: skip
    assert_same(train_together(tiny(kind), runs), one_by_one(tiny(kind), runs))


@pytest.mark.parametrize("kind", ["roberta", "t5"])
def test_layout_paper_trains_together(tmp_path, kind):
    backbone = load_backbone(str(build(kind, tmp_path / kind, positions=600)), device="cpu")
    runs = [
        TrainingRun(
            get_task("sst2"), skewed(40),
            arguments(tmp_path, seed=seed, layout="paper", max_steps=3, per_device_train_batch_size=4),
            tmp_path / f"seed-{seed}",
        )
        for seed in (1, 2)
    ]  # fmt: skip
    assert_same(train_together(backbone, runs), one_by_one(backbone, runs))


def test_a_pass_serves_all_that_share_it(tiny, tmp_path, monkeypatch):
    backbone = tiny("gpt2")
    passes = []
    whole = backbone.label_logits

    def counted(prompt, batch, label_ids):
        if torch.is_grad_enabled():
            passes.append(batch.size)
        return whole(prompt, batch, label_ids)

    monkeypatch.setattr(backbone, "label_logits", counted)
    runs = [
        TrainingRun(
            get_task(name), rows_of(name, 40, 0), arguments(tmp_path, seed=seed, max_steps=5, hold_out=0),
            tmp_path / f"{name}-{seed}",
        )
        for name in ("sst2", "rotten_tomatoes") for seed in (1, 2)
    ]  # fmt: skip
    train_together(backbone, runs)
    assert passes == [4 * 8] * 5


def test_what_was_interrupted_goes_on_together_or_alone(tiny, tmp_path):
    """A run stopped by another's end; afterwards all are as if nothing had happened."""
    backbone = tiny("gpt2")

    def runs(folder: Path, steps: int = 10) -> list[TrainingRun]:
        return [
            TrainingRun(
                get_task("sst2"), skewed(),
                arguments(folder, seed=seed, max_steps=steps, learning_rate=0.01, save_steps=2),
                folder / f"seed-{seed}",
            )
            for seed in (1, 2)
        ]  # fmt: skip

    whole = train_together(backbone, runs(tmp_path / "whole"))
    begun = runs(tmp_path / "parts")
    count = 0
    answer = backbone.label_logits

    def breaks(prompt, batch, label_ids):
        nonlocal count
        count += torch.is_grad_enabled()
        if count == 6:
            raise KeyboardInterrupt
        return answer(prompt, batch, label_ids)

    backbone.label_logits = breaks
    with pytest.raises(KeyboardInterrupt):
        train_together(backbone, begun)
    del backbone.label_logits
    first, second = begun
    alone = train_prompt(backbone, first.task, first.train, first.args, first.folder, resume=True)
    both = train_together(backbone, begun, resume=True)
    assert torch.equal(both[0].prompt.embeddings, alone.prompt.embeddings)
    assert_same(both, whole)
    assert second.folder == both[1].folder


def test_one_that_fails_leaves_the_others_whole(tiny, tmp_path):
    backbone = tiny("gpt2")
    runs = [
        TrainingRun(
            get_task("sst2"), skewed(), arguments(tmp_path, seed=1, max_steps=4, learning_rate=rate),
            tmp_path / f"rate-{rate}",
        )
        for rate in (0.01, 1e38)
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"rate-1e\+38.*diverged.*The other trainings are kept"):
        train_together(backbone, runs)
    kept = SoftPrompt.from_pretrained(tmp_path / "rate-0.01").embeddings
    [alone] = one_by_one(backbone, runs[:1])
    torch.testing.assert_close(kept, alone.prompt.embeddings, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("together", [True, False])
def test_seeds_are_stored_a_folder_each(tiny, tmp_path, together):
    args = arguments(tmp_path, max_steps=2, hold_out=0)
    found = train_seeds(
        tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "all", [5, 9], together=together
    )
    assert [result.folder.name for result in found] == ["seed-5", "seed-9"]
    for seed, result in zip((5, 9), found, strict=True):
        assert SoftPrompt.from_pretrained(tmp_path / "all" / f"seed-{seed}").metadata.seed == seed
        assert result.steps == 2
    with pytest.raises(UserError, match="names one twice"):
        train_seeds(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "x", [5, 5])


def test_runs_that_cannot_share_are_refused(tiny, tmp_path):
    backbone, task = tiny("gpt2"), get_task("sst2")
    run = TrainingRun(task, skewed(), arguments(tmp_path), tmp_path / "p")
    with pytest.raises(UserError, match="nothing to train together"):
        train_together(backbone, [])
    with pytest.raises(UserError, match="folder of its own"):
        train_together(backbone, [run, run])
    args = arguments(tmp_path)
    args.bf16 = True
    with pytest.raises(UserError, match="backbone_dtype"):
        train_together(backbone, [TrainingRun(task, skewed(), args, tmp_path / "q")])
