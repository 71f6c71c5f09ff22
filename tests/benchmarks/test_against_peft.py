"""The benchmark against PEFT runs, and compares two systems that compute the same thing."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft")

# One thread: with more, a busy machine makes tiny models wait for each other's threads most of the time.
OPTIONS = ["--small", "--rounds=1", "--steps=2", "--prompt-len=9", "--threads=1", "--json"]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    # By name, not by path: the processes that measure memory import the module again.
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import against_peft

        yield against_peft
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def report(benchmark: Any) -> dict[str, Any]:
    threads = torch.get_num_threads()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            code = benchmark.main(OPTIONS)
    finally:
        torch.set_num_threads(threads)
    assert code == 0
    return json.loads(printed.getvalue())


def test_the_report_holds_every_figure_of_every_system(report: dict[str, Any]) -> None:
    assert set(report) == {"machine", "settings", "shapes"}
    assert {"cpu", "cores", "threads", "torch"} <= set(report["machine"])
    assert report["settings"]["rounds"] == 1 and report["settings"]["small"]
    assert [shape["shape"] for shape in report["shapes"]] == [
        "roberta-base", "gpt2", "smollm2-135m", "t5-small",
    ]  # fmt: skip
    assert [len(shape["against"]) for shape in report["shapes"]] == [2, 1, 1, 1]
    for shape in report["shapes"]:
        assert set(shape["figures"]) == {"Prompt Hub", *(other["system"] for other in shape["against"])}
        for figures in shape["figures"].values():
            assert len(figures["train_seconds_per_step"]) == len(figures["eval_examples_per_second"]) == 1
            assert min(*figures["train_seconds_per_step"], *figures["eval_examples_per_second"]) > 0
            assert set(figures["memory_mb"]) == {"train", "eval"}
        for other in shape["against"]:
            assert set(other["ratios"]) == {"train", "eval", "train_memory", "eval_memory"}
            assert isinstance(other["kept"], bool)


def test_prompt_hub_and_peft_compute_the_same_label_logits(report: dict[str, Any]) -> None:
    compared = {name for shape in report["shapes"] for name in shape["logit_difference"]}
    assert compared == {
        "PEFT, RobertaForMaskedLM", "PEFT, GPT2LMHeadModel", "PEFT, LlamaForCausalLM",
        "PEFT, T5ForConditionalGeneration",
    }  # fmt: skip
    for shape in report["shapes"]:
        # Texts must differ in their logits by far more than the systems, or the comparison is blind.
        assert shape["logit_spread"] > 1e-3
        assert max(shape["logit_difference"].values()) < 1e-5


def test_length_buckets_are_what_makes_prompt_hub_pad_less(report: dict[str, Any]) -> None:
    for shape in report["shapes"]:
        hub, *others = (figures["padded_tokens"] for figures in shape["figures"].values())
        assert all(hub["train"] < 0.7 * other["train"] for other in others)


def test_causal_shapes_run_packed_so_that_no_padding_is_computed(report: dict[str, Any]) -> None:
    tokens = {shape["shape"]: shape["figures"]["Prompt Hub"]["padded_tokens"] for shape in report["shapes"]}
    # SST-2's 23.4 tokens and four of the template's end.
    assert all(
        27 < tokens[name][mode] < 28 for name in ("gpt2", "smollm2-135m") for mode in ("train", "eval")
    )


def test_the_table_names_machine_ratios_and_verdicts(benchmark: Any, report: dict[str, Any]) -> None:
    table = benchmark.markdown(report)
    assert report["machine"]["cpu"] in table and "n = 1 rounds of 2 batches" in table
    assert table.count("| yes |") + table.count("| **no** |") == 5
    assert table.count("max difference") == 4


def test_a_slower_or_larger_prompt_hub_is_not_kept(benchmark: Any) -> None:
    def figures(seconds: float, rate: float, memory: float) -> dict[str, Any]:
        return {
            "train_seconds_per_step": [seconds, seconds, seconds],
            "eval_examples_per_second": [rate, rate, rate],
            "memory_mb": {"train": memory, "eval": memory},
        }

    theirs = figures(2.0, 10.0, 100.0)
    assert benchmark.ratios(figures(1.0, 20.0, 100.0), theirs, "PEFT")["kept"]
    assert benchmark.ratios(figures(1.0, 20.0, 50.0), theirs, "PEFT")["ratios"] == {
        "train": [2.0, 2.0, 2.0], "eval": [2.0, 2.0, 2.0], "train_memory": [2.0], "eval_memory": [2.0],
    }  # fmt: skip
    for worse in (figures(2.1, 20.0, 50.0), figures(1.0, 9.0, 50.0), figures(1.0, 20.0, 110.0)):
        assert not benchmark.ratios(worse, theirs, "PEFT")["kept"]


def test_lengths_can_come_from_a_data_folder(benchmark: Any, tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    rows = [{"text_a": "a b c d e f g h i j", "label": 1}, {"text_a": "good", "label": 1}]
    (tmp_path / "sst2" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert benchmark.length_counts(tmp_path) == [0, 1] + [0] * 10 + [1]
    assert sum(benchmark.length_counts(None)) == 6911


def test_a_data_folder_without_the_task_is_refused(
    benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        benchmark.parse(["--data-dir", str(tmp_path)])
    assert "train.jsonl" in capsys.readouterr().err
