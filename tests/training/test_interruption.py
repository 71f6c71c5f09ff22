"""A run killed at any moment goes on to the same prompt; two processes give what one gives."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command import kill, started, succeeds
from safetensors.torch import save_file
from transformers import TrainerCallback

from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.training.trainer import last_complete_checkpoint

STEPS = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    chooser = random.Random(0)
    words = "the film was good bad great awful plot actor scene".split()
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("train", 96), ("eval", 24)):
        rows = [
            {"review": " ".join(chooser.choices(words, k=chooser.randint(2, 9))), "stars": 1 + index % 2}
            for index in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def command(backbone: Path, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "train", "--backbone", str(backbone),
        "--train", str(data / "train.jsonl"), "--eval", str(data / "eval.jsonl"), "--text-a", "review",
        "--label", "stars", "--label-words", "1=bad,2=good", "--prompt-len", "4", "--max-steps", str(STEPS),
        "--eval-every", "4", "--device", "cpu", "--output", str(output), "--json", *more,
    ]  # fmt: skip


def run_on_two(arguments: list[str]) -> dict:
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "prompt_hub")
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_prompt_of_an_uninterrupted_one(tiny_folder, data, tmp_path):
    backbone = tiny_folder("gpt2")
    whole = succeeds(*command(backbone, data, tmp_path / "whole", "--batch-size", "8")).json
    halved = command(backbone, data, tmp_path / "halved", "--batch-size", "8")
    process = started(*halved)
    checkpoints = tmp_path / "halved" / "checkpoints"
    while last_complete_checkpoint(checkpoints) is None and process.poll() is None:
        time.sleep(0.01)
    kill(process)
    resumed_from = last_complete_checkpoint(checkpoints)
    assert resumed_from is not None and not (tmp_path / "halved" / "prompt_hub.json").exists()
    resumed = succeeds(*halved, "--resume").json
    assert resumed["prompt_hash"] == whole["prompt_hash"]
    assert resumed["metrics"] == whole["metrics"] and resumed["steps"] == STEPS
    assert succeeds(*halved, "--resume").json["prompt_hash"] == whole["prompt_hash"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
def test_two_processes_give_the_prompt_of_one_with_the_doubled_batch(tiny_folder, data, tmp_path, kind):
    backbone = tiny_folder(kind)
    one = succeeds(*command(backbone, data, tmp_path / "one", "--batch-size", "8", "--max-steps", "12")).json
    two = run_on_two(command(backbone, data, tmp_path / "two", "--batch-size", "4", "--max-steps", "12"))
    prompts = [SoftPrompt.from_pretrained(tmp_path / name).embeddings for name in ("one", "two")]
    assert (prompts[0] - prompts[1]).abs().max().item() < 1e-5
    assert one["n"] == two["n"] == 24


def checkpoint(folder: Path, step: int, *missing: str, state: str | None = None) -> None:
    where = folder / f"checkpoint-{step}"
    where.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        if name not in missing:
            save = save_file if name.endswith("safetensors") else torch.save
            save({"x": torch.ones(3)}, where / name)
    if "trainer_state.json" not in missing:
        (where / "trainer_state.json").write_text(state or json.dumps({"global_step": step}))


def test_a_half_written_checkpoint_is_not_resumed_from(tmp_path):
    assert last_complete_checkpoint(tmp_path) is None
    checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, "trainer_state.json")
    checkpoint(tmp_path, 30, state='{"global_st')
    checkpoint(tmp_path, 40, "optimizer.pt")
    checkpoint(tmp_path, 50, state='{"global_step": 7}')
    for step, name in enumerate(("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"), 60):
        checkpoint(tmp_path, step)
        whole = (tmp_path / f"checkpoint-{step}" / name).read_bytes()
        (tmp_path / f"checkpoint-{step}" / name).write_bytes(whole[:-9])
    assert last_complete_checkpoint(tmp_path).name == "checkpoint-10"


def test_a_damaged_record_is_set_aside_and_the_run_begins_anew(tiny, tmp_path):
    from test_training import arguments, skewed

    from prompt_hub.tasks import get_task
    from prompt_hub.training.run import train_prompt

    def train():
        args = arguments(tmp_path, max_steps=2)
        return train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p", resume=True)

    whole = train()
    record = tmp_path / "p" / "train.json"
    half = record.read_text()[:200]
    record.write_text(half)
    with pytest.warns(UserWarning, match=r"was damaged; it is now .*train\.json\.damaged"):
        assert train().prompt.hash == whole.prompt.hash
    assert record.with_name("train.json.damaged").read_text() == half
    assert json.loads(record.read_text())["status"] == "done"


def test_a_step_that_does_not_fit_is_said_with_what_to_do(tiny, tmp_path, monkeypatch):
    from test_training import arguments, skewed

    from prompt_hub.tasks import get_task
    from prompt_hub.training.run import train_prompt

    def label_logits(*parts):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(tiny("gpt2"), "label_logits", label_logits)
    args = arguments(tmp_path, max_steps=2)
    with pytest.raises(UserError, match=r"Memory ran out: CUDA out of memory.*smaller --batch-size"):
        train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p")


def test_other_settings_do_not_resume(tiny, tmp_path):
    from test_training import arguments, skewed

    from prompt_hub.tasks import get_task
    from prompt_hub.training.run import train_prompt

    args = arguments(tmp_path, max_steps=2)
    first = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p")
    again = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p", resume=True)
    assert again.prompt.hash == first.prompt.hash
    for change, named in (({"seed": 8}, "seed was 3, asked is 8"), ({"prompt_len": 5}, "prompt_len")):
        with pytest.raises(UserError, match=named):
            train_prompt(
                tiny("gpt2"), get_task("sst2"), skewed(), arguments(tmp_path, max_steps=2, **change),
                tmp_path / "p", resume=True,
            )  # fmt: skip
    with pytest.raises(UserError, match="data_fingerprint"):
        train_prompt(tiny("gpt2"), get_task("sst2"), skewed(63), args, tmp_path / "p", resume=True)


def killed_after_its_last_checkpoint(folder: Path) -> None:
    """What is left where a run is killed between its last checkpoint and its prompt."""
    record = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps({**record, "status": "running", "result": {}}))
    for name in ("prompt_hub.json", "adapter_model.safetensors"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    "ending",
    [
        # 57 training rows make 7 batches an epoch: step 10 ends within an epoch, step 14 with one.
        {"max_steps": 10},
        {"max_steps": 14},
        {"max_steps": 10, "hold_out": 0},
        {"max_steps": 40, "learning_rate": 1e-12, "early_stopping_patience": 1, "save_steps": 3},
    ],
    ids=["within-an-epoch", "at-an-epochs-end", "without-held-out-rows", "stopped-early"],
)
def test_a_run_killed_after_its_last_step_is_not_trained_further(tiny, tmp_path, ending):
    from test_training import arguments, skewed

    from prompt_hub.tasks import get_task
    from prompt_hub.training.run import train_prompt

    def run(resume: bool):
        args = arguments(tmp_path, **{"save_steps": 5, **ending})
        return train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "p", resume=resume)

    whole = run(resume=False)
    killed_after_its_last_checkpoint(tmp_path / "p")
    resumed = run(resume=True)
    assert resumed.steps == whole.steps <= ending["max_steps"]
    assert resumed.prompt.hash == whole.prompt.hash
    curves = [[entry for entry in result.history if "eval_loss" in entry] for result in (whole, resumed)]
    assert [entry["step"] for entry in curves[0]] == [entry["step"] for entry in curves[1]]
    assert [without_times(entry) for entry in resumed.history] == [without_times(e) for e in whole.history]


def without_times(entry: dict) -> dict:
    """An entry of a curve, without what an interruption changes."""
    changes = ("_runtime", "_per_second", "train_loss")
    return {name: value for name, value in entry.items() if not name.endswith(changes)}


def test_the_score_at_the_start_is_taken_once(tiny, tmp_path):
    from test_training import arguments, skewed

    from prompt_hub.tasks import get_task
    from prompt_hub.training.run import train_prompt

    args = arguments(tmp_path, max_steps=8, save_steps=2, eval_on_start=True)
    whole = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "whole")

    class Killed(Exception):
        pass

    class Kill(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise Killed

    with pytest.raises(Killed):
        train_prompt(
            tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "halved", callbacks=[Kill()]
        )  # fmt: skip
    halved = train_prompt(tiny("gpt2"), get_task("sst2"), skewed(), args, tmp_path / "halved", resume=True)
    assert halved.prompt.hash == whole.prompt.hash
    steps = [[e["step"] for e in result.history if "eval_loss" in e] for result in (whole, halved)]
    assert steps == [[0, 2, 4, 6, 8]] * 2
