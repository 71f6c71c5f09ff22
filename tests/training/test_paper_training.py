"""Training under layout ``paper``: losses, gradients and steps of the original code."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from paper_oracle import TASKS, Oracle, close
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Example, Split, get_task
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.module import PromptModule
from prompt_hub.training.optimizers import AdamWHF
from prompt_hub.training.presets import PAPER_RECIPE, init_for, learning_rate_for
from prompt_hub.training.run import train_prompt

ROWS = Split.of(
    "train",
    [Example(f"the film was {word}", None, label) for label, word in enumerate(("bad", "good"))] * 20,
    "test",
)


def module_and_batch(oracle: Oracle, task: str) -> tuple[PromptModule, dict[str, torch.Tensor]]:
    """The trainable module on prompt 0, and the original's batch of six as the Trainer would hand it over."""
    registered = get_task(TASKS[task])
    family = oracle.backbone.family
    words = registered.label_words.get(family) or registered.label_words["default"]
    labels = oracle.arrays["labels_" + task if family == "masked_lm" else "class_index_" + task].long()
    known = {word: list(ids) for word, ids in zip(words, oracle.label_ids(task), strict=True)}
    if family == "seq2seq_lm":
        for label, target in zip(labels.tolist(), oracle.arrays["target_" + task].tolist(), strict=True):
            known[words[label]] = [token for token in target if token >= 0]
    oracle.backbone.tokenizer.known = known
    encoder = Encoder(oracle.backbone, registered, 100, "paper")
    ids, mask = oracle.inputs(task)
    longest = int(mask.sum(1).max())
    batch = {
        "input_ids": ids[:, :longest],
        "attention_mask": mask[:, :longest],
        "read_positions": torch.zeros(len(ids), 1, dtype=torch.long),
        "labels": labels,
    }
    return PromptModule(encoder, oracle.arrays["prompts"][0]), batch


@pytest.fixture(params=[("roberta", "SST2"), ("roberta", "MNLI"), ("t5", "SST2"), ("t5", "MNLI")])
def trained(request, shared):
    kind, task = request.param
    oracle = Oracle(shared, kind)
    module, batch = module_and_batch(oracle, task)
    return SimpleNamespace(kind=kind, task=task, arrays=oracle.arrays, module=module.train(), batch=batch)


def test_loss_and_gradient_equal_the_original_codes(trained):
    name = "loss" if trained.kind == "roberta" else "train_loss"
    loss = trained.module(**trained.batch)["loss"]
    loss.backward()
    assert close(loss, trained.arrays[f"{name}_{trained.task}"][0])
    assert close(trained.module.prompt.grad, trained.arrays[f"grad_prompt0_{trained.task}"])


def test_five_steps_equal_the_original_codes(shared):
    for kind, rate in (("roberta", 1e-3), ("t5", 5e-3)):
        oracle = Oracle(shared, kind)
        module, batch = module_and_batch(oracle, "SST2")
        optimizer = AdamWHF(module.train().parameters(), lr=rate)
        for step, expected in enumerate(oracle.arrays["train_losses"], 1):
            optimizer.zero_grad()
            loss = module(**batch)["loss"]
            assert close(loss, expected)
            loss.backward()
            optimizer.step()
            if step in (1, 5):
                assert close(module.prompt.detach(), oracle.arrays[f"train_prompt_after_{step}"])


def test_torchs_adamw_is_not_the_papers(shared):
    oracle = Oracle(shared, "roberta")
    module, batch = module_and_batch(oracle, "SST2")
    module.train()(**batch)["loss"].backward()
    torch.optim.AdamW(module.parameters(), lr=1e-3, eps=1e-6, weight_decay=0).step()
    drift = (module.prompt.detach() - oracle.arrays["train_prompt_after_1"]).abs().max()
    assert drift > 5e-4


def test_an_evaluation_during_training_scores_t5_with_a_mask_and_one_token(shared):
    oracle = Oracle(shared, "t5")
    module, batch = module_and_batch(oracle, "MNLI")
    logits = module.eval()(**batch)["logits"]
    assert close(logits, oracle.arrays["eval_scores_MNLI"][0])
    assert not close(logits, oracle.arrays["train_first_step_scores_MNLI"][0], 0.02)


def test_one_sub_token_only_would_be_another_loss(shared):
    oracle = Oracle(shared, "t5")
    module, batch = module_and_batch(oracle, "MNLI")
    tokenizer = oracle.backbone.tokenizer
    tokenizer.known = {word: ids[:1] for word, ids in tokenizer.known.items()}
    loss = module.train()(**batch)["loss"]
    assert not close(loss, oracle.arrays["train_loss_MNLI"][0], 0.1)


# -- the optimiser and the recipe ------------------------------------------------------------------


def test_the_first_step_is_the_formulas():
    parameter = torch.nn.Parameter(torch.zeros(3))
    gradient = torch.tensor([1.0, 1e-4, -1e-6])
    parameter.grad = gradient.clone()
    AdamWHF([parameter], lr=0.1).step()
    expected = -0.1 * gradient / (gradient.abs() + 1e-6 / (1 - 0.999) ** 0.5)
    assert torch.allclose(parameter.detach(), expected, rtol=1e-4)


def test_weight_decay_shrinks_by_rate_times_decay_after_the_step():
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.zeros(1)
    AdamWHF([parameter], lr=0.1, weight_decay=0.5).step()
    assert parameter.item() == pytest.approx(0.95)


def test_the_arguments_know_the_old_adamw_and_its_epsilon(tmp_path):
    args = PromptTrainingArguments(output_dir=str(tmp_path), optim="adamw_hf")
    assert (args.optim, args.adam_epsilon) == ("adamw_hf", 1e-6)
    given = PromptTrainingArguments(output_dir=str(tmp_path), optim="adamw_hf", adam_epsilon=1e-5)
    assert given.adam_epsilon == 1e-5


def test_presets_under_the_layout_are_the_papers(tiny):
    for kind, init, rate in (("bert", "random:0.02", 1e-3), ("t5", "random:1", 5e-3)):
        assert init_for(tiny(kind), "paper") == init != init_for(tiny(kind), None)
        assert learning_rate_for(tiny(kind), "paper") == rate != learning_rate_for(tiny(kind))
    large = SimpleNamespace(family="masked_lm", hidden=1024)
    assert learning_rate_for(large, "paper") == 1e-4


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5"])
def test_a_prompt_is_trained_and_stored_under_the_layout(tiny, kind, tmp_path):
    args = PromptTrainingArguments(
        output_dir=str(tmp_path), prompt_len=5, max_steps=4, layout="paper", disable_tqdm=True, **PAPER_RECIPE
    )
    result = train_prompt(tiny(kind), get_task("sst2"), ROWS, args, tmp_path, validation=ROWS)
    stored = SoftPrompt.from_pretrained(tmp_path).metadata
    assert stored.layout == "paper" and stored.hyperparameters["optimizer"] == "adamw_hf"
    assert stored.template["segments"] == ["{text_a}"]
    assert stored.hyperparameters["init"] == ("random:1" if kind == "t5" else "random:0.02")
    assert result.evaluation.layout == "paper" and result.evaluation.n == 40
    assert "cut" in result.evaluation.warnings[0]


def test_under_a_causal_model_the_layout_is_refused_before_anything_is_trained(tiny, tmp_path):
    args = PromptTrainingArguments(output_dir=str(tmp_path / "out"), max_steps=1, layout="paper")
    with pytest.raises(UserError, match="not for a causal_lm"):
        train_prompt(tiny("gpt2"), get_task("sst2"), ROWS, args, tmp_path / "out")
    assert not (tmp_path / "out" / "train.json").exists()
