"""The options of training commands become training arguments."""

from __future__ import annotations

import pytest

from prompt_hub.cli.training_options import training_values

GIVEN = dict(
    max_steps=None, epochs=None, eval_every=None, lr=None, warmup_steps=0, batch_size=16, patience=None,
    device="cpu",
)  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "schedule", "optimizer", "expected"),
    [
        (None, None, None, {"lr_scheduler_type": "linear"}),
        ("paper", None, None, {"lr_scheduler_type": "constant", "optim": "adamw_hf", "max_grad_norm": 0.0}),
        ("paper", "linear", "sgd", {"lr_scheduler_type": "linear", "optim": "sgd", "max_grad_norm": 0.0}),
        ("prompt-text", "cosine", "adamw_hf", {"lr_scheduler_type": "cosine", "optim": "adamw_hf"}),
    ],
)
def test_layout_paper_brings_its_optimiser_and_schedule_unless_others_are_given(
    layout, schedule, optimizer, expected
):
    values = training_values(layout=layout, schedule=schedule, optimizer=optimizer, **GIVEN)
    assert {name: values[name] for name in expected} == expected
    assert set(values) & {"optim", "max_grad_norm", "layout"} == set(expected) - {"lr_scheduler_type"}
