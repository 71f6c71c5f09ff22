"""A prompt in another number of rows holds rows of the old one, in their order, and says so."""

from __future__ import annotations

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.transfer.cross_model.lengths import evenly_spaced, resample, resized


@pytest.mark.parametrize(
    ("given", "wanted", "kept"),
    [
        (6, 3, [1, 3, 5]),
        (5, 2, [1, 3]),
        (7, 1, [3]),
        (4, 4, [0, 1, 2, 3]),
        (2, 6, [0, 0, 0, 1, 1, 1]),
        (3, 5, [0, 0, 1, 2, 2]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_rows_are_spread_evenly_over_the_prompt(given, wanted, kept):
    assert evenly_spaced(given, wanted) == kept


def test_a_row_that_never_reaches_the_model_takes_no_live_rows_place():
    rows = torch.arange(7.0)[:, None].expand(7, 2)
    assert resample(rows, 4, dead=(0,))[:, 0].tolist() == [0, 2, 4, 6]
    assert resample(rows, 13, dead=(0,))[:, 0].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert resample(rows, 1, dead=(0,))[:, 0].tolist() == [0]


def test_the_new_prompt_keeps_what_the_old_one_knows():
    values = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    known = PromptMetadata(task="sst2", parent={"relation": "projected", "hash": "ab"}, metrics={"n": 3})
    prompt = SoftPrompt(values, known, torch.tensor([5]), initial=2 * values)
    made = resized(prompt, 3)
    assert torch.equal(made.embeddings, values[[1, 3, 5]])
    assert torch.equal(made.initial, 2 * made.embeddings) and made.train_rows.tolist() == [5]
    assert made.metadata.parent == {"relation": "projected", "hash": "ab", "resampled_from": 6}
    assert made.metadata.prompt_len == 3 and made.metadata.metrics == {} and made.metadata.task == "sst2"
    assert prompt.metadata.parent == {"relation": "projected", "hash": "ab"}
    assert resized(prompt, 6) is prompt
    with pytest.raises(UserError, match="at least one row, not 0"):
        resized(prompt, 0)
