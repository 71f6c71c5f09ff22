from __future__ import annotations

import csv
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from prompt_hub.errors import UserError
from prompt_hub.prompts.formats import detect_format, export_prompt, import_prompt, import_prompts
from prompt_hub.prompts.paper_names import TASKS, parse_paper_name
from prompt_hub.prompts.soft_prompt import SoftPrompt

ORIGINALS = {
    "IMDBPromptRoberta": ("imdb", "roberta-base", 768),
    "MNLIPromptRoberta": ("mnli", "roberta-base", 768),
    "MNLIPromptRobertaLarge": ("mnli", "roberta-large", 1024),
    "MNLIPromptRoberta_proj": ("mnli", "roberta-base", 768),
    "QQPPromptRoberta": ("qqp", "roberta-base", 768),
    "SST2PromptBert": ("sst2", "bert-base-uncased", 768),
    "SST2PromptRoberta": ("sst2", "roberta-base", 768),
    "SST2PromptRobertaLarge": ("sst2", "roberta-large", 1024),
    "SST2PromptT5": ("sst2", "t5-base", 768),
    "SST2PromptT5Small": ("sst2", "t5-small", 512),
    "ethicsjusticePromptRoberta": ("ethics_justice", "roberta-base", 768),
    "laptopPromptRoberta": ("semeval14_laptop", "roberta-base", 768),
    "laptopPrompt_cross_model_T5_to_Roberta": ("semeval14_laptop", "roberta-base", 768),
    "randomPromptRoberta": (None, "roberta-base", 768),
    "samsumPromptT5": ("samsum", "t5-base", 768),
    "squadPromptT5Small": ("squad", "t5-small", 512),
}


# -- the paper's files -----------------------------------------------------------------------------


def test_the_papers_prompts_import_with_what_their_names_say(shared: Path) -> None:
    folder = shared / "paper" / "original_prompts"
    prompts = import_prompts(folder)
    assert set(prompts) == set(ORIGINALS)
    for name, (task, backbone, hidden) in ORIGINALS.items():
        prompt = prompts[name]
        assert prompt.embeddings.shape == (100, hidden)
        assert (prompt.metadata.task, prompt.metadata.backbone_name) == (task, backbone), name
        assert prompt.metadata.family == ("seq2seq_lm" if "t5" in backbone else "masked_lm")
        assert prompt.metadata.layout == "paper"
    for place in ("SST2PromptT5", "SST2PromptT5/task_prompt"):
        assert import_prompt(folder / place).hash == prompts["SST2PromptT5"].hash
        assert SoftPrompt.from_pretrained(folder / place).metadata.task == "sst2"
    projected = prompts["laptopPrompt_cross_model_T5_to_Roberta"].metadata.parent
    assert projected is not None
    assert projected["relation"] == "projected" and projected["backbone"] == "t5-base"


def test_imported_norms_are_those_of_the_manifest(shared: Path) -> None:
    with (shared / "paper" / "prompts_manifest.csv").open() as file:
        norms = {row["name"]: row for row in csv.DictReader(file) if row["file"] == "task_prompt"}
    column = next(key for key in next(iter(norms.values())) if "norm" in key.lower())
    for name, prompt in import_prompts(shared / "paper" / "original_prompts").items():
        assert float(prompt.embeddings.norm()) == pytest.approx(float(norms[name][column]), rel=1e-3)


def test_every_name_in_the_manifest_is_understood(shared: Path) -> None:
    with (shared / "paper" / "prompts_manifest.csv").open() as file:
        names = {Path(row["name"]).name for row in csv.DictReader(file)}
    assert len(names) > 100
    for name in names:
        known = parse_paper_name(name)
        assert known is not None, name
        assert known.task in set(TASKS.values()) | ({None} if name.startswith("random") else set()), name


@pytest.mark.parametrize(
    "name", ["", "Prompt", "SST2PromptGPT", "fooPromptRoberta", "SST2PromptRoberta/../x", "T5"]
)
def test_other_names_say_nothing(name: str) -> None:
    assert parse_paper_name(name) is None


@given(st.text(max_size=60))
def test_any_name_can_be_asked(name: str) -> None:
    parse_paper_name(name)


def test_parameters_and_checkpoints_of_the_original_code_import(tmp_path: Path) -> None:
    values = torch.randn(4, 8)
    folder = tmp_path / "SST2PromptRobertaLarge"
    folder.mkdir()
    torch.save(torch.nn.Parameter(values), folder / "task_prompt")
    assert torch.equal(import_prompt(folder).embeddings, values)
    (folder / "task_prompt").unlink()
    for model in (values, {"prompt_embeddings.weight": values, "other.bias": torch.zeros(3)}):
        torch.save(
            {"model": model, "optimizer_name": "AdamW", "trained_epoch": 9, "global_step": 3},
            folder / "9.pkl",
        )
        prompt = import_prompt(folder)
        assert torch.equal(prompt.embeddings, values) and prompt.metadata.backbone_name == "roberta-large"


def test_what_the_caller_says_wins_over_the_name(tmp_path: Path) -> None:
    folder = tmp_path / "SST2PromptRoberta"
    folder.mkdir()
    torch.save(torch.randn(2, 3), folder / "task_prompt")
    metadata = import_prompt(folder, task="imdb", layout="prompt-mask-text", backbone_name="mine").metadata
    assert (metadata.task, metadata.layout, metadata.backbone_name) == ("imdb", "prompt-mask-text", "mine")
    assert metadata.family == "masked_lm"


# -- hostile torch files ---------------------------------------------------------------------------


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def malicious(path: Path, target: Path, kind: str) -> None:
    if kind == "archive":
        torch.save(Payload(target), path)
    elif kind == "beside a tensor":
        torch.save({"model": torch.zeros(2, 2), "optimizer": Payload(target)}, path)
    elif kind == "legacy":
        torch.save(Payload(target), path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(Payload(target)))


@pytest.mark.parametrize("kind", ["archive", "beside a tensor", "legacy", "bare pickle"])
@pytest.mark.parametrize("name", ["task_prompt", "adapter_model.bin", "prompt.npy"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, kind: str, name: str) -> None:
    target = tmp_path / "owned"
    path = tmp_path / "prompt" / name
    path.parent.mkdir()
    malicious(path, target, kind)
    where = path
    if name == "adapter_model.bin":
        (path.parent / "adapter_config.json").write_text(
            '{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}'
        )
        where = path.parent
    with pytest.raises(UserError):
        SoftPrompt.from_pretrained(where)
    with pytest.raises(UserError):
        import_prompts(where)
    assert not target.exists()


def test_the_payload_of_these_tests_does_run_when_unpickled_carelessly(tmp_path: Path) -> None:
    malicious(tmp_path / "bad", tmp_path / "owned", "bare pickle")
    pickle.loads((tmp_path / "bad").read_bytes())
    assert (tmp_path / "owned").exists()


def test_a_refused_pickle_is_explained(tmp_path: Path) -> None:
    malicious(tmp_path / "bad", tmp_path / "owned", "archive")
    with pytest.raises(UserError, match=r"asks for more than tensors.*Nothing in it was run"):
        import_prompt(tmp_path / "bad")


@pytest.mark.parametrize(
    "value", [torch.zeros(3), torch.zeros(2, 2, 2), torch.zeros(0, 4), [1, 2], "text", {}, None]
)
def test_torch_files_without_a_prompt_are_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "file")
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        import_prompt(tmp_path / "file")


def test_truncated_files_of_every_format_are_user_errors(tmp_path: Path, make_prompt: Any) -> None:
    values = make_prompt().embeddings
    torch.save(values, tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", values.numpy())
    np.savez_compressed(tmp_path / "a.npz", one=values.numpy())
    save_file({"prompt": values}, tmp_path / "a.safetensors")
    for path in sorted(tmp_path.iterdir()):
        data = path.read_bytes()
        for length in (0, 1, 4, 9, 40, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:length])
            with pytest.raises(UserError):
                import_prompts(path)


@settings(max_examples=60, deadline=None)
@given(
    position=st.integers(0, 2000),
    value=st.integers(0, 255),
    kind=st.sampled_from(["pt", "npy", "npz", "safetensors"]),
)
def test_a_changed_byte_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"changed.{kind}"
    tensor = torch.ones(3, 4)
    if kind == "pt":
        torch.save(tensor, path)
    elif kind == "safetensors":
        save_file({"prompt": tensor}, path)
    else:
        (np.save if kind == "npy" else np.savez)(path, tensor.numpy())
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        for prompt in import_prompts(path).values():
            assert torch.isfinite(prompt.embeddings).all()
    except UserError:
        pass


# -- numpy -----------------------------------------------------------------------------------------


def test_numpy_arrays_of_any_float_type_import(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    for dtype in ("<f2", ">f4", "<f8"):
        for order in ("C", "F"):
            np.save(tmp_path / "a.npy", np.array(values, dtype, order=order))
            assert import_prompt(tmp_path / "a.npy").embeddings.tolist() == values.tolist()


def test_an_npz_holds_one_prompt_a_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", SST2=np.ones((2, 3), np.float32), other=np.zeros((4, 3), np.float16))
    prompts = import_prompts(
        tmp_path / "all.npz", backbone_name="roberta-base", family="masked_lm", layout="paper"
    )
    assert {key: prompt.prompt_len for key, prompt in prompts.items()} == {"SST2": 2, "other": 4}
    assert prompts["SST2"].metadata.task == "sst2" and prompts["other"].metadata.task is None
    assert prompts["other"].metadata.backbone_name == "roberta-base"
    assert import_prompt(tmp_path / "all.npz", key="SST2").prompt_len == 2
    with pytest.raises(UserError, match="Did you mean 'SST2'"):
        import_prompt(tmp_path / "all.npz", key="SST")
    with pytest.raises(UserError, match="2 prompts: SST2, other"):
        import_prompt(tmp_path / "all.npz")
    with pytest.raises(UserError, match="2 prompts: SST2, other"):
        SoftPrompt.from_pretrained(tmp_path / "all.npz")


def npy(shape: tuple[int, ...], descr: str = "<f4", data: bytes = b"") -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy((10**9, 10**9)), "needs 4,000,000,000,000,000,000 bytes, but 0"),
        (npy((-1, 4)), "impossible shape"),
        (npy((2, 2), "<i4", b"\0" * 16), "float array"),
        (npy((2, 2), "|O", b"\0" * 16), "float array"),
        (npy((0, 2)), "empty"),
        (npy((4,), data=b"\0" * 16), r"\[P, H\]"),
        (npy((1, 1), data=np.float32("nan").tobytes()), "NaN"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 50, "version 9|no valid npy header"),
        (b"\x93NUMPY\x01\x00\x05\x00__(1)", "header"),
    ],
)
def test_hostile_arrays_are_user_errors(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(UserError, match=message):
        import_prompt(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("key.npy", data)
    with pytest.raises(UserError, match=message):
        import_prompt(tmp_path / "a.npz")


def test_archives_that_would_unfold_beyond_measure_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prompt_hub.prompts.tensor_files.MAX_TENSOR_BYTES", 10_000)
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros((100, 100), np.float32))
    with pytest.raises(UserError, match="unpack to more"):
        import_prompt(tmp_path / "bomb.npz")
    torch.save(torch.zeros(100, 100), tmp_path / "big")
    with (
        zipfile.ZipFile(tmp_path / "big") as stored,
        zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for name in stored.namelist():
            out.writestr(name, stored.read(name))
    with pytest.raises(UserError, match="compressed"):
        import_prompt(tmp_path / "bomb")


# -- detection and export --------------------------------------------------------------------------


def test_formats_are_told_by_content_not_by_name(tmp_path: Path, make_prompt: Any) -> None:
    prompt = make_prompt()
    torch.save(prompt.embeddings, tmp_path / "a")
    with (tmp_path / "b").open("wb") as file:
        np.save(file, prompt.embeddings.numpy())
    with (tmp_path / "c").open("wb") as file:
        np.savez(file, x=prompt.embeddings.numpy())
    save_file({"anything": prompt.embeddings}, tmp_path / "d")
    prompt.save_pretrained(tmp_path / "e")
    export_prompt(prompt, "peft", tmp_path / "f")
    found = {name: detect_format(tmp_path / name) for name in "abcdef"}
    assert found == {
        "a": "torch", "b": "numpy", "c": "numpy", "d": "safetensors", "e": "prompt_hub", "f": "peft",
    }  # fmt: skip
    for name in "abcdef":
        assert import_prompt(tmp_path / name).hash == prompt.hash
    assert import_prompt(tmp_path / "e").metadata.task == "sst2"


def test_what_is_no_prompt_says_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "missing"):
        with pytest.raises(UserError, match="Readable: a prompt_hub or PEFT folder"):
            import_prompts(path)


def test_vllm_gets_a_plain_tensor(tmp_path: Path, make_prompt: Any) -> None:
    prompt = make_prompt()
    path = export_prompt(prompt, "vllm", tmp_path / "new" / "prompt.pt")
    tensor = torch.load(path, weights_only=True)
    assert torch.equal(tensor, prompt.embeddings) and tensor.ndim == 2
    path = export_prompt(prompt, "vllm", tmp_path / "prompt.safetensors")
    assert torch.equal(load_file(path)["prompt_embeds"], prompt.embeddings)
    with pytest.raises(UserError, match="causal models only"):
        export_prompt(make_prompt(backbone={"family": "masked_lm"}), "vllm", tmp_path / "other.pt")


def test_npy_export_writes_the_path_it_was_given(tmp_path: Path, make_prompt: Any) -> None:
    prompt = make_prompt()
    path = export_prompt(prompt, "npy", tmp_path / "prompt.bin")
    assert path == tmp_path / "prompt.bin"
    assert np.array_equal(np.load(io.BytesIO(path.read_bytes())), prompt.embeddings.numpy())


def test_unknown_export_formats_name_the_known_ones(tmp_path: Path, make_prompt: Any) -> None:
    with pytest.raises(UserError, match=r"Did you mean 'npy'.*Known: npy, peft, vllm"):
        export_prompt(make_prompt(), "numpy", tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        export_prompt(make_prompt(), "npy", tmp_path / "file" / "x.npy")
