"""Cold and warm runs differ in their start alone, share their rows, and are never trained twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.errors import UserError
from prompt_hub.evaluation.predict import label_scores
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.runs.records import Record
from prompt_hub.tasks import Example, Split, get_task, hold_out
from prompt_hub.tasks.splits import row_hashes
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import OtherSettings, train_prompt
from prompt_hub.transfer.starts import Source, starts, unseen
from prompt_hub.transfer.warm_starts import compare_starts

TASK = get_task("sst2")


def rows(name: str, word: str, count: int = 48) -> Split:
    """Texts that no other ``word`` gives; three of four are of one class."""
    texts = [f"the {word} film was {'great ' * (index % 7)}{index}" for index in range(count)]
    examples = [Example(text, None, int(index % 4 != 0)) for index, text in enumerate(texts)]
    return Split.of(name, examples, "made here")


def arguments(folder: Path, **changes) -> PromptTrainingArguments:
    values = dict(
        output_dir=str(folder), prompt_len=4, max_steps=8, save_steps=2, per_device_train_batch_size=8,
        learning_rate=0.05, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    return PromptTrainingArguments(**{**values, **changes})


@pytest.fixture(scope="module")
def prompts(tiny, tmp_path_factory) -> dict[str, Source]:
    """``source`` and ``other``: prompts of the tiny GPT-2, trained on texts of their own."""
    folder = tmp_path_factory.mktemp("prompts")
    found = {}
    for name, task in (("source", "rotten_tomatoes"), ("other", "rte")):
        train_prompt(
            tiny("gpt2"), get_task(task), rows("train", name), arguments(folder), folder / name
        )  # fmt: skip
        found[name] = Source.read(str(folder / name))
    return found


def compare(tiny, folder: Path, prompts: dict[str, Source], **changes):
    given = dict(
        train=rows("train", "boring"),
        validation=rows("validation", "lovely", 16),
        args=arguments(folder),
        seeds=(1, 2),
    )
    given.update(source=prompts["source"], other=prompts["other"])
    given.update(changes)
    return compare_starts(tiny("gpt2"), TASK, folder=folder, **given)


@pytest.fixture(scope="module")
def finished(tiny, prompts, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, compare(tiny, folder, prompts)


def settings(folder: Path) -> dict:
    return Record.load(folder / "train.json").settings


def test_the_runs_of_a_seed_differ_in_their_start_alone(finished):
    folder, _ = finished
    for seed in (1, 2):
        found = [
            settings(folder / "runs" / name / f"seed-{seed}")
            for name in ("cold", "warm", "other", "untrained")
        ]
        inits = [one.pop("init") for one in found]
        assert [one.pop("init_prompt") is None for one in found] == [True, False, False, False]
        assert len(set(inits)) == 4 and all(one == found[0] for one in found)


def test_runs_through_one_pass_are_the_same_runs(finished, tiny, prompts, tmp_path):
    folder, result = finished
    together = compare(tiny, tmp_path, prompts, together=True)
    for run, other in zip(together["runs"], result["runs"], strict=True):
        assert (run["start"], run["seed"], run["steps"]) == (other["start"], other["seed"], other["steps"])
        where = Path("runs") / run["start"] / f"seed-{run['seed']}"
        found, expected = (SoftPrompt.from_pretrained(place / where) for place in (tmp_path, folder))
        moved = (expected.embeddings - expected.initial).norm()
        assert (found.embeddings - expected.embeddings).norm() <= 1e-5 * moved
        assert set(run["floors"]) == set(other["floors"])
    again = compare(tiny, tmp_path, prompts, seeds=(1, 2, 3), together=True)
    assert [run["prompt_hash"] for run in again["runs"] if run["seed"] < 3] == [
        run["prompt_hash"] for run in together["runs"]
    ]


def test_curves_begin_before_training_and_come_from_held_out_training_rows(finished, prompts, tiny):
    _, result = finished
    for run in result["runs"]:
        assert all(curve["steps"] == (0, 2, 4, 6, 8) for curve in run["curves"].values())
    encoder = Encoder(tiny("gpt2"), TASK, 4)
    for run in (run for run in result["runs"] if run["start"] == "warm"):
        held_out = hold_out(rows("train", "boring"), fraction=0.1, maximum=200, seed=run["seed"])[1]
        scores = label_scores(
            encoder, prompts["source"].prompt.embeddings, encode_split(encoder, held_out), 8
        )
        loss = F.cross_entropy(torch.from_numpy(scores), torch.tensor(held_out.labels()))
        assert -run["curves"]["loss"]["values"][0] == pytest.approx(loss.item(), rel=1e-4)


def test_the_result_has_scores_gains_and_speed_ups_over_the_seeds(finished):
    _, result = finished
    assert list(result["starts"]) == ["cold", "warm", "other", "untrained"]
    assert result["n"] == 16 and result["seeds"] == [1, 2] and len(result["runs"]) == 8
    assert (result["n_train"], result["n_held_out"]) == (48, 5)
    for name, found in result["starts"].items():
        runs = [run for run in result["runs"] if run["start"] == name]
        assert found["score"]["values"] == [run["score"] for run in runs]
        if name != "cold":
            cold = result["starts"]["cold"]["score"]["values"]
            gains = [run["score"] - base for run, base in zip(runs, cold, strict=True)]
            assert found["gain"]["values"] == pytest.approx(gains)
            for curve in ("score", "loss"):
                for kind in ("comparable", "convergence"):
                    assert len(found["speed_up"][curve][kind]["by_seed"]) == 2
    assert set(result["floors"]) == {"majority", "no_prompt", "random_prompt"}


def test_record_and_figure_are_written(finished):
    folder, result = finished
    record = Record.load(folder / "warm_start.json")
    assert record.status == "done" and record.result["runs"] == json.loads(json.dumps(result["runs"]))
    assert (folder / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_comparison_again_trains_nothing_and_an_interrupted_one_trains_the_rest(
    tiny, prompts, finished, tmp_path
):
    folder, result = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    kept = copy / "runs" / "warm" / "seed-1" / "train.json"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(copy / "runs" / "untrained" / "seed-2")
    again = compare(tiny, copy, prompts)
    assert kept.stat().st_mtime_ns == before
    hashes = [[run["prompt_hash"] for run in found["runs"]] for found in (result, again)]
    assert hashes[0] == hashes[1] and again["starts"] == result["starts"]


def test_seeds_and_the_other_prompt_can_be_added_later(tiny, prompts, tmp_path):
    first = compare(tiny, tmp_path, prompts, seeds=(1,), other=None)
    assert list(first["starts"]) == ["cold", "warm", "untrained"]
    assert first["starts"]["cold"]["score"]["ci95"] is None
    more = compare(tiny, tmp_path, prompts, seeds=(1, 2))
    assert list(more["starts"]) == ["cold", "warm", "other", "untrained"]
    assert more["starts"]["cold"]["score"]["values"][0] == first["starts"]["cold"]["score"]["values"][0]


def test_a_folder_with_another_comparison_is_left_alone(tiny, prompts, finished):
    folder, _ = finished
    before = (folder / "warm_start.json").read_bytes()
    with pytest.raises(OtherSettings, match="source was"):
        compare(tiny, folder, prompts, source=prompts["other"], other=None)
    with pytest.raises(OtherSettings, match="learning_rate"):
        compare(tiny, folder, prompts, args=arguments(folder, learning_rate=0.01))
    assert (folder / "warm_start.json").read_bytes() == before


def test_rows_that_a_prompt_was_trained_on_are_left_out_of_every_run_and_counted(tiny, prompts, tmp_path):
    shared = rows("train", "source", 12)
    train = Split.of("train", rows("train", "boring").examples + shared.examples, "made here")
    lovely = rows("validation", "lovely", 16)
    validation = Split.of("validation", lovely.examples + rows("v", "other", 5).examples, "made here")
    result = compare(tiny, tmp_path, prompts, train=train, validation=validation, seeds=(1,))
    assert result["removed_overlap"] == {"train": 12, "validation": 5}
    assert (result["n_train"], result["n"]) == (48, 16)
    cold = SoftPrompt.from_pretrained(tmp_path / "runs" / "cold" / "seed-1")
    assert not set(cold.train_rows.tolist()) & set(row_hashes(shared.examples).tolist())


def test_a_task_whose_rows_were_all_seen_is_refused(tiny, prompts, tmp_path):
    with pytest.raises(UserError, match=r"0 train rows remain after 48.*or let these rows stay.*--keep-seen"):
        compare(tiny, tmp_path, prompts, train=rows("train", "source"))
    assert not list(tmp_path.iterdir())


def test_rows_that_a_prompt_was_trained_on_can_stay_in_training_but_never_in_validation(
    tiny, prompts, tmp_path
):
    validation = Split.of(
        "v", rows("v", "lovely", 16).examples + rows("v", "source", 5).examples, "made here"
    )
    train = rows("train", "source")
    result = compare(tiny, tmp_path, prompts, train=train, validation=validation, seeds=(1,), keep_seen=True)
    assert (result["n_train"], result["kept_overlap"]) == (48, 48)
    assert (result["n"], result["removed_overlap"]) == (16, {"train": 0, "validation": 5})
    assert any("48 of 48 training rows" in message for message in result["warnings"])
    cold = SoftPrompt.from_pretrained(tmp_path / "runs" / "cold" / "seed-1")
    assert set(cold.train_rows.tolist()) == set(row_hashes(train.examples).tolist())


def test_unseen_leaves_rows_alone_where_nothing_is_known(prompts):
    unknown = Source("x", SoftPrompt(torch.ones(4, 32), prompts["source"].prompt.metadata))
    assert unseen(rows("train", "source"), [unknown, None])[1] == 0


def test_the_warm_run_remembers_its_source_and_the_untrained_one_has_none(finished, prompts):
    folder, _ = finished
    warm, untrained = (
        SoftPrompt.from_pretrained(folder / "runs" / name / "seed-1") for name in ("warm", "untrained")
    )
    assert warm.metadata.parent["hash"] == prompts["source"].prompt.hash
    assert untrained.metadata.parent is None


def test_starts_are_named_for_people(prompts):
    labels = {start.name: start.label for start in starts(prompts["source"], prompts["other"])}
    assert labels["warm"] == "from the prompt of rotten_tomatoes"
    assert labels["other"] == "from the prompt of rte"


def test_prompts_of_another_backbone_or_length_are_refused(tiny, prompts, tmp_path):
    with pytest.raises(UserError, match="families differ"):
        compare_starts(
            tiny("bert"), TASK, rows("train", "a"), rows("validation", "b"), arguments(tmp_path), tmp_path,
            source=prompts["source"],
        )  # fmt: skip
    long = SoftPrompt(torch.ones(5, 32), prompts["other"].prompt.metadata)
    with pytest.raises(UserError, match="4 rows and the other prompt"):
        compare(tiny, tmp_path, prompts, other=Source("long", long))
    with pytest.raises(UserError, match="are the same"):
        compare(tiny, tmp_path, prompts, other=prompts["source"])


def test_a_run_that_fails_is_named_and_those_before_it_are_kept(tiny, prompts, tmp_path):
    args = arguments(tmp_path, learning_rate=1e38)
    with pytest.raises(UserError, match=r"cold start, seed 1: .*(diverged|learning curve).*"):
        compare(tiny, tmp_path, prompts, args=args)


def test_the_same_source_under_another_path_is_the_same_comparison(tiny, prompts, tmp_path):
    first = compare(tiny, tmp_path, prompts, seeds=(1,), other=None)
    moved = tmp_path / "moved"
    shutil.copytree(prompts["source"].place, moved)
    again = compare(tiny, tmp_path, prompts, seeds=(1,), other=None, source=Source.read(str(moved)))
    assert [run["prompt_hash"] for run in again["runs"]] == [run["prompt_hash"] for run in first["runs"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seeds": ()}, "No seeds"), ({"seeds": (1, 1)}, "names one twice")],
)
def test_wrong_seeds_are_refused(tiny, prompts, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        compare(tiny, tmp_path, prompts, **change)


def test_a_generation_task_is_watched_by_its_loss(tiny, prompts, tmp_path):
    texts = [Example(f"the dog runs {index} {word}", None, "the dog") for index in range(6) for word in "ab"]
    train = Split.of("train", texts * 2, "made here")
    result = compare_starts(
        tiny("gpt2"), get_task("samsum"), train, Split.of("validation", texts[:4], "made here"),
        arguments(tmp_path, max_steps=2, save_steps=1), tmp_path, source=prompts["source"], seeds=(1,),
    )  # fmt: skip
    assert list(result["starts"]["warm"]["speed_up"]) == ["loss"]
