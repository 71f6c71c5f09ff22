"""``prompt-hub prompts combine``, and a warm start from what it made."""

from __future__ import annotations

import pytest
import torch
from command import refuses, succeeds, write_csv

from prompt_hub.prompts.soft_prompt import SoftPrompt


@pytest.fixture
def two(trained, tiny_folder, files, own_columns, short, tmp_path):
    """Two prompts of one backbone, trained from different seeds."""
    second = tmp_path / "second"
    succeeds(
        "train", "--backbone", tiny_folder("gpt2"), "--train", files.other, *own_columns, *short,
        "--seed", "7", "--output", second,
    )  # fmt: skip
    return trained("gpt2"), second


def test_a_weighted_sum_is_a_prompt_like_any_other(two, files, own_columns, tmp_path):
    made = tmp_path / "made"
    result = succeeds("prompts", "combine", *two, "--weights", "-1,2", "-o", made, "--json").json
    first, second, found = (SoftPrompt.from_pretrained(place) for place in (*two, made))
    torch.testing.assert_close(found.embeddings, 2 * second.embeddings - first.embeddings)
    assert result["hash"] == found.hash and len(found.train_rows) == 48
    assert succeeds("eval", made, "--eval", files.eval, *own_columns, "--json").json["n"] == 16


def test_a_warm_start_begins_with_what_was_combined(two, own_columns, short, tmp_path):
    texts = [(f"a lovely {index} house was {word}", stars) for index in range(12)
             for stars, word in ((1, "sad"), (2, "happy"))]  # fmt: skip
    rows = write_csv(tmp_path / "target.csv", texts)
    succeeds("prompts", "combine", *two, "-o", tmp_path / "made")
    result = succeeds(
        "warm-start", "--source", tmp_path / "made", "--train", rows, "--eval", rows, *own_columns,
        "--max-steps", "2", "--device", "cpu", "--quiet", "--seeds", "1", "--output", tmp_path / "out",
        "--json",
    ).json  # fmt: skip
    assert [one["weight"] for one in result["source"]["parent"]["parents"]] == [0.5, 0.5]
    warm = SoftPrompt.from_pretrained(tmp_path / "out" / "runs" / "warm" / "seed-1")
    torch.testing.assert_close(warm.initial, SoftPrompt.from_pretrained(tmp_path / "made").embeddings)


def test_task_vectors_start_from_a_base(two, tmp_path):
    first, second = (SoftPrompt.from_pretrained(place) for place in two)
    succeeds("prompts", "combine", two[0], "--task-vector", "--base", two[1], "-o", tmp_path / "made")
    found = SoftPrompt.from_pretrained(tmp_path / "made")
    torch.testing.assert_close(found.embeddings, second.embeddings + first.embeddings - first.initial)


def test_combine_refuses_what_does_not_belong_and_replaces_nothing(two, trained, tmp_path):
    out = ("-o", tmp_path / "made")
    refuses("prompts", "combine", two[0], trained("bert"), *out, says=("family", "masked_lm", "causal_lm"))
    refuses("prompts", "combine", *two, "--weights", "1", *out, says=("1 weights for 2 prompts",))
    refuses("prompts", "combine", *two, "--weights", "a,b", *out, says=("'a,b'", "0.5,0.5"))
    refuses("prompts", "combine", *two, "--base", two[0], *out, says=("--task-vector",))
    refuses("prompts", "combine", *two, "-o", two[1], says=("already holds a prompt",))
    assert not (tmp_path / "made").exists()
