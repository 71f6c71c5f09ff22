"""The original's API, as its README prints it, on small local backbones under the names printed there."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.hub import PromptHub
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.training_args import PromptTrainingArguments
from prompt_hub.transfer.cross_model.base import CrossModelMap

ROOT = Path(__file__).parents[1]
WORDS = "the film was good bad great awful plot actor scene story boring lovely".split()


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_folder) -> Path:
    """A folder with data for two tasks and backbones called roberta-base and roberta-large."""
    folder = tmp_path_factory.mktemp("home")
    chooser = random.Random(1)
    for task in ("sst2", "rotten_tomatoes"):
        for split, count in (("train", 48), ("validation", 24)):
            rows = [
                {"text_a": " ".join(chooser.choices(WORDS, k=chooser.randint(3, 9))), "label": index % 2}
                for index in range(count)
            ]
            (folder / "data" / task).mkdir(parents=True, exist_ok=True)
            (folder / "data" / task / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("roberta-base", "roberta-large"):
        shutil.copytree(tiny_folder("roberta"), folder / "models" / name)
    return folder


@pytest.fixture
def seed_world(home, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PROMPT_HUB_DATA", str(home / "data"))
    monkeypatch.setenv("PROMPT_HUB_BACKBONES", str(home / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(**changes) -> PromptTrainingArguments:
    """The README's arguments, with a shorter prompt and run (the printed length is for a real backbone)."""
    values = dict(
        output_dir="outputs", dataset="sst2", backbone="roberta-base", learning_rate=1e-2, prompt_len=6,
        max_steps=4, use_cpu=True,
    )  # fmt: skip
    return PromptTrainingArguments(**{**values, **changes})


def test_the_quick_example(seed_world):
    args = small()
    trainer = PromptHub(args=args)

    trainer.train_prompt()
    results = trainer.eval_prompt()
    assert results["accuracy"] == results["metrics"]["accuracy"] and results["n"] == 24

    cross_task_eval_results = trainer.cross_task_eval('roberta-base', 'sst2', 'rotten_tomatoes')  # fmt: skip
    assert cross_task_eval_results["task"] == "rotten_tomatoes"
    assert cross_task_eval_results["source_task"] == "sst2"


def test_cross_task_training_starts_from_the_sources_prompt_and_keeps_the_targets_own(seed_world):
    trainer = PromptHub(args=small())
    trainer.train_prompt()
    own = trainer.train_prompt('roberta-base', 'rotten_tomatoes')  # fmt: skip
    result = trainer.cross_task_train('roberta-base', 'sst2', 'rotten_tomatoes')  # fmt: skip
    source = trainer.prompt('roberta-base', 'sst2')  # fmt: skip
    warm = SoftPrompt.from_pretrained(seed_world / "outputs" / "roberta-base" / "rotten_tomatoes-from-sst2")
    assert result["prompt_hash"] == warm.hash and result["source_task"] == "sst2"
    assert warm.metadata.parent["hash"] == source.hash and warm.metadata.task == "rotten_tomatoes"
    assert (warm.initial == source.embeddings).all() and warm.hash != source.hash
    assert trainer.prompt('roberta-base', 'rotten_tomatoes').hash == own["prompt_hash"]  # fmt: skip
    # With two arguments the source is the task of the arguments, as in cross_task_eval.
    again = trainer.cross_task_train('roberta-base', 'rotten_tomatoes')  # fmt: skip
    assert again["prompt_hash"] == warm.hash


def test_cross_task_training_leaves_out_rows_that_the_source_has_seen(
    seed_world, home, tmp_path, monkeypatch
):
    shutil.copytree(home / "data", tmp_path / "shared-rows")
    for split in ("train", "validation"):
        target = tmp_path / "shared-rows" / "rotten_tomatoes" / f"{split}.jsonl"
        seen = (home / "data" / "sst2" / "train.jsonl").read_text().splitlines()[:5]
        target.write_text("\n".join([*target.read_text().splitlines(), *seen]))
    monkeypatch.setenv("PROMPT_HUB_DATA", str(tmp_path / "shared-rows"))
    trainer = PromptHub(args=small())
    trainer.train_prompt()
    result = trainer.cross_task_train('roberta-base', 'sst2', 'rotten_tomatoes')  # fmt: skip
    assert result["removed_train_overlap"] >= 5 and result["removed_overlap"] >= 5
    assert result["n"] == 24 + 5 - result["removed_overlap"]


def test_training_can_start_from_the_best_prompt_of_a_folder(seed_world):
    PromptHub(args=small()).train_prompt()
    result = PromptHub(args=small(dataset="rotten_tomatoes", init="auto:outputs")).train_prompt()
    record = json.loads((Path(result["prompt"]) / "train.json").read_text())
    assert record["settings"]["start"]["task"] == "sst2" and record["settings"]["start"]["n"] >= 10


def test_train_and_evaluate_with_names_that_overwrite_the_arguments(seed_world):
    trainer = PromptHub(args=small())
    trainer.train_prompt('roberta-large', 'sst2')  # fmt: skip
    eval_results = trainer.eval_prompt('roberta-large', 'sst2')  # fmt: skip
    assert eval_results["backbone"] == "roberta-large"
    trainer.train_prompt('roberta-base', 'sst2')  # fmt: skip
    assert trainer.eval_prompt('roberta-base', 'sst2')["backbone"] == "roberta-base"  # fmt: skip
    assert (seed_world / "outputs" / "roberta-large" / "sst2" / "prompt_hub.json").exists()


def test_a_later_hub_finds_the_prompts_of_an_earlier_one(seed_world):
    trained = PromptHub(args=small()).train_prompt()
    assert PromptHub(args=small()).eval_prompt()["prompt_hash"] == trained["prompt_hash"]


def test_training_twice_trains_twice(seed_world):
    trainer = PromptHub(args=small(learning_rate=0.05))
    first = trainer.train_prompt()
    trainer.args.seed = 7
    second = trainer.train_prompt()
    assert first["prompt_hash"] != second["prompt_hash"]
    assert second["hyperparameters"]["relative_movement"] > 0.01 and second["steps"] == 4
    assert SoftPrompt.from_pretrained(trainer.folder("roberta-base", "sst2")).hash == second["prompt_hash"]


def test_training_and_evaluation_do_not_change_the_callers_arguments(seed_world):
    args = small(learning_rate=None)
    before = args.to_json_string()
    trainer = PromptHub(args=args)
    trainer.train_prompt()
    trainer.eval_prompt()
    assert args.to_json_string() == before


def test_cross_model_training_trains_a_projector_and_leaves_the_arguments_alone(seed_world):
    args = small()
    before = args.to_json_string()
    trainer = PromptHub(args=args)
    cross_model_train = trainer.cross_model_train(
        source_model='roberta-base', target_model='roberta-large', task='sst2'
    )  # fmt: skip
    cross_model_eval = trainer.cross_model_eval(
        source_model='roberta-base', target_model='roberta-large', task='sst2'
    )  # fmt: skip
    assert args.to_json_string() == before and args.learning_rate == 1e-2
    assert (
        cross_model_train["training"]["learning_rate"] == 1e-2 and cross_model_train["training"]["steps"] == 4
    )
    assert cross_model_eval["accuracy"] == cross_model_train["accuracy"] and cross_model_eval["n"] == 24
    assert "projector ignores its input" in cross_model_eval["verdict"]  # one task: the constant is the same

    found = CrossModelMap.from_pretrained(trainer.map_folder("roberta-base", "roberta-large", "sst2"))
    torch.manual_seed(args.seed)
    start = found.network.build().state_dict()
    assert all(not torch.equal(found.tensors[name], weight) for name, weight in start.items())
    made = SoftPrompt.from_pretrained(seed_world / "outputs" / "roberta-large" / "sst2-from-roberta-base")
    assert made.metadata.parent["map"] == found.hash
    # A second call trains again: with another seed it comes to another projector.
    args.seed = 7
    again = trainer.cross_model_train('roberta-base', 'roberta-large', 'sst2')  # fmt: skip
    assert again["map"] != found.hash


def test_a_projector_is_evaluated_on_another_task_too(seed_world):
    trainer = PromptHub(args=small(learning_rate=None, flatten_proj=False))
    trainer.cross_model_train('roberta-base', 'roberta-large', 'sst2')  # fmt: skip
    trainer.train_prompt('roberta-base', 'rotten_tomatoes')  # fmt: skip
    result = trainer.cross_model_eval(
        'roberta-base', 'roberta-large', 'rotten_tomatoes', trained_on='sst2'
    )  # fmt: skip
    assert result["task"] == "rotten_tomatoes" and result["trained_on"] == "sst2"
    assert result["training"]["recipe"]["network"] == "per-token"
    assert result["training"]["learning_rate"] == 3e-3
    with pytest.raises(UserError, match=r"cross_model_train\('roberta-base', 'roberta-large', 'imdb'\)"):
        trainer.cross_model_eval('roberta-base', 'roberta-large', 'imdb')  # fmt: skip
    with pytest.raises(UserError, match="target_model='roberta-large'"):
        trainer.cross_model_train('roberta-base', task='sst2')  # fmt: skip


def test_a_missing_prompt_says_how_to_train_it(seed_world):
    with pytest.raises(UserError, match=r"train_prompt\('roberta-base', 'sst2'\)"):
        PromptHub(args=small()).eval_prompt()


def test_an_old_compute_metrics_argument_is_accepted_with_a_note(seed_world):
    with pytest.warns(UserWarning, match="compute_metrics"):
        PromptHub(args=small(), compute_metrics=lambda p: {})


@pytest.mark.slow
def test_the_example_script_runs_as_printed(seed_world, home):
    (seed_world / "example").mkdir()
    for name in ("train.py", "train.sh"):
        shutil.copy(ROOT / "example" / name, seed_world / "example")
    config = {"output_dir": "outputs", "dataset": "sst2", "prompt_len": 6, "max_steps": 3, "use_cpu": True}
    (seed_world / "config.json").write_text(json.dumps(config))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }
    for line in (
        ["python", "example/train.py", "config.json"],
        # The README's line asks for a prompt of 100, the default, for which the small backbone has no room.
        [
            "bash",
            "-c",
            f"{(ROOT / 'example' / 'train.sh').read_text().strip()} --prompt_len 6 --use_cpu true",
        ],
    ):
        done = subprocess.run(
            line, cwd=seed_world, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        printed = dict(row.split(" ", 1) for row in done.stdout.splitlines())
        assert set(printed) == {"train", "eval", "rotten_tomatoes"}
        assert json.loads(printed["train"])["metrics"] == json.loads(printed["eval"])["metrics"]


@pytest.fixture(scope="module")
def neuron_world(home, tmp_path_factory):
    """A folder where prompts for two tasks were trained."""
    folder = tmp_path_factory.mktemp("neurons")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPT_HUB_DATA", str(home / "data"))
        patch.setenv("PROMPT_HUB_BACKBONES", str(home / "models"))
        patch.chdir(folder)
        for seed, task in enumerate(("sst2", "rotten_tomatoes")):
            PromptHub(args=small(seed=seed, learning_rate=0.3)).train_prompt("roberta-base", task)
        yield folder


def test_activated_neurons_before_and_after_the_activation_function(neuron_world):
    args = small()
    trainer = PromptHub(args=args)
    before_relu, after_relu = trainer.activated_neuron(args.backbone, args.dataset)
    assert before_relu.shape == after_relu.shape == (2, 64)
    assert ((before_relu > 0) == (after_relu > 0)).all() and 0 < (after_relu > 0).float().mean() < 1


def test_neuron_similarity_uses_both_names(neuron_world):
    trainer = PromptHub(args=small())
    cos_sim = trainer.neuron_similarity(backbone="roberta-base", task1="sst2", task2="rotten_tomatoes")
    a, b = (trainer.activated_neuron("roberta-base", task)[1] > 0 for task in ("sst2", "rotten_tomatoes"))
    assert cos_sim == pytest.approx(float((a & b).sum() / (a.sum() * b.sum()) ** 0.5))
    assert 0 < cos_sim < 1
    assert trainer.neuron_similarity('roberta-base', 'sst2', 'sst2') == pytest.approx(1)  # fmt: skip
    with pytest.raises(UserError, match="task1 and task2"):
        trainer.neuron_similarity("roberta-base", "sst2")


def test_masking_activated_neurons_gives_the_scores_and_the_mask_and_leaves_no_trace(neuron_world):
    args = small()
    trainer = PromptHub(args=args)
    plain = trainer.eval_prompt()
    eval_metric, mask = trainer.mask_activated_neuron(args.backbone, args.dataset, ratio=0.2)
    assert mask.shape == (2, 64) and int(mask.sum()) == round(0.2 * 128)
    after = trainer.activated_neuron()[1]
    assert after[mask].min() >= after[~mask].max()
    assert 0 <= eval_metric["accuracy"] <= 1 and eval_metric["n"] == 24
    assert {k: v for k, v in trainer.eval_prompt().items() if k != "seconds"} == {
        k: v for k, v in plain.items() if k != "seconds"
    }
    with pytest.raises(UserError, match="above 0 and at most 1"):
        trainer.mask_activated_neuron(args.backbone, args.dataset, ratio=2)


def test_plot_neuron_saves_and_returns_a_figure_of_the_prompts_looked_at(neuron_world):
    trainer = PromptHub(args=small())
    trainer.neuron_similarity(backbone="roberta-base", task1="sst2", task2="rotten_tomatoes")
    figure = trainer.plot_neuron()
    assert (neuron_world / "outputs" / "roberta-base" / "neurons.png").stat().st_size > 5000
    assert [axes.get_title() for axes in figure.axes[:2]] == ["sst2", "rotten_tomatoes"]


def test_a_task_of_ones_own_serves_every_verb(seed_world, home):
    (seed_world / "films.yaml").write_text(
        "name: films\nkind: classification\nclasses: ['bad', 'good']\nlabel_map: {'0': 'bad', '1': 'good'}\n"
        "label_words: {default: [bad, good]}\ntemplates: {masked_lm: '{text_a} It was {mask}.'}\n"
    )
    for split in ("train", "validation"):
        (seed_world / "rows" / "films").mkdir(parents=True, exist_ok=True)
        shutil.copy(home / "data" / "sst2" / f"{split}.jsonl", seed_world / "rows" / "films")
    shutil.copytree(home / "data" / "rotten_tomatoes", seed_world / "rows" / "rotten_tomatoes")
    hub = PromptHub(args=small(dataset="films.yaml", data_dir="rows"))
    trained = hub.train_prompt()
    assert hub.eval_prompt()["accuracy"] == trained["accuracy"]
    assert hub.cross_task_eval("roberta-base", "films.yaml", "rotten_tomatoes")["source_task"] == "films"
    assert hub.cross_task_train("roberta-base", "films", "rotten_tomatoes")["removed_overlap"] >= 0
    assert hub.mask_activated_neuron("roberta-base", "films.yaml", ratio=0.2)[0]["n"] == 24
    with pytest.raises(UserError, match="Unknown task 'films'"):
        PromptHub(args=small()).eval_prompt("roberta-base", "films")
