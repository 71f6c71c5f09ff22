"""Prompts are added row by row; what comes out remembers where it is from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.prompts.arithmetic import add_task_vectors, weighted_sum
from prompt_hub.prompts.soft_prompt import SoftPrompt


def test_without_weights_it_is_the_average(make_prompt: Any) -> None:
    first, second = make_prompt(seed=1), make_prompt(seed=2)
    found = weighted_sum([first, second])
    torch.testing.assert_close(found.embeddings, (first.embeddings + second.embeddings) / 2)


def test_weights_are_used_as_they_are(make_prompt: Any) -> None:
    first, second = make_prompt(seed=1), make_prompt(seed=2)
    found = weighted_sum([first, second], [2.0, -0.5])
    torch.testing.assert_close(found.embeddings, 2 * first.embeddings - 0.5 * second.embeddings)


def test_task_vectors_are_added_to_where_the_first_began(make_prompt: Any) -> None:
    began = [torch.full((5, 32), value) for value in (1.0, 2.0)]
    first, second = (make_prompt(seed=seed, initial=began[seed]) for seed in (0, 1))
    found = add_task_vectors([first, second], [1.0, 0.5])
    expected = first.embeddings + 0.5 * (second.embeddings - 2.0)
    torch.testing.assert_close(found.embeddings, expected)
    torch.testing.assert_close(add_task_vectors([first]).embeddings, first.embeddings)


def test_task_vectors_are_added_to_another_prompt(make_prompt: Any) -> None:
    source, base = make_prompt(seed=1, initial=torch.ones(5, 32)), make_prompt(seed=2, task="mnli")
    found = add_task_vectors([source], base=base)
    torch.testing.assert_close(found.embeddings, base.embeddings + source.embeddings - 1.0)
    assert [one["hash"] for one in found.metadata.parent["parents"]] == [source.hash, base.hash]


def test_parents_and_their_training_rows_are_remembered_on_disk(make_prompt: Any, tmp_path: Path) -> None:
    first = make_prompt(seed=1, train_rows=torch.tensor([1, 2]), task="imdb", task_type="sentiment")
    second = make_prompt(seed=2, train_rows=torch.tensor([2, 3]), task="sst2", task_type="sentiment")
    weighted_sum([first, second], [0.25, 0.75]).save_pretrained(tmp_path / "p")
    found = SoftPrompt.from_pretrained(tmp_path / "p")
    assert found.train_rows.tolist() == [1, 2, 3]
    assert found.metadata.parent == {
        "hash": None,
        "relation": "combined",
        "form": "sum",
        "parents": [
            {"hash": first.hash, "task": "imdb", "weight": 0.25},
            {"hash": second.hash, "task": "sst2", "weight": 0.75},
        ],
    }
    assert (found.metadata.task, found.metadata.task_type) == (None, "sentiment")
    assert found.metadata.backbone == first.metadata.backbone and found.metadata.layout == "prompt-text"
    card = (tmp_path / "p" / "README.md").read_text()
    assert f"hash {first.hash} task imdb weight 0.25" in card


def test_one_parent_that_does_not_know_its_rows_leaves_them_unknown(make_prompt: Any) -> None:
    first, second = make_prompt(seed=1, train_rows=torch.tensor([1])), make_prompt(seed=2)
    assert weighted_sum([first, second]).train_rows is None


def test_prompts_of_one_task_give_a_prompt_of_that_task(make_prompt: Any) -> None:
    facts = {"template": "{text_a}", "label_words": ["bad", "good"], "classes": ["neg", "pos"]}
    found = weighted_sum([make_prompt(seed=seed, **facts) for seed in (1, 2)]).metadata
    assert (found.task, found.template, found.label_words) == ("sst2", "{text_a}", ["bad", "good"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_len": 6}, r"length \(rows\).*5 in the first.*6 in number 2"),
        ({"hidden": 16}, "width"),
        ({"layout": "prompt-mask-text"}, "layout"),
        (
            {"backbone": {"name": "x/gpt2", "family": "causal_lm", "embedding_hash": "a" * 16}},
            "embedding hash",
        ),
        ({"backbone": {"name": "tiny/gpt2", "family": "masked_lm"}}, "family"),
        ({"backbone": {"name": "other/opt"}}, "backbone"),
    ],
)
def test_prompts_that_do_not_belong_together_are_refused(
    make_prompt: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        weighted_sum([make_prompt(), make_prompt(**change)])


def test_an_imported_prompt_that_knows_its_backbone_by_name_belongs(make_prompt: Any) -> None:
    imported = make_prompt(backbone={"name": "elsewhere/GPT2"}, layout=None)
    found = weighted_sum([imported, make_prompt()])
    assert found.metadata.backbone["embedding_hash"] == "e" * 16 and found.metadata.layout == "prompt-text"


@pytest.mark.parametrize(
    ("prompts", "weights", "message"),
    [(2, [1.0], "1 weights for 2"), (1, [float("nan")], "not nan"), (0, None, "no prompts")],
)
def test_wrong_weights_are_refused(
    make_prompt: Any, prompts: int, weights: list[float] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        weighted_sum([make_prompt(seed=seed) for seed in range(prompts)], weights)


def test_a_prompt_without_a_beginning_has_no_task_vector(make_prompt: Any) -> None:
    with pytest.raises(UserError, match=r"Prompt 2 .* does not know where its training began"):
        add_task_vectors([make_prompt(initial=torch.ones(5, 32)), make_prompt(seed=1)])
