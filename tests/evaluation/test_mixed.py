"""Requests for several prompts, answered in shared batches as each prompt answers alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.evaluation.mixed import Served, predict_mixed
from prompt_hub.evaluation.predict import predict
from prompt_hub.tasks import Example, get_task

WORDS = "the film was good bad great awful plot actor house garden".split()


def served(backbone, name: str, seed: int, count: int, prompt_len: int = 4) -> Served:
    generator = torch.Generator().manual_seed(seed)
    encoder = Encoder(backbone, get_task(name), prompt_len)
    lengths = torch.randint(2, 9, (count, 2), generator=generator).tolist()
    texts = [[" ".join(WORDS[(seed + at) % 11] for at in range(length)) for length in row] for row in lengths]
    two = encoder.task.has_text_b
    rows = encoder.encode([Example(first, second if two else None) for first, second in texts])
    return Served(encoder, 0.5 * torch.randn(prompt_len, backbone.hidden, generator=generator), rows)


@pytest.mark.parametrize("kind", ["gpt2", "roberta", "t5"])
def test_every_prompt_answers_as_it_does_alone(tiny, kind, monkeypatch):
    """Two classifications, a regression, another prompt length, and a text to generate where that can be."""
    backbone = tiny(kind)
    asked = [
        served(backbone, "sst2", 1, 5),
        served(backbone, "rotten_tomatoes", 2, 7),
        served(backbone, "stsb", 3, 1),
        served(backbone, "sst2", 4, 3, prompt_len=6),
    ]
    if backbone.can_generate:
        asked.append(served(backbone, "samsum", 5, 2))
    alone = [predict(one.encoder, one.prompt, one.rows, 4) for one in asked]
    found = predict_mixed(asked, 4)
    for one, other in zip(found, alone, strict=True):
        if one.probabilities is None:
            assert one.values == other.values
        else:
            np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(one.values, other.values, rtol=1e-4)


def test_prompts_share_their_batches(tiny, monkeypatch):
    backbone, sizes = tiny("gpt2"), []
    whole = backbone.label_logits
    monkeypatch.setattr(
        backbone,
        "label_logits",
        lambda prompt, batch, words: sizes.append(batch.size) or whole(prompt, batch, words),
    )
    predict_mixed([served(backbone, "sst2", seed, 1) for seed in range(10)], 4)
    assert sizes == [4, 4, 2]


def test_nothing_asked_is_nothing_answered(tiny):
    assert predict_mixed([], 4) == []
