"""Where memory runs out, batches are halved, the result stays, and the record says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_evaluate import make_prompt, rows, telling

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import evaluate
from prompt_hub.evaluation.fitting import in_batches_that_fit

OUT = "CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.fixture
def encoder(tiny: Any) -> Encoder:
    return Encoder(tiny("gpt2"), telling(tiny("gpt2")), 5)


def short_of_memory(
    monkeypatch: pytest.MonkeyPatch, encoder: Encoder, most: int, error: Exception
) -> list[int]:
    """The sizes of the batches that the backbone was asked for; more than ``most`` rows do not fit."""
    whole, asked = encoder.backbone.label_logits, []

    def label_logits(prompt: Any, batch: Any, label_ids: Any) -> Any:
        asked.append(len(batch.input_ids))
        if asked[-1] > most:
            raise error
        return whole(prompt, batch, label_ids)

    monkeypatch.setattr(encoder.backbone, "label_logits", label_logits)
    return asked


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(OUT), MemoryError()], ids=["device", "host"])
def test_a_batch_that_does_not_fit_is_halved_and_recorded(
    monkeypatch: pytest.MonkeyPatch, encoder: Encoder, error: Exception
) -> None:
    prompt = make_prompt(encoder.backbone)
    before = evaluate(encoder, prompt, rows(), batch_size=8, floors=())
    asked = short_of_memory(monkeypatch, encoder, 3, error)
    after = evaluate(encoder, prompt, rows(), batch_size=8, floors=())
    assert asked[:2] == [8, 4] and set(asked[2:]) <= {1, 2}
    assert after.metrics == before.metrics and after.predicted == before.predicted
    assert [one for one in after.warnings if one not in before.warnings] == [
        "Memory ran out with 8 rows a batch; computed with 2. Choose --batch-size 2."
    ]


def test_one_row_that_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    short_of_memory(monkeypatch, encoder, 0, torch.OutOfMemoryError(OUT))
    with pytest.raises(UserError, match="one row a batch: CUDA out of memory"):
        evaluate(encoder, make_prompt(encoder.backbone), rows(), batch_size=8, floors=())


def test_other_errors_pass() -> None:
    sizes = []

    def run(size: int) -> None:
        sizes.append(size)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches_that_fit(run, 8)
    assert sizes == [8]
