"""A training step and an evaluation batch never wait for the device.

On a GPU the host only queues work; reading a number, copying a list of ids over or asking a tensor for its
truth makes it wait until all of the queue is done. On a CPU the same calls can be counted.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from test_training import arguments, skewed
from torch.utils._python_dispatch import TorchDispatchMode

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import sites_for
from prompt_hub.tasks import get_task
from prompt_hub.training.trainer import PromptTrainer

READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")
"""Operations whose answer the host waits for."""


class Waits(TorchDispatchMode):
    """Counts what would make a GPU wait."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in READS:
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


def reads_of_training(backbone, folder, steps: int) -> Counter[str]:
    task = get_task("sst2")
    encoder = Encoder(backbone, task, 4)
    rows = encoder.encode(skewed(64).examples)
    # One look at the loss, at the end.
    args = arguments(folder, max_steps=steps, evaluations=1, learning_rate=0.01)
    trainer = PromptTrainer(encoder, torch.randn(4, backbone.hidden), args, rows)
    # The first forward of a backbone looks which path is open to it; that one may wait.
    backbone.label_logits(trainer.prompt, encoder.batch(rows.rows[:1]), encoder.label_ids)
    with Waits() as waits:
        trainer.train()
    return waits.counts


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_no_step_of_a_training_reads_from_the_device(tiny, tmp_path, kind):
    backbone = tiny(kind)
    few = reads_of_training(backbone, tmp_path / "few", 2)
    many = reads_of_training(backbone, tmp_path / "many", 6)
    assert few == many


def test_an_evaluation_reads_its_scores_once(tiny, monkeypatch):
    backbone = tiny("llama")
    encoder = Encoder(backbone, get_task("sst2"), 4)
    rows = encoder.encode(skewed(40).examples)
    copies = []
    whole = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copies.append(tensor.shape) or whole(tensor))
    prompt = torch.randn(4, backbone.hidden)
    scores = label_scores(encoder, prompt, rows, 8)
    assert copies == [(40, 2)]
    one_by_one = [
        backbone.label_logits(prompt, encoder.batch([row]), encoder.label_ids)[0] for row in rows.rows
    ]
    torch.testing.assert_close(torch.from_numpy(scores), torch.stack(one_by_one), rtol=1e-5, atol=1e-5)


class Made(TorchDispatchMode):
    """Counts tensors made from Python numbers (but empty ones, with which caches begin) and products."""

    def __init__(self) -> None:
        super().__init__()
        self.from_numbers = self.products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.from_numbers += name == "lift_fresh" and args[0].numel() > 0
        self.products += name in ("mm", "addmm")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["gpt2", "roberta", "t5"])
def test_ids_are_copied_to_the_device_once(tiny, kind):
    backbone = tiny(kind)
    encoder = Encoder(backbone, get_task("sst2"), 4)
    batch = encoder.batch(encoder.encode(skewed(4).examples).rows)
    prompt, words = torch.randn(4, backbone.hidden), [[5], [6, 7]]
    with Made() as first:
        backbone.label_logits(prompt, batch, words)
    with Made() as second:
        backbone.label_logits(prompt, batch, words)
    assert first.from_numbers > 0
    assert second.from_numbers == 0 and second.products > 0


def test_a_mask_over_neurons_is_copied_to_the_device_once(tiny, monkeypatch):
    backbone = tiny("gpt2")
    encoder = Encoder(backbone, get_task("sst2"), 4)
    batch = encoder.batch(encoder.encode(skewed(4).examples).rows)
    prompt = torch.randn(4, backbone.hidden)
    sites = sites_for(backbone)
    chosen = torch.zeros(len(sites), sites[0].width, dtype=torch.bool)
    chosen[:, 0] = True
    moved = []
    whole = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda tensor, *where, **how: (
            moved.append((tensor.dtype, tensor.shape)) or whole(tensor, *where, **how)
        ),
    )
    with held_neurons(sites, chosen):
        for _ in range(3):
            backbone.label_logits(prompt, batch, encoder.label_ids)
    assert moved.count((torch.bool, (sites[0].width,))) == len(sites)
