"""The readers of files from strangers, each with valid files of its kind."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors_torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "overview")]

STORED = ROOT / "tests" / "fixtures" / "formats" / "0.1.0"
ROWS_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Target:
    """seeds: valid files. read: what a user's command does with the file's bytes, in a scratch folder of its
    own. is_document: the seeds are JSON, whatever else the reader takes.
    """

    about: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Any]
    is_document: bool = True


def beside(folder: Path, source: Path, name: str, data: bytes) -> Path:
    """A copy of ``source``, in which the file ``name`` holds ``data``."""
    shutil.copytree(source, folder)
    (folder / name).write_bytes(data)
    return folder


# -- prompts -----------------------------------------------------------------------------------------


def _prompt_files() -> list[bytes]:
    rows = torch.linspace(-1, 1, 24).view(3, 8)
    files = []
    for value in (rows, {"prompt_embeddings": rows, "other": torch.ones(2)}, {"model": {"prompt": rows}}):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        files.append(buffer.getvalue())
    for save in (
        lambda file: np.save(file, rows.numpy()),
        lambda file: np.savez(file, SST2=rows.numpy(), MNLI=rows.numpy()),
        lambda file: np.savez_compressed(file, SST2=rows.numpy()),
    ):
        buffer = io.BytesIO()
        save(buffer)
        files.append(buffer.getvalue())
    return [*files, safetensors_torch.save({"prompt_embeddings": rows, "b": rows[0].clone()})]


def _read_prompt_file(data: bytes, scratch: Path) -> Any:
    from prompt_hub.prompts.formats import import_prompts

    (scratch / "prompt.bin").write_bytes(data)
    for prompt in import_prompts(scratch / "prompt.bin").values():
        prompt.save_pretrained(scratch / "saved")


def _read_prompt_folder(data: bytes, scratch: Path) -> Any:
    from prompt_hub.prompts.metadata import METADATA_NAME
    from prompt_hub.prompts.soft_prompt import SoftPrompt
    from prompt_hub.prompts.store import find_prompts

    folder = beside(scratch / "prompt", STORED / "prompt", METADATA_NAME, data)
    find_prompts(scratch)
    SoftPrompt.from_pretrained(folder).save_pretrained(scratch / "saved")


def _read_peft_folder(data: bytes, scratch: Path) -> Any:
    from prompt_hub.prompts.formats import import_prompt
    from prompt_hub.prompts.metadata import METADATA_NAME, PEFT_CONFIG_NAME

    folder = beside(scratch / "peft", STORED / "prompt", PEFT_CONFIG_NAME, data)
    (folder / METADATA_NAME).unlink()
    import_prompt(folder).save_pretrained(scratch / "saved")


@cache
def _index() -> bytes:
    import tempfile

    from prompt_hub.prompts.published import INDEX_NAME, publish

    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(STORED / "prompt", Path(name) / "prompt")
        publish(name)
        return (Path(name) / INDEX_NAME).read_bytes()


def _read_index(data: bytes, scratch: Path) -> Any:
    from prompt_hub.prompts.published import INDEX_NAME, read_index

    shutil.copytree(STORED / "prompt", scratch / "shelf" / "prompt")
    (scratch / "shelf" / INDEX_NAME).write_bytes(data)
    index = read_index(str(scratch / "shelf"))
    for name in list(index.items)[:3]:
        index.fetch(name)


# -- maps, results -----------------------------------------------------------------------------------


def _read_map(data: bytes, scratch: Path) -> Any:
    from prompt_hub.transfer.cross_model.base import CrossModelMap, find_maps

    folder = beside(scratch / "map", STORED / "map", "map.json", data)
    find_maps(scratch)
    CrossModelMap.from_pretrained(folder).save_pretrained(scratch / "saved")


@cache
def _records() -> list[bytes]:
    import tempfile

    import made_records as made

    found = [made.training(diagnosis=("not learning",)), made.masking(), made.warm_start()]
    found += [made.beside_controls(True), made.projector()]
    with tempfile.TemporaryDirectory() as name:
        made.tour(Path(name))
        found += [json.loads(path.read_text("utf-8")) for path in Path(name).rglob("*.json")]
    stored = [STORED / "eval.json", STORED / "prompt" / "train.json", STORED / "map" / "map.json"]
    return [*map(_bytes, found), *(path.read_bytes() for path in stored)]


def _read_record(data: bytes, scratch: Path) -> Any:
    """As the report does, which reads whatever it finds."""
    from prompt_hub.overview.page import report_page
    from prompt_hub.reports.html.page import page_html

    (scratch / "runs").mkdir()
    (scratch / "runs" / "train.json").write_bytes(data)
    page = page_html(report_page(scratch / "runs"))
    if "<script>alert" in page:
        raise RuntimeError("a text of the record stands in the page as markup")


def _read_matrix(data: bytes, scratch: Path) -> Any:
    _matrix_of(beside(scratch / "matrix", STORED / "matrix", "matrix.json", data))


def _read_grid(data: bytes, scratch: Path) -> Any:
    _matrix_of(beside(scratch / "matrix", STORED / "matrix", "grid.sqlite", data))


def _matrix_of(folder: Path) -> None:
    from prompt_hub.errors import UserError
    from prompt_hub.overview.page import report_page
    from prompt_hub.reports.html.page import page_html
    from prompt_hub.transfer import load_table

    with suppress(UserError):
        load_table(folder)
    page_html(report_page(folder))


# -- tasks, options, rows ----------------------------------------------------------------------------


@cache
def _tasks() -> list[bytes]:
    from prompt_hub.documents import read_yaml

    folder = ROOT / "src" / "prompt_hub" / "tasks" / "registry"
    chosen = [folder / f"{name}.yaml" for name in ("sst2", "squad", "stsb", "mnli", "mini/film")]
    return [_bytes(read_yaml(path, "task file", all_text=True)) for path in chosen]


def _read_task(data: bytes, scratch: Path) -> Any:
    from prompt_hub.tasks.registry import load_task_file, task_file_problems

    (scratch / "task.yaml").write_bytes(data)
    task_file_problems(scratch / "task.yaml")
    load_task_file(scratch / "task.yaml").fingerprint()


_RECIPE = {
    "title": "Two tasks", "claim": "none",
    "steps": [
        {"run": "matrix --tasks {tasks} {training} --output {out}/{backbone}",
         "each": {"backbone": "backbones"}},
        {"run": "report {out} -o {pair.a}/x.html", "each": {"pair": "pairs"}},
    ],
    "values": {"mini": {"backbones": ["mini-gpt2", "mini-t5"], "tasks": ["mini/film"], "training": {"lr": 1},
                        "pairs": [{"a": "b"}]}},
}  # fmt: skip


def _read_recipe(data: bytes, scratch: Path) -> Any:
    from prompt_hub.experiments.recipe import commands, load_recipe

    (scratch / "recipe.yaml").write_bytes(data)
    given = {"out": "runs", "data": {}, "device": {}}
    commands(load_recipe(str(scratch / "recipe.yaml")), "mini", given)


def _read_config(data: bytes, scratch: Path) -> Any:
    from prompt_hub.cli.config_file import read_config

    (scratch / "options.yaml").write_bytes(data)
    read_config(scratch / "options.yaml", {"task": "task", "lr": "lr", "max_steps": "max_steps"})


def _rows() -> list[bytes]:
    """The first byte chooses the file's ending."""
    import pandas

    rows = [{"sentence": 'a, "b"\nc', "label": 0}, {"sentence": "dull", "label": 1}]
    parquet = io.BytesIO()
    pandas.DataFrame(rows).to_parquet(parquet)
    contents = (
        b'sentence,label\n"a, ""b""\nc",0\ndull,1\n', b"sentence\tlabel\nfine\t0\ndull\t1\n",
        b"\n".join(map(_bytes, rows)), _bytes(rows), parquet.getvalue(),
    )  # fmt: skip
    return [bytes([number]) + content for number, content in enumerate(contents)]


def _read_rows(data: bytes, scratch: Path) -> Any:
    from prompt_hub.tasks import get_task, load_file

    path = scratch / f"rows{ROWS_SUFFIXES[(data[0] if data else 0) % len(ROWS_SUFFIXES)]}"
    path.write_bytes(data[1:])
    load_file(path, get_task("sst2"))


# -- backbones ---------------------------------------------------------------------------------------


@cache
def _tiny_backbone() -> Path:
    import atexit
    import tempfile

    from tiny_models import build

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build("gpt2", folder / "gpt2")


def _backbone_file(name: str) -> tuple[Callable[[], list[bytes]], Callable[[bytes, Path], Any]]:
    def read(data: bytes, scratch: Path) -> Any:
        from prompt_hub.backbones import load_backbone

        load_backbone(str(beside(scratch / "backbone", _tiny_backbone(), name, data)))

    return lambda: [(_tiny_backbone() / name).read_bytes()], read


@cache
def _gguf() -> bytes:
    """A llama of one layer."""
    import tempfile

    import gguf

    width, heads, wide, words = 8, 2, 16, ["<unk>", "<s>", "</s>", "a", "b", "ab", "Ġ", "c", "abc"]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tiny.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_block_count(1)
        writer.add_context_length(32)
        writer.add_embedding_length(width)
        writer.add_feed_forward_length(wide)
        writer.add_head_count(heads)
        writer.add_head_count_kv(heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(width // heads)
        writer.add_vocab_size(len(words))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(words)
        writer.add_token_types([3, 3, 3, *[1] * (len(words) - 3)])
        # Two at least: transformers 5.15 takes a list of one for its text.
        writer.add_token_merges(["a b", "ab c"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        shapes = {
            "token_embd": (len(words), width), "output_norm": (width,), "blk.0.attn_norm": (width,),
            "blk.0.ffn_norm": (width,), "blk.0.ffn_gate": (wide, width), "blk.0.ffn_up": (wide, width),
            "blk.0.ffn_down": (width, wide),
            **{f"blk.0.attn_{part}": (width, width) for part in ("q", "k", "v", "output")},
        }  # fmt: skip
        for tensor, shape in shapes.items():
            writer.add_tensor(f"{tensor}.weight", np.full(shape, 0.1, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _read_gguf(data: bytes, scratch: Path) -> Any:
    from prompt_hub.backbones import load_backbone

    os.environ["PROMPT_HUB_CACHE"] = str(scratch / "cache")
    (scratch / "model.gguf").write_bytes(data)
    load_backbone(str(scratch / "model.gguf"))


def _bytes(data: Any) -> bytes:
    return json.dumps(data).encode()


def _stored(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [(STORED / name).read_bytes() for name in names]


TARGETS: dict[str, Target] = {
    "prompt-file": Target(
        "torch, .npy, .npz and .safetensors files (prompts import)", _prompt_files, _read_prompt_file, False
    ),
    "prompt-folder": Target(
        "prompt_hub.json beside its weights", _stored("prompt/prompt_hub.json"), _read_prompt_folder
    ),
    "peft-folder": Target(
        "PEFT's adapter_config.json", _stored("prompt/adapter_config.json"), _read_peft_folder
    ),
    "index": Target("index.json of a collection (prompts pull)", lambda: [_index()], _read_index),
    "map": Target("map.json of a projector", _stored("map/map.json"), _read_map),
    "record": Target("records of every kind (report)", _records, _read_record),
    "matrix": Target("matrix.json beside its grid", _stored("matrix/matrix.json"), _read_matrix),
    "grid": Target("grid.sqlite of a matrix", _stored("matrix/grid.sqlite"), _read_grid, False),
    "task": Target("task files", _tasks, _read_task),
    "recipe": Target("recipes of reproduce", lambda: [_bytes(_RECIPE)], _read_recipe),
    "options": Target(
        "files for --config", lambda: [_bytes({"task": "sst2", "lr": 0.3, "max-steps": 9})], _read_config
    ),
    "rows": Target("CSV, TSV, JSON, JSONL and Parquet rows", _rows, _read_rows, False),
    "backbone-config": Target("config.json of a backbone", *_backbone_file("config.json")),
    "tokenizer": Target("tokenizer.json of a backbone", *_backbone_file("tokenizer.json")),
    "tokenizer-config": Target(
        "tokenizer_config.json of a backbone", *_backbone_file("tokenizer_config.json")
    ),
    "weights": Target("model.safetensors of a backbone", *_backbone_file("model.safetensors"), False),
    "gguf": Target("GGUF files", lambda: [_gguf()], _read_gguf, False),
}
"""By name."""
