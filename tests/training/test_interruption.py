"""A run killed at any moment goes on to the same prompt; two processes give what one gives."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


def command(
    backbone: Path, data: Path, output: Path, *more: str, launcher: tuple[str, ...] = ()
) -> list[str]:
    return [
        sys.executable, "-m", *launcher, "prompt_hub", "train", "--backbone", str(backbone),
        "--train", str(data / "train.jsonl"), "--eval", str(data / "eval.jsonl"), "--text-a", "review",
        "--label", "stars", "--label-words", "1=bad,2=good", "--prompt-len", "4", "--max-steps", str(STEPS),
        "--eval-every", "4", "--device", "cpu", "--output", str(output), "--json", *more,
    ]  # fmt: skip


def run(arguments: list[str]) -> dict:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_prompt_of_an_uninterrupted_one(tiny_folder, data, tmp_path):
    backbone = tiny_folder("gpt2")
    whole = run(command(backbone, data, tmp_path / "whole", "--batch-size", "8"))
    halved = command(backbone, data, tmp_path / "halved", "--batch-size", "8")
    process = subprocess.Popen(halved, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "halved" / "checkpoints"
    while last_complete_checkpoint(checkpoints) is None and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed_from = last_complete_checkpoint(checkpoints)
    assert resumed_from is not None and not (tmp_path / "halved" / "prompt_hub.json").exists()
    resumed = run([*halved, "--resume"])
    assert resumed["prompt_hash"] == whole["prompt_hash"]
    assert resumed["metrics"] == whole["metrics"] and resumed["steps"] == STEPS
    assert run([*halved, "--resume"])["prompt_hash"] == whole["prompt_hash"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
def test_two_processes_give_the_prompt_of_one_with_the_doubled_batch(tiny_folder, data, tmp_path, kind):
    backbone = tiny_folder(kind)
    one = run(command(backbone, data, tmp_path / "one", "--batch-size", "8", "--max-steps", "12"))
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    two = run(
        command(backbone, data, tmp_path / "two", "--batch-size", "4", "--max-steps", "12", launcher=launcher)
    )
    prompts = [SoftPrompt.from_pretrained(tmp_path / name).embeddings for name in ("one", "two")]
    assert (prompts[0] - prompts[1]).abs().max().item() < 1e-5
    assert one["n"] == two["n"] == 24


def checkpoint(folder: Path, step: int, *missing: str, state: str | None = None) -> None:
    where = folder / f"checkpoint-{step}"
    where.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        if name not in missing:
            (where / name).write_bytes(b"x")
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
    assert last_complete_checkpoint(tmp_path).name == "checkpoint-10"


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
