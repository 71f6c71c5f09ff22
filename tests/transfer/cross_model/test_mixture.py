"""What a projector is trained on: batches of one task, and losses that a hand-written forward gives too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from prompt_hub.encoding.encoder import EncodedRow, Encoder
from prompt_hub.tasks import get_task, load_split
from prompt_hub.transfer.cross_model.mixture import (
    Collate,
    ProjectorModule,
    TaskBatchSampler,
    TaskRow,
    mixed,
    pairs,
)
from prompt_hub.transfer.cross_model.projector import FlatProjector
from prompt_hub.transfer.cross_model.recipe import Recipe, calibrated_gain, fresh, token_norm

TASKS = ("mini/film", "mini/nli_objects")


@pytest.fixture(scope="module")
def world(tiny):
    """Encoders, encoded rows and prompts of two tasks with two and three classes."""
    torch.manual_seed(0)
    backbone = tiny("gpt2")
    encoders = [Encoder(backbone, get_task(name), 4) for name in TASKS]
    rows = [
        encoder.encode(load_split(encoder.task, "train", limit=12, seed=1).examples) for encoder in encoders
    ]
    sources = torch.randn(2, 5, 8)
    targets = torch.randn(2, 4, backbone.hidden)
    return backbone, encoders, rows, sources, targets


def module_of(world, objective, weight=1.0, gain=0.5):
    backbone, encoders, _, sources, targets = world
    torch.manual_seed(1)
    projector = FlatProjector((5, 8), (4, backbone.hidden), 6)
    return ProjectorModule(projector, gain, encoders, sources, targets, objective, weight)


def batch_of(world, module, task, count=3):
    encoders, rows = world[1], world[2]
    return Collate(encoders)([TaskRow(task, row) for row in rows[task].rows[:count]])


def by_hand(world, module, task, count=3):
    """Loss of ``count`` rows of a task, each by itself, by the plain forward."""
    backbone, encoders, rows, sources, _ = world
    prompt = module.projector(sources[task]) * module.gain
    losses = []
    for row in rows[task].rows[:count]:
        batch = encoders[task].batch([row])
        logits = backbone.reference_label_logits(prompt, batch, encoders[task].label_ids)
        losses.append(F.cross_entropy(logits, batch.labels))
    return torch.stack(losses).mean()


def test_task_tuning_is_the_targets_loss_under_the_projected_prompt(world):
    module = module_of(world, "task-tuning")
    for task in (0, 1):
        found = module(**batch_of(world, module, task))["loss"]
        torch.testing.assert_close(found, by_hand(world, module, task), atol=1e-5, rtol=1e-5)


def test_a_batch_of_two_tasks_has_the_mean_loss_of_its_rows(world):
    module = module_of(world, "task-tuning")
    rows = [TaskRow(0, world[2][0].rows[0]), *(TaskRow(1, row) for row in world[2][1].rows[:3])]
    found = module(**Collate(world[1])(rows))["loss"]
    expected = (by_hand(world, module, 0, 1) + 3 * by_hand(world, module, 1, 3)) / 4
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_distance_is_relative_to_the_targets_own_prompt(world):
    module = module_of(world, "distance")
    found = module(**Collate(world[1])(pairs(2)))["loss"]
    sources, targets = world[3].numpy(), world[4].numpy()
    made = [module.projector(torch.as_tensor(one)).detach().numpy() * 0.5 for one in sources]
    expected = sum(((one - aim) ** 2).sum() / (aim**2).sum() for one, aim in zip(made, targets, strict=True))
    assert found.item() == pytest.approx(expected / 2, rel=1e-5)


def test_both_is_the_sum_with_its_weight(world):
    tuned, distant = module_of(world, "task-tuning"), module_of(world, "distance")
    both = module_of(world, "both", weight=3.0)
    batch = batch_of(world, both, 1)
    expected = tuned(**batch)["loss"] + 3.0 * distant(task_index=[1])["loss"]
    torch.testing.assert_close(both(**batch)["loss"], expected)


def test_only_the_projector_learns(world):
    module = module_of(world, "both")
    module(**batch_of(world, module, 0))["loss"].backward()
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"projector"}
    assert all(float(weight.grad.abs().sum()) > 0 for weight in module.parameters())
    assert not any(weight.requires_grad for weight in world[0].model.parameters())
    assert set(module.state_dict()) == {f"projector.{name}" for name in module.projector.state_dict()}


def test_every_batch_is_of_one_task_and_every_epoch_has_another_order(world):
    rows = mixed([world[2][0], world[2][1]]) + [TaskRow(2, EncodedRow([1, 2], 1, 0)) for _ in range(2)]
    sampler = TaskBatchSampler(rows, 4, seed=3)
    first = list(sampler)
    assert len(first) == len(sampler) == 12 + 12 + 4
    batches = [first[start : start + 4] for start in range(0, len(first), 4)]
    assert all(len({rows[index].task for index in batch}) == 1 for batch in batches)
    # All rows of the large tasks once; a task smaller than a batch fills one with its own rows.
    assert sorted(index for index in first if rows[index].task < 2) == list(range(24))
    assert sorted(index for index in first if rows[index].task == 2) == [24, 24, 25, 25]
    assert list(TaskBatchSampler(rows, 4, seed=3)) == first
    sampler.set_epoch(1)
    assert list(sampler) != first


@pytest.mark.parametrize("network", ["flat", "per-token", "low-rank"])
def test_a_fresh_projector_gives_rows_as_long_as_the_targets_tokens(tiny, network):
    backbone = tiny("bert")
    norm = token_norm(backbone)
    table = backbone.embedding_matrix
    assert float(table.norm(dim=1).min()) < norm < float(table.norm(dim=1).max())
    sources = 30 * torch.randn(3, 5, 8)
    made = Recipe(network=network).network_for((5, 8), (5, backbone.hidden))
    projector = fresh(made, seed=2)
    gain = calibrated_gain(projector, sources, norm)
    rows = torch.cat([projector(one).detach() * gain for one in sources]).numpy()
    assert ((rows**2).sum(1).mean()) ** 0.5 == pytest.approx(norm, rel=1e-5)
    again = fresh(made, seed=2).state_dict()
    assert all(bool((again[name] == weight).all()) for name, weight in projector.state_dict().items())
