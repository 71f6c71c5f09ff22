"""A backbone divided among two processes trains the prompt of a whole one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from command import succeeds
from test_interruption import command, data

from prompt_hub.backbones import load_backbone
from prompt_hub.backbones.sharding import shard
from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt

__all__ = ["data"]

LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
REPORT = """
import sys
from prompt_hub.backbones import load
whole = load.shard
def shard(model, device):
    before = sum(weight.numel() for weight in model.parameters())
    whole(model, device)
    local = [w.to_local() if hasattr(w, "to_local") else w for w in model.parameters()]
    sys.stderr.write(f"SHARE {sum(weight.numel() for weight in local) / before}\\n")
load.shard = shard
from prompt_hub.cli.main import run
run()
"""


@pytest.mark.slow
def test_two_processes_with_half_a_backbone_each_give_the_prompt_of_one(tiny_folder, data, tmp_path):
    backbone = tiny_folder("llama")
    few = ("--max-steps", "6", "--eval-every", "3")
    one = succeeds(*command(backbone, data, tmp_path / "one", *few, "--batch-size", "8")).json
    line = command(
        backbone, data, tmp_path / "two", *few, "--batch-size", "4", "--device", "sharded",
        "--gradient-checkpointing",
    )  # fmt: skip
    script = tmp_path / "sharded.py"
    script.write_text(REPORT)
    arguments = [sys.executable, "-m", *LAUNCHER[:-1], str(script), *line]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout.splitlines()[-1])
    found, expected = (SoftPrompt.from_pretrained(tmp_path / name) for name in ("two", "one"))
    assert (found.embeddings - expected.embeddings).abs().max().item() < 1e-5
    assert (found.embeddings - found.initial).norm() > 0.01
    assert two["metrics"] == one["metrics"] and two["n"] == one["n"]
    # Two processes may write into one line.
    shares = [float(text) for text in re.findall(r"SHARE (0\.\d+)", done.stdout + done.stderr)]
    # Embeddings and head are whole in both, and nearly half of so small a model.
    assert len(shares) == 2 and all(share < 0.85 for share in shares)


def test_one_process_has_nobody_to_share_with(tiny_folder):
    with pytest.raises(UserError, match=r"but there is one.*torchrun --nproc-per-node 2"):
        load_backbone(str(tiny_folder("gpt2")), device="sharded")
    with pytest.raises(UserError, match="A 4bit backbone cannot be sharded"):
        load_backbone(str(tiny_folder("gpt2")), device="sharded", dtype="4bit")


def test_a_model_without_known_layers_is_refused():
    with pytest.raises(UserError, match=r"Linear has none\. Use --device balanced"):
        shard(torch.nn.Linear(2, 2), torch.device("cpu"))
