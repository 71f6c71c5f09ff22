"""A projector is trained, goes on after an interruption, and is judged on tasks that it has not seen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from prompt_hub.errors import UserError
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt
from prompt_hub.tasks import Split, get_task, load_split
from prompt_hub.tasks.splits import row_hashes
from prompt_hub.training.arguments import PromptTrainingArguments
from prompt_hub.training.run import OtherSettings
from prompt_hub.transfer.cross_model import mixture
from prompt_hub.transfer.cross_model.base import CrossModelMap
from prompt_hub.transfer.cross_model.fit import fit_map
from prompt_hub.transfer.cross_model.projector_run import train_projector
from prompt_hub.transfer.cross_model.recipe import Recipe, fresh, token_norm
from prompt_hub.transfer.cross_model.train_map import gather, train_map
from prompt_hub.transfer.cross_model.unseen import JudgedTask, group_gains, group_verdicts

TASKS = ("mini/film", "mini/hotel", "mini/nli_objects")


def arguments(**changes) -> PromptTrainingArguments:
    values = dict(output_dir="unused", prompt_len=4, max_steps=3, use_cpu=True, hold_out=12, seed=5)
    return PromptTrainingArguments(**{**values, "per_device_train_batch_size": 8, **changes})


@pytest.fixture(scope="module")
def rows():
    tasks = {name: get_task(name) for name in (*TASKS, "mini/conduct_home")}
    return {
        name: (load_split(task, "train", limit=40, seed=1), load_split(task, "validation", limit=20, seed=1))
        for name, task in tasks.items()
    }


@pytest.fixture(scope="module")
def material(tiny, rows, tmp_path_factory):
    tasks = [get_task(name) for name in TASKS]
    unseen = [get_task("mini/conduct_home")]
    folder = tmp_path_factory.mktemp("prompts")
    return gather(tiny("bert"), tiny("gpt2"), tasks, rows, arguments(), folder, unseen=unseen)


@pytest.fixture(scope="module")
def trained(material, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, train_map(material, Recipe(bottleneck=8), arguments(), folder)


def test_missing_prompts_are_trained_for_both_backbones_and_found_again(tiny, rows, material, tmp_path):
    for data in material.data.values():
        assert data.source.metadata.backbone["hidden"] == tiny("bert").hidden
        assert data.own.metadata.task == data.name and data.own.metadata.family == "causal_lm"
    for name in ("mini/film", "mini/nli_objects"):
        material.data[name].source.save_pretrained(tmp_path / "kept" / name.replace("/", "-"))
    tasks = [get_task("mini/film"), get_task("mini/nli_objects")]
    again = gather(
        tiny("bert"), tiny("gpt2"), tasks, rows, arguments(max_steps=1), tmp_path / "new",
        stored=tmp_path / "kept",
    )  # fmt: skip
    assert again.data["mini/film"].source.hash == material.data["mini/film"].source.hash
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["target"]


def test_every_task_is_judged_in_its_group_beside_every_control(trained, material):
    _, result = trained
    groups = [(one.task, one.group) for one in result.judged]
    assert groups == [
        ("mini/film", "trained"), ("mini/hotel", "trained"), ("mini/nli_objects", "trained"),
        ("mini/conduct_home", "other-type unseen"), ("mini/film", "same-type unseen"),
        ("mini/hotel", "same-type unseen"), ("mini/nli_objects", "other-type unseen"),
    ]  # fmt: skip
    for one in result.judged:
        assert set(one.controls) == {
            "another task's source, projected", "gaussian source, projected", "shuffled source, projected",
            "constant-input projector", "random prompt", "untrained start, projected", "no prompt",
            "target's own prompt",
        }  # fmt: skip
        assert one.majority is not None and one.n == 20
    assert set(result.found.metrics["verdicts"]) == {"trained", "same-type unseen", "other-type unseen"}


def test_the_fold_without_a_task_has_not_seen_it(trained):
    folder, _ = trained
    record = json.loads((folder / "runs" / "without-mini--film" / "projector" / "train.json").read_text())
    assert [one["task"] for one in record["settings"]["tasks"]] == ["mini/hotel", "mini/nli_objects"]
    assert record["status"] == "done" and not record["settings"]["constant"]


def test_the_stored_map_gives_what_the_network_gives(trained, material, tmp_path):
    _, result = trained
    result.found.save_pretrained(tmp_path / "map")
    again = CrossModelMap.from_pretrained(tmp_path / "map")
    prompt = material.data["mini/hotel"].source
    made = again.apply(prompt)
    projector = again.network.build()
    projector.load_state_dict(
        {name: tensor for name, tensor in result.found.tensors.items() if name != "control.constant"}
    )
    expected = projector(prompt.embeddings).detach() * again.network.gain
    torch.testing.assert_close(made.embeddings, expected)
    assert again.hash == result.found.hash and again.train_tasks == list(TASKS)
    assert again.training["parameters"] == projector.parameter_count and again.training["steps"] == 3
    assert made.metadata.parent["map_train_tasks"] == list(TASKS)
    seen = set(row_hashes(material.data["mini/film"].train.examples).tolist())
    assert seen <= set(made.train_rows.tolist())


def test_the_constant_input_is_the_first_tasks_source(material, tmp_path):
    """With one task, the control and the projector are the same training."""
    one = replace(material, trained=["mini/film"], data={"mini/film": material.data["mini/film"]})
    result = train_map(one, Recipe(bottleneck=8), arguments(), tmp_path)
    image = result.found.apply(material.data["mini/film"].source)
    torch.testing.assert_close(image.embeddings, result.found.constant)
    control = result.judged[0].controls["constant-input projector"]
    assert control["gain"] == 0 and "the projector ignores its input" in result.judged[0].verdict


@pytest.mark.parametrize("objective", ["task-tuning", "distance", "both"])
@pytest.mark.parametrize("network", ["flat", "per-token", "low-rank"])
def test_every_objective_trains_every_network(material, tmp_path, objective, network):
    recipe, data = Recipe(objective, network, bottleneck=8, rank=2), material.only(["mini/film"])
    made = train_projector(
        data, material.source.identity, recipe, 1.0, arguments(learning_rate=1e-3), tmp_path
    )
    start = fresh(recipe.network_for(*material.sizes), 5).state_dict()
    assert set(made.weights) == set(start)
    assert all(not torch.equal(made.weights[name], weight) for name, weight in start.items())


def test_a_projector_that_starts_from_a_map_gives_at_first_what_the_map_gives(tiny, material, tmp_path):
    recipe = Recipe(network="per-token", activation="none", start="ridge")
    args = arguments(learning_rate=1e-12, max_steps=1)
    found = train_map(material, recipe, args, tmp_path, leave_one_out=False).found
    fitted = fit_map(tiny("bert"), tiny("gpt2"), "ridge", scale="none", seed=5)
    images = [data.source.embeddings @ fitted.tensors["weight"] for data in material.only(TASKS)]
    norm = torch.cat(images).square().sum(1).mean().sqrt()
    expected = images[0] * (token_norm(tiny("gpt2")) / norm)
    made = found.apply(material.data[TASKS[0]].source).embeddings
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)
    for wrong in ({"network": "flat"}, {"network": "per-token"}, {"activation": "none"}):
        with pytest.raises(UserError, match="needs a linear projector"):
            Recipe(start="ridge", **wrong)
    with pytest.raises(UserError, match="Unknown start 'magic'"):
        Recipe(start="magic")


def test_distance_brings_the_images_to_the_targets_own_prompts(material, tmp_path):
    recipe = Recipe("distance", bottleneck=32)
    data = material.only(["mini/film", "mini/nli_objects"])
    args = arguments(max_steps=300, learning_rate=1e-3)
    made = train_projector(data, material.source.identity, recipe, 1.0, args, tmp_path)
    own = [one.own.embeddings for one in data]
    for index, one in enumerate(data):
        image = made.network.apply(made.weights, one.source.embeddings)
        away = [float((image - prompt).norm() / prompt.norm()) for prompt in own]
        assert away[index] < 0.25 < away[1 - index]


def test_an_interrupted_training_comes_to_the_same_projector(material, trained, tmp_path, monkeypatch):
    whole = trained[1].found
    calls = {"left": 2}
    loss = mixture.ProjectorModule._loss

    def failing(self, task, rows):
        calls["left"] -= self.training
        if calls["left"] < 0:
            raise KeyboardInterrupt
        return loss(self, task, rows)

    monkeypatch.setattr(mixture.ProjectorModule, "_loss", failing)
    args, recipe = arguments(), Recipe(bottleneck=8)
    with pytest.raises(KeyboardInterrupt):
        train_map(material, recipe, args, tmp_path, leave_one_out=False)
    run = tmp_path / "runs" / "all-tasks" / "projector"
    assert json.loads((run / "train.json").read_text())["status"] == "running"
    assert list((run / "checkpoints").glob("checkpoint-*"))
    monkeypatch.undo()
    again = train_map(material, recipe, args, tmp_path, leave_one_out=False).found
    assert again.hash == whole.hash
    with pytest.raises(OtherSettings, match=r"learning_rate was 0\.001"):
        train_map(material, recipe, arguments(learning_rate=0.5), tmp_path, leave_one_out=False)


def test_rows_that_the_projector_has_seen_are_left_out_on_other_tasks(material, trained):
    from prompt_hub.transfer.cross_model.controls import evaluate_projected

    found, data = trained[1].found, material.data["mini/conduct_home"]
    split = material.validation["mini/conduct_home"]
    shared = Split.of("validation", [*split.examples, *data.train.examples[:5]], "made")
    source = SoftPrompt(data.source.embeddings, data.source.metadata, torch.tensor([], dtype=torch.int64))
    seen = replace(found, train_rows=torch.as_tensor(row_hashes(data.train.examples)))
    result = evaluate_projected(seen, source, material.target, data.encoder.task, shared)
    assert result.removed == 5 and result.evaluation.n == 20
    own = replace(seen, train_tasks=["mini/conduct_home"])
    assert evaluate_projected(own, source, material.target, data.encoder.task, shared).evaluation.n == 25


def test_the_verdict_of_a_group_is_by_the_interval_over_its_tasks():
    def judged(task, constant, gaussian):
        controls = {
            name: {"score": 0.0, "gain": gain, "gain_ci95": [gain, gain], "same_map": name != "no prompt"}
            for name, gain in (
                ("constant-input projector", constant),
                ("gaussian", gaussian),
                ("no prompt", 0),
            )
        }
        return JudgedTask(task, "t", "same-type unseen", 9, 0, "accuracy", 0.5, [0, 1], 0.5, controls, "")

    surely = [judged("a", 0.20, 0.3), judged("b", 0.21, 0.3), judged("c", 0.19, 0.3)]
    assert "the source matters" in group_verdicts(surely)["same-type unseen"]
    gain = next(one for one in group_gains(surely) if one.control == "constant-input projector")
    # Student's t with two degrees of freedom: 4.3027 * 0.01 / sqrt(3).
    assert gain.ci95 == pytest.approx((0.2 - 0.024842, 0.2 + 0.024842), abs=1e-5)
    unsure = [judged("a", 0.5, 0.3), judged("b", 0.0, 0.3), judged("c", 0.1, 0.3)]
    said = group_verdicts(unsure)["same-type unseen"]
    assert "the projector ignores its input" in said and "constant-input projector does as well" in said


def test_what_does_not_fit_is_refused(tiny, rows, material, trained, tmp_path):
    film, hotel = get_task("mini/film"), get_task("mini/hotel")
    sides = (tiny("bert"), tiny("gpt2"))
    with pytest.raises(UserError, match="Named twice: mini/film"):
        gather(*sides, [film, film], rows, arguments(), tmp_path)
    with pytest.raises(UserError, match="Name at least one task"):
        gather(*sides, [], rows, arguments(), tmp_path)
    with pytest.raises(UserError, match="'samsum' asks for generated text"):
        gather(*sides, [get_task("samsum")], rows, arguments(), tmp_path)
    for name, length in (("mini/film", 3), ("mini/hotel", 5)):
        metadata = PromptMetadata(backbone=tiny("bert").identity.to_dict(), task=name)
        prompt = SoftPrompt(torch.randn(length, tiny("bert").hidden), metadata)
        prompt.save_pretrained(tmp_path / "kept" / name.replace("/", "-"))
    with pytest.raises(UserError, match=r"source prompts differ in their rows \(mini/film 3, mini/hotel 5\)"):
        gather(*sides, [film, hotel], rows, arguments(), tmp_path / "new", stored=tmp_path / "kept")
    found = trained[1].found
    metadata = replace(material.data["mini/film"].source.metadata)
    with pytest.raises(UserError, match="takes prompts of 4 rows; this one has 3"):
        found.apply(SoftPrompt(torch.randn(3, tiny("bert").hidden), metadata))
    with pytest.raises(UserError, match="takes prompts of"):
        found.apply(material.data["mini/film"].own)
    with pytest.raises(UserError, match="Unknown method 'magic'"):
        Recipe("magic")
    with pytest.raises(UserError, match="Unknown network 'deep'"):
        Recipe(network="deep")


def test_the_same_backbone_twice_is_allowed_and_said(tiny, rows, tmp_path):
    made = gather(tiny("gpt2"), tiny("gpt2"), [get_task("mini/film")], rows, arguments(), tmp_path)
    found = train_map(made, Recipe(network="low-rank", rank=2), arguments(), tmp_path).found
    assert any("are the same backbone" in note for note in found.warnings)
