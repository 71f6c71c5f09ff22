"""The prompt folder is a PEFT adapter: real PEFT reads it and computes what a plain forward computes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from prompt_hub.errors import UserError
from prompt_hub.prompts.formats import detect_format, export_prompt, import_prompt
from prompt_hub.prompts.metadata import METADATA_NAME
from prompt_hub.prompts.soft_prompt import SoftPrompt

peft = pytest.importorskip("peft")

VOCAB = 64
FAMILIES = ["causal_lm", "seq2seq_lm", "masked_lm"]


def tiny_model(family: str) -> Any:
    torch.manual_seed(0)
    if family == "causal_lm":
        config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=VOCAB, n_positions=40,
            bos_token_id=1, eos_token_id=1)  # fmt: skip
        return transformers.GPT2LMHeadModel(config).eval()
    if family == "seq2seq_lm":
        config = transformers.T5Config(
            num_layers=2,
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_heads=2,
            vocab_size=VOCAB,
            decoder_start_token_id=0,
        )
        return transformers.T5ForConditionalGeneration(config).eval()
    config = transformers.BertConfig(
        num_hidden_layers=2, hidden_size=32, intermediate_size=64, num_attention_heads=2, vocab_size=VOCAB,
        max_position_embeddings=40,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config).eval()


def tiny_batch(family: str) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, VOCAB, (2, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    batch = {"input_ids": ids, "attention_mask": mask}
    return batch | ({"decoder_input_ids": torch.tensor([[0, 5], [0, 9]])} if family == "seq2seq_lm" else {})


@torch.no_grad()
def plain_logits(model: Any, batch: dict[str, torch.Tensor], prompt: torch.Tensor) -> torch.Tensor:
    """The ordinary forward with the prompt's rows in front of the text's embeddings."""
    text = model.get_input_embeddings()(batch["input_ids"])
    embeddings = torch.cat([prompt.expand(len(text), -1, -1), text], 1)
    mask = torch.cat([torch.ones(len(text), len(prompt)), batch["attention_mask"]], 1)
    rest = {key: value for key, value in batch.items() if key.startswith("decoder")}
    return model(inputs_embeds=embeddings, attention_mask=mask, **rest).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("writer", ["save_pretrained", "export"])
def test_peft_computes_what_a_plain_forward_computes(
    tmp_path: Path, make_prompt: Any, family: str, writer: str
) -> None:
    prompt = make_prompt(prompt_len=7, backbone={"name": "tiny", "family": family})
    if writer == "save_pretrained":
        folder = prompt.save_pretrained(tmp_path / "prompt")
    else:
        folder = export_prompt(prompt, "peft", tmp_path / "prompt")
    batch = tiny_batch(family)
    expected = plain_logits(tiny_model(family), batch, prompt.embeddings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns about keys that it does not know or miss
        model = peft.PeftModel.from_pretrained(tiny_model(family), str(folder)).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, expected, atol=1e-6, rtol=1e-6)
        unprompted = tiny_model(family)(**batch).logits
    assert unprompted.shape != expected.shape or not torch.allclose(unprompted, expected, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("safe", [True, False])
def test_a_prompt_trained_with_peft_is_imported(tmp_path: Path, family: str, safe: bool) -> None:
    task_type = {"causal_lm": "CAUSAL_LM", "seq2seq_lm": "SEQ_2_SEQ_LM", "masked_lm": "FEATURE_EXTRACTION"}[
        family
    ]
    config = peft.PromptTuningConfig(task_type=task_type, num_virtual_tokens=5)
    base = tiny_model(family)
    base.name_or_path = "org/tiny-model"
    model = peft.get_peft_model(base, config)
    batch = tiny_batch(family)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**batch).logits.square().mean().backward()
    optimizer.step()
    model.save_pretrained(tmp_path, safe_serialization=safe)
    if not safe and not (tmp_path / "adapter_model.bin").exists():
        pytest.skip("this PEFT no longer writes adapter_model.bin")

    assert detect_format(tmp_path) == "peft"
    prompt = import_prompt(tmp_path, family=family if family == "masked_lm" else None)
    # PEFT's default for T5 stores two prompts; only the first enters the model.
    assert prompt.embeddings.shape == (5, 32)
    torch.testing.assert_close(prompt.embeddings, model.get_prompt(1)[0, :5].detach())
    assert prompt.metadata.family == family and prompt.metadata.backbone_name == "org/tiny-model"
    torch.testing.assert_close(
        plain_logits(model.get_base_model().eval(), batch, prompt.embeddings),
        model.eval()(**batch).logits.detach(),
        atol=1e-6,
        rtol=1e-6,
    )
    again = SoftPrompt.from_pretrained(prompt.save_pretrained(tmp_path))
    assert again.hash == prompt.hash and (tmp_path / METADATA_NAME).exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"peft_type": "LORA"}', "'LORA'.*PROMPT_TUNING"),
        ("[]", "PROMPT_TUNING"),
        ('{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 9}', "declares a prompt of 9"),
        (
            '{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, "token_dim": 8}',
            "declares a prompt of 5 x 8",
        ),
        ('{"peft_type": "PROMPT_TUNING"}', "declares a prompt of None"),
    ],
)
def test_other_adapters_are_refused(tmp_path: Path, make_prompt: Any, config: str, message: str) -> None:
    folder = export_prompt(make_prompt(), "peft", tmp_path / "prompt")
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(UserError, match=message):
        SoftPrompt.from_pretrained(folder)
