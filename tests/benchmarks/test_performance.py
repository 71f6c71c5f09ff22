"""The script behind docs/performance.md: what it counts, that it resumes, and what it writes."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("peft")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROMPT_LEN, ROWS, LENGTH = 7, 4, 11
# What of a tiny model's packed forward is more than useful: every pair of a small attention, and the prompt.
MORE_THAN_USEFUL = 1.2


@pytest.fixture(scope="module")
def performance() -> Iterator[Any]:
    # By name, not by path: the processes that measure memory import the modules again.
    sys.path.insert(0, str(BENCHMARKS))
    threads = torch.get_num_threads()
    try:
        import performance

        yield performance
    finally:
        torch.set_num_threads(threads)
        sys.path.remove(str(BENCHMARKS))


def setting(**changes: Any) -> Any:
    from speed.setting import Setting

    given = {"device": "cpu", "dtype": "float32", "deadline": time.monotonic() + 600, "rounds": 2}
    return Setting(**given, small=True, **changes)


# -- operations --------------------------------------------------------------------------------------


def counted(system: Any, rows: Any, training: bool) -> int:
    """Operations as torch counts them, of a forward or of a training step."""
    inputs = system.prepare(rows, training)
    system.module.prompt.requires_grad_(training)
    run = system.optimise if training else system.label_logits
    run(inputs)
    with FlopCounterMode(display=False) as counter:
        run(inputs)
    system.module.prompt.requires_grad_()
    return counter.get_total_flops()


@pytest.fixture(scope="module", params=["roberta-base", "gpt2", "smollm2-135m", "t5-small"])
def watched(request: pytest.FixtureRequest, performance: Any) -> dict[str, Any]:
    """A tiny model of each kind with texts of one length, its attention written out so that it is counted."""
    from compared_systems import PromptHub, PromptHubReference
    from operations import Architecture
    from shapes import ALL_SHAPES, random_rows

    shape = ALL_SHAPES[request.param]
    template = len(random_rows(shape, [1], 1, True, seed=0)[0])
    rows = random_rows(shape, [0] * (LENGTH - template) + [1], ROWS, True, seed=0)
    assert {len(row) for row in rows} == {LENGTH}
    fast = PromptHub(shape, PROMPT_LEN, True)
    fast.encoder.backbone.model.set_attn_implementation("eager")
    return {
        "arch": Architecture.of(shape.config(True), shape.family),
        "fast": fast,
        "reference": PromptHubReference.of(fast),
        "rows": rows,
    }


@pytest.mark.parametrize("training", [False, True], ids=["forward", "training step"])
def test_the_arithmetic_gives_what_torch_counts_in_the_plain_forward(watched: Any, training: bool) -> None:
    from operations import plain_operations

    expected = plain_operations(watched["arch"], PROMPT_LEN, ROWS, LENGTH, training)
    found = counted(watched["reference"], watched["rows"], training)
    # Torch leaves out some of the gradient in T5's decoder, before it has seen the prompt.
    off = 1e-3 if training and watched["arch"].family == "seq2seq_lm" else 0
    assert found == pytest.approx(expected, rel=off, abs=0)


@pytest.mark.parametrize("training", [False, True], ids=["forward", "training step"])
def test_useful_is_what_the_fast_path_cannot_do_without(watched: Any, training: bool) -> None:
    from operations import useful_operations

    useful = useful_operations(watched["arch"], PROMPT_LEN, [LENGTH] * ROWS, training, runs_prompt=True)
    found = counted(watched["fast"], watched["rows"], training)
    assert useful <= found
    assert found < MORE_THAN_USEFUL * useful


def test_a_padded_text_is_not_more_useful_and_a_longer_one_is(watched: Any) -> None:
    from operations import useful_operations

    def useful(*lengths: int) -> int:
        return useful_operations(watched["arch"], PROMPT_LEN, lengths, training=True)

    assert useful(5, 9) < useful(9, 9) < 2 * useful(9) + 1
    assert useful(9, 10) > useful(9, 9)


# -- systems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["roberta-base", "gpt2", "t5-small"])
def test_every_system_that_scores_label_words_gives_the_same_logits(performance: Any, name: str) -> None:
    from peft_systems import every_name, every_system
    from shapes import ALL_SHAPES, random_rows

    shape = ALL_SHAPES[name]
    rows = random_rows(shape, [0] * 5 + [1] * 20, 8, True, seed=4)
    systems = every_system(shape, PROMPT_LEN, True)
    assert [system.name for system in systems] == every_name(shape)
    scores = [system.scores(rows) for system in systems if system.scores_label_words]
    assert len(scores) == 4 and scores[0].std(0).min() > 1e-3
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-5)


def test_well_set_peft_trains_without_dropout_on_texts_of_like_length(performance: Any) -> None:
    from peft_systems import every_system
    from shapes import ALL_SHAPES, SST2_LENGTH_COUNTS, random_rows

    shape = ALL_SHAPES["gpt2"]
    rows = random_rows(shape, SST2_LENGTH_COUNTS, 160, True, seed=4)
    _, _, stock, well_set = every_system(shape, PROMPT_LEN, True)
    assert well_set.text_tokens(well_set.train_batches(rows, 16)) < 0.8 * stock.text_tokens(
        stock.train_batches(rows, 16)
    )
    for system, same in ((stock, False), (well_set, True)):
        inputs = system.prepare(rows[:8], True)
        system.optimizer.param_groups[0]["lr"] = 0.0
        assert (system.optimise(inputs) == system.optimise(inputs)).item() is same


def test_the_batch_that_stands_for_an_epoch_is_as_wide_as_its_mean(performance: Any) -> None:
    from speed.steps import representative

    batches = [[range(width)] for width in (10, 12, 14, 26, 60)]
    assert representative(batches, 1) == [[range(26)]] and len(representative(batches, 4)) == 4


# -- a run -------------------------------------------------------------------------------------------


def job(performance: Any, measure: Any, shape: str = "gpt2", part: str = "train") -> Any:
    from shapes import ALL_SHAPES

    return performance.Job(part, ALL_SHAPES[shape], 100, measure)


def test_what_is_measured_is_kept_and_what_is_missing_is_tried_again(
    performance: Any, tmp_path: Path
) -> None:
    from speed.store import Store

    calls = {"good": 0, "bad": 0}

    def good() -> dict[str, Any]:
        calls["good"] += 1
        return {"value": 1}

    def bad() -> dict[str, Any]:
        calls["bad"] += 1
        if calls["bad"] == 1:
            raise RuntimeError("out of memory")
        return {"value": 2}

    wanted = [job(performance, bad, "t5-small"), job(performance, good)]
    missing = performance.measure(wanted, setting(), Store(tmp_path))
    assert len(missing) == 1 and "out of memory" in missing[0]
    assert performance.measure(wanted, setting(), Store(tmp_path)) == []
    assert calls == {"good": 1, "bad": 2}
    assert sorted(each["value"] for each in Store(tmp_path).all()) == [1, 2]
    assert not list(tmp_path.glob(".*"))


def test_after_the_time_nothing_is_measured_and_all_of_it_is_named(performance: Any, tmp_path: Path) -> None:
    from speed.store import Store

    over = setting()
    over.deadline = time.monotonic() - 1
    wanted = [
        job(performance, lambda: pytest.fail("the time was over")),
        job(performance, dict, "t5-small"),
    ]
    assert len(performance.measure(wanted, over, Store(tmp_path))) == 2
    found = list(Store(tmp_path).all())
    from speed import page

    text = page.markdown(found, "cpu")
    assert "Not measured" in text and "the time was over: gpt2, t5-small" in text


OPTIONS = ["--small", "--rounds=2", "--threads=1", "--prompt-lens=9", "--parts=train,eval,growth"]


def marks(part: str) -> tuple[str, str]:
    from speed import page

    return page.marks("cpu", part)


@pytest.fixture(scope="module")
def run(performance: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small run: its folder of measurements and the page that it filled."""
    from speed import growth

    folder = tmp_path_factory.mktemp("performance")
    page = folder / "page.md"
    parts = ("train", "eval", "memory", "growth")
    blocks = [f"{marks(part)[0]}\nold {part}\n{marks(part)[1]}\n" for part in parts]
    page.write_text("before\n" + "".join(blocks))
    shorter = {"prompt length": (5, 9), "prompts": (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "SMALL", shorter)
        options = [*OPTIONS, "--shapes=gpt2", f"--output={folder / 'found'}", f"--into={page}"]
        assert performance.main(options) == 0
    return folder / "found", page


def test_a_run_writes_a_file_a_measurement_with_everything_a_table_needs(run: tuple[Path, Path]) -> None:
    found = {path.stem: json.loads(path.read_text()) for path in run[0].glob("*.json")}
    assert len(found) == 2 + 5 and not any("missing" in each for each in found.values())
    train = found["train_gpt2_p9_cpu_float32_small"]
    assert train["systems"]["Prompt Hub"]["path"] == "packed"
    assert len(train["systems"]) == 4 and train["machine"]["torch"] == torch.__version__
    for system in train["systems"].values():
        assert len(system["seconds"]) == 2 and min(system["seconds"]) > 0 and system["operations"] > 0
    assert len(train["roof"]["operations_per_second"]) == 2


def test_the_page_gets_tables_and_figures_between_its_marks_and_keeps_the_rest(
    run: tuple[Path, Path],
) -> None:
    text = run[1].read_text()
    assert text.startswith(f"before\n{marks('train')[0]}\n\n**Training step") and text.count("5 rounds") == 0
    assert re.findall(r"^old.*", text, re.MULTILINE) == ["old memory"]  # what was not measured stays
    assert "| gpt2 | float32 | 9 | Prompt Hub (packed) |" in text
    assert "![How the cost of gpt2 grows" in text
    assert (run[1].parent / "images" / "growth-gpt2-cpu-float32.png").stat().st_size > 5000


def test_a_second_run_measures_nothing_again(performance: Any, run: tuple[Path, Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run[0].glob("train*.json")}
    assert performance.main([*OPTIONS[:-1], "--parts=train", "--shapes=gpt2", f"--output={run[0]}"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in run[0].glob("train*.json")}


def test_the_predicted_line_is_straight_in_the_number_of_prompts(run: tuple[Path, Path]) -> None:
    from speed.figures import predicted

    found = [json.loads(path.read_text()) for path in run[0].glob("growth*.json")]
    still = next(each for each in found if each["detail"] == "still")
    points = sorted((each for each in found if each.get("axis") == "prompts"), key=lambda each: each["value"])
    one, two = predicted(points, still, "eval")
    assert two == pytest.approx(2 * one) and one > 0


def test_a_page_without_marks_is_refused(performance: Any, run: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="performance: cpu"):
        performance.main(["--minutes=0", f"--output={run[0]}", f"--into={page}"])
    assert page.read_text() == "no marks"


# -- the other parts ---------------------------------------------------------------------------------


def test_a_matrix_costs_more_than_its_forward_passes(
    performance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shapes import ALL_SHAPES
    from speed import matrix

    monkeypatch.setattr(matrix, "SEEDS", 1)
    monkeypatch.setattr(matrix, "TASKS", ("sst2", "imdb"))
    monkeypatch.setattr(matrix, "_LEAST_ROWS", 5)
    found = matrix.compare(ALL_SHAPES["roberta-base"], 9, setting())
    assert (found["prompts"], found["tasks"], found["rows"]) == (2, 2, 5)
    assert 0 < found["forward_seconds"] < found["seconds"]


def test_seeds_are_timed_together_and_one_after_the_other(
    performance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shapes import ALL_SHAPES
    from speed import together

    monkeypatch.setattr(together, "SEEDS", 2)
    found = together.compare(ALL_SHAPES["gpt2"], 9, setting())
    assert set(found["seconds"]) == set(found["step_seconds"]) == set(together.WAYS)
    assert all(min(values) > 0 for values in found["seconds"].values())


def test_layers_are_timed_compiled_and_as_they_are(performance: Any) -> None:
    from shapes import ALL_SHAPES
    from speed import compiling

    found = compiling.compare(ALL_SHAPES["gpt2"], 9, setting())["modes"]
    assert list(found) == ["train", "eval"]
    for mode in found.values():
        assert set(mode["seconds"]) == set(mode["first_seconds"]) == set(compiling.WAYS)
        assert all(min(values) > 0 for values in mode["seconds"].values())


def test_memory_is_measured_in_a_process_of_its_own(performance: Any, tmp_path: Path) -> None:
    options = ["--small", "--threads=1", "--prompt-lens=9", "--shapes=t5-small", "--minutes=5"]
    assert performance.main([*options, "--parts=memory", f"--output={tmp_path}"]) == 0
    found = [json.loads(path.read_text()) for path in tmp_path.glob("memory*.json")]
    peaks = {name: peak for each in found for name, peak in each["peak_mb"].items()}
    assert len(peaks) == 4 and peaks["Prompt Hub"]["train"] > 0


def test_what_a_gpu_run_does_otherwise_runs(performance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU that pretends: several steps between two looks at the clock, the allocator's count."""
    from peft_systems import every_system
    from shapes import ALL_SHAPES
    from speed import steps
    from speed.setting import Setting

    waited, allocated = [], iter(range(0, 100 * 2**20, 2**20))
    monkeypatch.setattr(Setting, "on_gpu", True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(device))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: next(allocated))
    given, shape = setting(), ALL_SHAPES["gpt2"]
    systems = every_system(shape, 5, True)
    found = steps.compare(systems, shape, 5, "eval", given)
    assert 3 <= found["steps"] <= 10 and waited
    assert set(found["systems"]) == {system.name for system in systems}
    peaks = steps.gpu_memory(systems, shape, given)
    assert all(peak == {"train": 1.0, "eval": 1.0} for peak in peaks.values()) and len(peaks) == 4


@pytest.mark.parametrize(
    "options", [["--shapes=gpt3"], ["--parts=speed"], ["--prompt-lens=0"], ["--device=cuda:99"]]
)
def test_what_cannot_be_measured_is_refused(
    performance: Any, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        performance.main([*options, f"--output={tmp_path}"])
