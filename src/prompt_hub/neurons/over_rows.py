"""Neurons over the rows of a task, reduced batch by batch: no more than one batch is ever held.

Shape letters: ``L`` layers, ``F`` FFN width, ``B`` batch, ``M`` positions, ``P`` prompt length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prompt_hub.backbones.ffn import FFNSite
from prompt_hub.encoding.batches import batches_by_length
from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError
from prompt_hub.neurons.capture import Positions, input_positions, plain_forward, recording, sites_for
from prompt_hub.progress import track
from prompt_hub.tasks.splits import Split

_POSITIONS_AT_ONCE = 512
"""Of a batch; bounds the memory of ``[B, M, L, F]`` where all prompt positions are recorded."""


@dataclass(frozen=True)
class RowActivations:
    """mean, fires: ``[L, F]`` float32, the mean value and the share of inputs on which it is above 0 (several
    positions are averaged). n: rows. value: ``before``, ``gate`` or ``after``."""

    mean: Tensor
    fires: Tensor
    n: int
    value: str


def capture_rows(
    encoder: Encoder,
    prompt: Tensor | None,
    split: Split,
    *,
    positions: Positions = "read",
    value: str = "after",
    sites: Sequence[FFNSite] | None = None,
    batch_size: int = 32,
) -> RowActivations:
    """Mean and firing share of every neuron over a task's rows under ``prompt`` (``[P, H]`` or None).

    Memory does not grow with the number of rows. Raises ``UserError`` for a split without rows and as
    ``input_positions`` does.
    """
    total: Tensor | None = None
    fired: Tensor | None = None
    for _, values in _recorded(encoder, prompt, split, positions, value, sites, batch_size, "neurons"):
        added = values.double().mean(1).sum(0)
        above = (values > 0).double().mean(1).sum(0)
        total = added if total is None else total + added
        fired = above if fired is None else fired + above
    assert total is not None and fired is not None
    n = len(split)
    return RowActivations((total / n).float().cpu(), (fired / n).float().cpu(), n, value)


def predictivity(
    encoder: Encoder,
    prompt: Tensor,
    train: Split,
    test: Split,
    *,
    positions: Positions | None = None,
    value: str = "after",
    sites: Sequence[FFNSite] | None = None,
    batch_size: int = 32,
) -> Tensor:
    """``[L, F]``, 0.5 to 1: how well each neuron alone tells the classes of ``test`` apart.

    Wang et al. 2022, "Finding Skill Neurons in Pre-trained Transformer-based Language Models", section 3: a
    neuron's mean over ``train`` at a position is its threshold; the accuracy of "above it" for one class, or
    of the opposite, is its predictivity there, and the best position counts. Over several prompts of a task
    they take the mean. With more than two classes each stands against the rest and the best counts; the two
    recalls are averaged then, as if that subtask were balanced (theirs are, by leaving rows out).

    positions: default every prompt position, or where the label is read in a decoder, whose prompt positions
    (if any) do not see the text. Raises ``UserError`` for a task without classes, or rows of one class only.
    """
    task, backbone = encoder.task, encoder.backbone
    if task.kind != "classification":
        raise UserError(f"Task {task.name!r} is a {task.kind}; predictivity needs a classification.")
    if backbone.family == "causal_lm" and positions == "prompt":
        raise UserError(
            f"Backbone {backbone.name} is causal: its prompt positions do not see the text, so nothing there "
            "can predict a label. Use positions 'read'."
        )
    if positions is None:
        in_decoder = backbone.family == "causal_lm" or (sites is not None and sites[0].stack == "decoder")
        positions = "read" if in_decoder else "prompt"
    labels = torch.tensor([-1 if label is None else int(label) for label in test.labels()])
    found = sorted(set(labels.tolist()))
    if len(found) < 2 or found[0] < 0:
        raise UserError(
            f"Task {task.name!r}: the {len(test)} rows of {test.source} are unlabelled or all of one class. "
            "Predictivity needs labelled rows of two classes or more."
        )
    threshold: Tensor | None = None
    for _, values in _recorded(encoder, prompt, train, positions, value, sites, batch_size, "thresholds"):
        added = values.double().sum(0)
        threshold = added if threshold is None else threshold + added
    assert threshold is not None
    threshold /= len(train)

    above = {label: torch.zeros(threshold.shape, dtype=torch.int32) for label in found}
    for indices, values in _recorded(
        encoder, prompt, test, positions, value, sites, batch_size, "predictivity"
    ):
        over = values.double() > threshold
        for label in found:
            above[label] += over[(labels[indices] == label).to(over.device)].sum(0, dtype=torch.int32).cpu()
    counts = {label: int((labels == label).sum()) for label in found}
    return _best(above, counts).amax(0).float()


def _best(above: dict[int, Tensor], counts: dict[int, int]) -> Tensor:
    """``[M, L, F]`` from the rows of each class that lie above the threshold."""
    n = sum(counts.values())
    if len(counts) == 2:
        low, high = sorted(counts)
        right = above[high].double() + (counts[low] - above[low].double())
        accuracy = right / n
        return torch.maximum(accuracy, 1 - accuracy)
    every = torch.stack(list(above.values())).sum(0).double()
    best = torch.full(every.shape, 0.5, dtype=torch.double)
    for label, inside in above.items():
        hits = inside.double() / counts[label]
        rejected = 1 - (every - inside.double()) / (n - counts[label])
        balanced = (hits + rejected) / 2
        best = torch.maximum(best, torch.maximum(balanced, 1 - balanced))
    return best


@torch.no_grad()
def _recorded(
    encoder: Encoder,
    prompt: Tensor | None,
    split: Split,
    positions: Positions,
    value: str,
    sites: Sequence[FFNSite] | None,
    batch_size: int,
    description: str,
) -> Iterator[tuple[list[int], Tensor]]:
    """Row numbers and values ``[B, M, L, F]``, a batch at a time."""
    task, backbone = encoder.task, encoder.backbone
    if not len(split):
        raise UserError(f"Task {task.name!r}: {split.source} has no rows to look at.")
    sites = sites_for(backbone, positions) if sites is None else sites
    encoded = encode_split(encoder, split)
    prompt_len = 0 if prompt is None else prompt.shape[0]
    named = {"read": 1, "prompt": prompt_len}
    width = named.get(positions, 1) if isinstance(positions, str) else len(positions)
    size = max(1, min(batch_size, _POSITIONS_AT_ONCE // max(1, width)))
    batches = batches_by_length([len(row.ids) for row in encoded.rows], size)
    for indices in track(batches, description, len(batches)):
        batch = encoder.batch([encoded[index] for index in indices], with_targets=False)
        where = input_positions(backbone, sites, batch, prompt_len, positions)
        with recording(sites, where, (value,)) as recorded:
            plain_forward(backbone, prompt, batch)
            values = recorded[value]
        yield indices, values
