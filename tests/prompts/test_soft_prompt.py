from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from prompt_hub.encoding.layouts import LAYOUTS
from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import (
    INITIAL_NAME,
    METADATA_NAME,
    TRAIN_ROWS_NAME,
    WEIGHTS_NAME,
    PromptMetadata,
)
from prompt_hub.prompts.model_card import model_card
from prompt_hub.prompts.soft_prompt import SoftPrompt


def test_save_and_load_give_the_same_prompt(tmp_path: Path, make_prompt: Any) -> None:
    prompt = make_prompt(train_rows=torch.tensor([3, -7, 2**62]), seed=1)
    folder = prompt.save_pretrained(tmp_path / "deep" / "prompt")
    loaded = SoftPrompt.from_pretrained(folder)
    assert torch.equal(loaded.embeddings, prompt.embeddings)
    assert torch.equal(loaded.train_rows, prompt.train_rows)
    assert loaded.hash == prompt.hash == loaded.metadata.prompt_hash
    assert loaded.metadata.task == "sst2" and loaded.metadata.prompt_len == 5
    assert not list(tmp_path.rglob("*.part"))


def test_where_training_began_is_kept_with_the_prompt(tmp_path: Path, make_prompt: Any) -> None:
    began = torch.randn(5, 32, generator=torch.Generator().manual_seed(9))
    folder = make_prompt(initial=began).save_pretrained(tmp_path / "prompt")
    assert torch.equal(SoftPrompt.from_pretrained(folder).initial, began)
    make_prompt(seed=2).save_pretrained(folder)
    assert SoftPrompt.from_pretrained(folder).initial is None
    assert not (folder / INITIAL_NAME).exists()


def test_a_damaged_or_foreign_beginning_is_refused(tmp_path: Path, make_prompt: Any) -> None:
    with pytest.raises(UserError, match=r"shape \[4, 32\], the prompt \[5, 32\]"):
        make_prompt(initial=torch.ones(4, 32))
    folder = make_prompt(initial=torch.ones(5, 32)).save_pretrained(tmp_path / "prompt")
    (folder / INITIAL_NAME).write_bytes((folder / WEIGHTS_NAME).read_bytes())
    with pytest.raises(UserError, match=INITIAL_NAME):
        SoftPrompt.from_pretrained(folder)


def test_saving_respects_the_umask(tmp_path: Path, make_prompt: Any) -> None:
    folder = make_prompt().save_pretrained(tmp_path / "prompt")
    mask = os.umask(0o077)
    os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask
    assert (folder / WEIGHTS_NAME).stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_prompt_keeps_its_own_copy() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    prompt = SoftPrompt(parameter, PromptMetadata())
    before = prompt.hash
    with torch.no_grad():
        parameter.zero_()
    assert prompt.hash == before and not prompt.embeddings.requires_grad


def test_the_hash_sees_shape_and_values() -> None:
    hashes = {
        SoftPrompt(torch.ones(rows, width), PromptMetadata()).hash for rows, width in ((2, 3), (3, 2), (1, 6))
    }
    assert len(hashes) == 3
    low_precision = SoftPrompt(torch.ones(2, 3, dtype=torch.bfloat16), PromptMetadata())
    assert low_precision.hash == SoftPrompt(torch.ones(2, 3), PromptMetadata()).hash


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(0, 3), "empty"),
        (torch.zeros(3), r"\[P, H\]"),
        (torch.zeros(2, 2, dtype=torch.int64), "float"),
        (torch.tensor([[1.0, float("nan")]]), "1 of 2 values are NaN"),
        (torch.tensor([[1e300]], dtype=torch.float64), "infinite"),
        (torch.zeros(1).expand(10**6, 10**6), "larger than any prompt"),
        (torch.zeros(2, 2, device="meta"), "no values"),
        (torch.zeros(2, 2).to_sparse(), "dense"),
    ],
    ids=["empty", "rank", "int", "nan", "overflow", "expanded", "meta", "sparse"],
)
def test_what_cannot_be_a_prompt_is_refused(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SoftPrompt(tensor, PromptMetadata())


# -- overwriting and cut-off saves -----------------------------------------------------------------


def test_overwriting_keeps_unrelated_files_and_drops_stale_rows(tmp_path: Path, make_prompt: Any) -> None:
    folder = make_prompt(train_rows=torch.tensor([1])).save_pretrained(tmp_path / "prompt")
    (folder / "checkpoint-10").mkdir()
    (folder / "notes.txt").write_text("mine")
    newer = make_prompt(prompt_len=7, seed=2)
    newer.save_pretrained(folder)
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "checkpoint-10").is_dir()
    assert not (folder / TRAIN_ROWS_NAME).exists()
    loaded = SoftPrompt.from_pretrained(folder)
    assert loaded.hash == newer.hash and loaded.train_rows is None


def test_a_save_cut_off_between_weights_and_description_is_reported(tmp_path: Path, make_prompt: Any) -> None:
    folder = make_prompt(seed=1).save_pretrained(tmp_path / "old")
    newer = make_prompt(seed=2).save_pretrained(tmp_path / "new")
    os.replace(newer / WEIGHTS_NAME, folder / WEIGHTS_NAME)
    with pytest.raises(UserError, match="cut off"):
        SoftPrompt.from_pretrained(folder)


def test_a_prompt_without_its_weights_is_reported(tmp_path: Path, make_prompt: Any) -> None:
    folder = make_prompt().save_pretrained(tmp_path / "prompt")
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(UserError, match=WEIGHTS_NAME):
        SoftPrompt.from_pretrained(folder)


def test_killed_saves_leave_a_whole_prompt_or_a_reported_one(tmp_path: Path, make_prompt: Any) -> None:
    code = (
        "import sys, torch\n"
        "from prompt_hub.prompts.metadata import PromptMetadata\n"
        "from prompt_hub.prompts.soft_prompt import SoftPrompt\n"
        "for step in range(10**6):\n"
        "    prompt = SoftPrompt(torch.full((100, 256), float(step)), PromptMetadata(seed=step))\n"
        "    prompt.save_pretrained(sys.argv[1])\n"
        "    print(step, flush=True)\n"
    )
    folder = tmp_path / "prompt"
    writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None and writer.stdout.readline()
        seen = set()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            loaded = SoftPrompt.from_pretrained(folder)  # a reader beside the writer never fails
            assert float(loaded.embeddings[0, 0]) == loaded.metadata.seed
            seen.add(loaded.metadata.seed)
        assert len(seen) > 1
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    try:
        loaded = SoftPrompt.from_pretrained(folder)
        assert float(loaded.embeddings[0, 0]) == loaded.metadata.seed
    except UserError as error:
        assert "cut off" in str(error)
    make_prompt().save_pretrained(folder)
    assert SoftPrompt.from_pretrained(folder).hash == make_prompt().hash


def test_writers_of_one_new_folder_leave_the_prompt_of_one(tmp_path: Path, make_prompt: Any) -> None:
    prompts = [make_prompt(seed=seed) for seed in range(4)]
    writers = [threading.Thread(target=p.save_pretrained, args=(tmp_path / "prompt",)) for p in prompts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert SoftPrompt.from_pretrained(tmp_path / "prompt").hash in {prompt.hash for prompt in prompts}


def test_saving_over_a_file_is_refused(tmp_path: Path, make_prompt: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a file is there"):
        make_prompt().save_pretrained(tmp_path / "file")
    with pytest.raises(UserError, match="Cannot write"):
        make_prompt().save_pretrained(tmp_path / "file" / "below")


# -- hostile weights -------------------------------------------------------------------------------


def header(shape: list[int], end: int, dtype: str = "F32") -> bytes:
    text = json.dumps(
        {"prompt_embeddings": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}
    ).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 2**63) + b"{}",
        header([2, 2], 16) + b"\0" * 8,
        header([10**6, 10**6], 4 * 10**12) + b"\0" * 16,
        header([10**6, 10**6], 16) + b"\0" * 16,
        header([2, 2], 16) + b"\0" * 99,
        header([2**40, 2**40], 16) + b"\0" * 16,
        b"\x80\x04garbage" * 10,
    ],
)
def test_hostile_safetensors_are_user_errors(tmp_path: Path, make_prompt: Any, data: bytes) -> None:
    folder = make_prompt().save_pretrained(tmp_path / "prompt")
    values = json.loads((folder / METADATA_NAME).read_text())
    values["files"] = {}
    (folder / METADATA_NAME).write_text(json.dumps(values))
    (folder / WEIGHTS_NAME).write_bytes(data)
    with pytest.raises(UserError, match=WEIGHTS_NAME):
        SoftPrompt.from_pretrained(folder)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"lora": torch.zeros(2, 2)}, "no tensor 'prompt_embeddings'"),
        ({"prompt_embeddings": torch.zeros(2, 2)}, "describes prompt"),
        ({"prompt_embeddings": torch.zeros(2, 2, dtype=torch.int32)}, "float"),
        ({"prompt_embeddings": torch.full((5, 32), torch.inf)}, "NaN or infinite"),
        ({"prompt_embeddings": torch.zeros(0, 32)}, "empty"),
    ],
)
def test_other_weights_than_described_are_refused(
    tmp_path: Path, make_prompt: Any, tensors: dict[str, torch.Tensor], message: str
) -> None:
    folder = make_prompt().save_pretrained(tmp_path / "prompt")
    values = json.loads((folder / METADATA_NAME).read_text())
    values["files"] = {}
    (folder / METADATA_NAME).write_text(json.dumps(values))
    save_file(tensors, folder / WEIGHTS_NAME)
    with pytest.raises(UserError, match=message):
        SoftPrompt.from_pretrained(folder)


def test_names_in_the_description_are_never_paths(tmp_path: Path, make_prompt: Any) -> None:
    folder = make_prompt(task="../../evil").save_pretrained(tmp_path / "prompt")
    values = json.loads((folder / METADATA_NAME).read_text())
    values["files"]["../../etc/passwd"] = "0" * 64
    (folder / METADATA_NAME).write_text(json.dumps(values))
    SoftPrompt.from_pretrained(folder).save_pretrained(tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"prompt", "copy"}


# -- does it fit -----------------------------------------------------------------------------------


def with_backbone(identity: Any, **changes: Any) -> dict[str, Any]:
    return {**identity.to_dict(), **changes}


def test_a_prompt_fits_its_own_backbone(make_prompt: Any, identity: Any) -> None:
    assert make_prompt().check_fits(identity, "prompt-text") == []


@pytest.mark.parametrize(
    ("changes", "layout", "message"),
    [
        ({"embedding_hash": "a" * 16}, None, "input embeddings differ: prompt a{16}, backbone e{16}"),
        ({"tokenizer_hash": "a" * 16}, None, "only the tokenizer differs"),
        ({"family": "masked_lm"}, None, "families differ: prompt masked_lm, backbone causal_lm"),
        ({}, "paper", "layouts differ: the prompt was trained with 'prompt-text', asked is 'paper'"),
        ({"embedding_hash": None, "name": "bert-base"}, None, "names differ.*'bert-base'.*'tiny/gpt2'"),
    ],
)
def test_what_differs_is_named_and_can_be_forced(
    make_prompt: Any, identity: Any, changes: dict[str, Any], layout: str | None, message: str
) -> None:
    prompt = make_prompt(backbone=with_backbone(identity, **changes))
    with pytest.raises(UserError, match=message):
        prompt.check_fits(identity, layout)
    warnings = prompt.check_fits(identity, layout, force=True)
    assert len(warnings) == 1 and warnings[0].startswith("Used although")


def test_another_width_cannot_be_forced(make_prompt: Any, identity: Any) -> None:
    with pytest.raises(UserError, match=r"width 16.*width 32.*projector"):
        make_prompt(hidden=16).check_fits(identity, force=True)


def test_an_imported_prompt_fits_by_the_last_part_of_the_name(make_prompt: Any, identity: Any) -> None:
    assert make_prompt(backbone={"name": "GPT2", "family": "causal_lm"}).check_fits(identity) == []


def test_a_prompt_of_unknown_origin_is_unverified(make_prompt: Any, identity: Any) -> None:
    backbone, layout = make_prompt(backbone={}, layout=None).check_fits(identity, "prompt-text")
    assert backbone.startswith("Unverified") and "which layout" in layout


# -- the Hub ---------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_prompt_loads_from_the_offline_cache(cache: Path, make_prompt: Any) -> None:
    repository = cache / "models--ann--sst2-prompt"
    commit = "c" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    prompt = make_prompt()
    written = prompt.save_pretrained(repository / "written")
    (repository / "blobs").mkdir()
    (repository / "snapshots" / commit).mkdir(parents=True)
    for index, file in enumerate(written.iterdir()):
        file.rename(repository / "blobs" / str(index))
        (repository / "snapshots" / commit / file.name).symlink_to(f"../../blobs/{index}")
    assert SoftPrompt.from_pretrained("ann/sst2-prompt").hash == prompt.hash
    assert SoftPrompt.from_pretrained("ann/sst2-prompt", revision=commit).hash == prompt.hash
    with pytest.raises(UserError, match="'ann/sst2-prompt' at revision 'v2'"):
        SoftPrompt.from_pretrained("ann/sst2-prompt", revision="v2")


def test_what_is_not_in_the_offline_cache_is_a_user_error(cache: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder here.*HF_HUB_OFFLINE"):
        SoftPrompt.from_pretrained("ann/other")
    with pytest.raises(UserError, match="Cannot get"):
        SoftPrompt.from_pretrained("ann/a--b")


def test_sources_that_are_nothing_are_named(tmp_path: Path, make_prompt: Any) -> None:
    with pytest.raises(UserError, match="There is no prompt at 'no such thing'"):
        SoftPrompt.from_pretrained("no such thing")
    with pytest.raises(UserError, match="no prompt at"):
        SoftPrompt.from_pretrained("a\0b")
    with pytest.raises(UserError, match="holds no prompt"):
        SoftPrompt.from_pretrained(tmp_path)
    folder = make_prompt().save_pretrained(tmp_path / "prompt")
    with pytest.raises(UserError, match="no revisions"):
        SoftPrompt.from_pretrained(folder, revision="main")


def test_push_to_hub_creates_the_repository_and_uploads_the_folder(
    monkeypatch: pytest.MonkeyPatch, make_prompt: Any
) -> None:
    calls: list[Any] = []

    class FakeApi:
        def __init__(self, token: str | None = None) -> None:
            calls.append(("token", token))

        def create_repo(self, repo_id: str, **options: Any) -> str:
            calls.append(("create", repo_id, options))
            return f"https://huggingface.co/{repo_id}"

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
            card = (Path(folder_path) / "README.md").read_text()
            calls.append(("upload", repo_id, SoftPrompt.from_pretrained(folder_path).hash, repo_id in card))

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    prompt = make_prompt()
    assert prompt.push_to_hub("ann/sst2", private=True, token="t") == "https://huggingface.co/ann/sst2"
    assert calls == [
        ("token", "t"),
        ("create", "ann/sst2", {"private": True, "exist_ok": True}),
        ("upload", "ann/sst2", prompt.hash, True),
    ]
    with pytest.raises(UserError, match="owner/name"):
        prompt.push_to_hub("sst2")


def test_a_failed_upload_is_a_user_error(monkeypatch: pytest.MonkeyPatch, make_prompt: Any) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(UserError, match="upload to 'ann/sst2': no network"):
        make_prompt().push_to_hub("ann/sst2")


# -- the model card --------------------------------------------------------------------------------


def test_the_card_shows_numbers_with_their_counts(make_prompt: Any) -> None:
    prompt = make_prompt(
        metrics={"validation": {"accuracy": 0.9123, "interval": [0.89, 0.93], "n": 872}, "loss": 0.2}
    )
    card = model_card(prompt.metadata)
    assert "| validation accuracy | 0.9123 | 0.89 to 0.93 | 872 |" in card
    assert "| loss | 0.2 |  | not recorded |" in card
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "peft" and front["base_model"] == "tiny/gpt2"
    metrics = front["model-index"][0]["results"][0]["metrics"]
    assert [(metric["type"], metric["value"]) for metric in metrics] == [("accuracy", 0.9123), ("loss", 0.2)]


def test_the_hubs_own_parser_reads_the_card(make_prompt: Any) -> None:
    prompt = make_prompt(metrics={"accuracy": 0.5, "n": 10})
    data = huggingface_hub.ModelCard(model_card(prompt.metadata)).data
    assert data.eval_results[0].metric_value == 0.5 and data.base_model == "tiny/gpt2"


def test_the_card_says_that_peft_does_not_know_the_papers_layout(make_prompt: Any) -> None:
    paper = make_prompt(layout="paper", backbone={"name": "roberta-base", "family": "masked_lm"})
    assert "paper's layout" in model_card(paper.metadata)


@settings(max_examples=60, deadline=None)
@given(
    name=st.text(max_size=40)
    | st.sampled_from(["a\n---\nlicense: mit", "```\n# x", "<script>x", "a | b", "\ud800"])
)
def test_no_name_breaks_out_of_the_card(name: str) -> None:
    metadata = PromptMetadata(
        backbone={"name": name},
        prompt_len=2,
        task=name,
        label_words=[name],
        metrics={name: {"accuracy": 0.5}},
    )
    card = model_card(metadata, repo_id=None)
    _, front, body = card.split("---\n", 2)
    assert set(yaml.safe_load(front)) <= {
        "library_name",
        "base_model",
        "base_model_relation",
        "tags",
        "model-index",
    }
    outside_code = re.sub(r"^(```+)python\n.*?\n\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in outside_code and "```" not in outside_code
    assert [line for line in body.splitlines() if line.startswith("#")][1:] in (
        ["## Use"],
        ["## Results", "## Use"],
    )
    card.encode()


@pytest.mark.parametrize(
    ("layout", "family", "live"),
    [("paper", "masked_lm", 3), ("paper", "seq2seq_lm", 4), ("prompt-mask-text", "masked_lm", 4)],
)
def test_row_0_is_dead_where_the_paper_writes_the_mask_over_it(
    make_prompt: Any, layout: str, family: str, live: int
) -> None:
    prompt = make_prompt(layout=layout, backbone={"family": family})
    assert len(prompt.live_rows) == prompt.prompt_len - 4 + live
    assert torch.equal(prompt.live_rows[-1], prompt.embeddings[-1])
    over_mask = LAYOUTS[layout].placement.mask_in_prompt_row and family == "masked_lm"
    assert bool(prompt.metadata.dead_rows) is over_mask
