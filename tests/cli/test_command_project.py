"""``prompt-hub project``: from two backbones to a prompt that the second one can be evaluated with."""

from __future__ import annotations

import json

import pytest
import torch
from command import refuses, succeeds

from prompt_hub.prompts.soft_prompt import SoftPrompt


@pytest.fixture(scope="module")
def stored_map(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps") / "map"
    sides = ("--source-backbone", tiny_folder("bert"), "--target-backbone", tiny_folder("gpt2"))
    succeeds("project", "fit", *sides, "--method", "ridge", "-o", folder, "--device", "cpu")
    return folder


def test_a_projected_prompt_is_evaluated_on_the_target(stored_map, trained, files, own_columns, tmp_path):
    made = tmp_path / "made"
    result = succeeds("project", "apply", stored_map, trained("bert"), "-o", made, "--json").json
    assert result["parent"]["hash"] == SoftPrompt.from_pretrained(trained("bert")).hash
    scored = succeeds("eval", made, "--eval", files.eval, *own_columns, "--json").json
    assert scored["n"] == 16 and "gpt2" in scored["backbone"]


def test_a_prompt_can_be_brought_over_in_another_length(stored_map, trained, files, tmp_path):
    whole, made = tmp_path / "whole", tmp_path / "made"
    succeeds("project", "apply", stored_map, trained("bert"), "-o", whole)
    outcome = succeeds("project", "apply", stored_map, trained("bert"), "-o", made, "--target-length", "2")
    assert "2 rows" in outcome.words
    rows = SoftPrompt.from_pretrained(whole).embeddings
    assert torch.equal(SoftPrompt.from_pretrained(made).embeddings, rows[[1, 3]])
    arguments = ("project", "eval", stored_map, trained("bert"), "--eval", files.eval, "--quiet", "--json")
    scored = succeeds(*arguments, "--target-length", "2").json
    assert scored["metrics"] == succeeds("eval", made, "--eval", files.eval, "--json").json["metrics"]
    refuses(*arguments, "--target-length", "0", says=("at least one row, not 0",))
    refuses(
        "project", "apply", stored_map, trained("bert"), "-o", tmp_path / "x", "--target-length", "0",
        says=("at least one row, not 0",),
    )  # fmt: skip


def test_maps_are_listed_and_shown(stored_map):
    listed = succeeds("project", "ls", stored_map.parent, "--json").json["maps"]
    shown = succeeds("project", "show", stored_map, "--json").json
    assert [one["hash"] for one in listed] == [shown["hash"]] and shown["method"] == "ridge"
    assert "ridge" in succeeds("project", "ls", stored_map.parent).stdout


def test_project_refuses_what_does_not_belong_and_replaces_nothing(
    stored_map, trained, tiny_folder, tmp_path
):
    out = ("-o", tmp_path / "out")
    sides = ("--source-backbone", tiny_folder("bert"), "--target-backbone", tiny_folder("gpt2"))
    refuses(
        "project", "fit", *sides, "--method", "magic", *out, says=("Unknown method 'magic'", "procrustes")
    )
    refuses("project", "fit", *sides, "--scale", "big", *out, says=("Unknown scale 'big'", "relative"))
    refuses("project", "fit", *sides, "-o", stored_map, says=("already holds a map",))
    refuses("project", "apply", stored_map, trained("gpt2"), *out, says=("takes prompts of", "gpt2"))
    refuses("project", "apply", tmp_path, trained("bert"), *out, says=("no map at",))
    refuses("project", "apply", stored_map, trained("bert"), "-o", trained("gpt2"), says=("already holds",))
    refuses("project", "apply", stored_map, trained("bert"), "-o", stored_map, says=("holds other files",))
    other = ("--target-backbone", tiny_folder("llama"))
    refuses("project", "apply", stored_map, trained("bert"), *out, *other, says=("gives prompts of", "llama"))
    assert not (tmp_path / "out").exists()


def test_collapse_names_the_prompts_that_are_one_vector(tmp_path):
    values = torch.randn(4, 8)
    for task, factor in (("SST2", 1.0), ("IMDB", 1.00001), ("MNLI", -1.0)):
        folder = tmp_path / f"{task}PromptRoberta_proj"
        folder.mkdir()
        torch.save(values * factor, folder / "task_prompt")
    outcome = succeeds("project", "collapse", tmp_path, "--pairs", "--json")
    last = json.loads(outcome.stdout.splitlines()[-1])
    assert [group["names"] for group in last["groups"]] == [
        ["IMDBPromptRoberta_proj", "SST2PromptRoberta_proj"]
    ]
    assert last["groups"][0]["collapse"] and "it ignored its input" in outcome.words
    assert "1 of 3 prompts are like no other" in outcome.words and "-1.000000" in outcome.stdout
    refuses("project", "collapse", tmp_path / "SST2PromptRoberta_proj", says=("at least two",))


def test_eval_prints_the_controls_and_what_they_say(stored_map, trained, files, tmp_path):
    values = SoftPrompt.from_pretrained(trained("bert"))
    values.embeddings = values.embeddings.flip(0)
    other = SoftPrompt(values.embeddings, values.metadata).save_pretrained(tmp_path / "other")
    outcome = succeeds(
        "project", "eval", stored_map, trained("bert"), "--eval", files.train, "--other", other,
        "--own", trained("gpt2"), "--json",
    )  # fmt: skip
    result = outcome.json
    names = [line["name"] for line in result["controls"]]
    assert names[0] == f"{other}, projected" and names[-1] == "target's own prompt" and len(names) == 7
    assert result["verdict"] in outcome.words and result["n"] == 32
    refuses(
        "project", "eval", stored_map, trained("bert"), "--eval", files.train, "--other", trained("bert"),
        says=("is no control",),
    )  # fmt: skip
    refuses("project", "eval", stored_map, trained("gpt2"), "--eval", files.train, says=("takes prompts of",))


def test_a_trained_projector_is_applied_evaluated_and_shown(tiny_folder, trained, tmp_path):
    folder = tmp_path / "projector"
    sides = ("--source-backbone", tiny_folder("bert"), "--target-backbone", tiny_folder("gpt2"))
    command = (
        "project", "train", *sides,
        "--tasks", "mini/film,mini/hotel", "--network", "low-rank", "--rank", "2", "--prompt-len", "4",
        "--prompt-steps", "2", "--max-steps", "2", "--limit-train", "30", "--limit-eval", "20", "--device",
        "cpu", "-o", folder,
    )  # fmt: skip
    outcome = succeeds(*command, "--json")
    made = outcome.json
    assert (
        "low-rank projector, 4 x 32 to 4 x 32" in outcome.words and "in training with Adam" in outcome.words
    )
    assert made["training"]["steps"] == 2 and made["train_tasks"] == ["mini/film", "mini/hotel"]
    assert {one["group"] for one in made["metrics"]["tasks"]} == {"trained", "same-type unseen"}
    for verdict in made["metrics"]["verdicts"].values():
        assert verdict in outcome.words
    # The same command again finds everything done, another setting is refused.
    assert succeeds(*command, "--json").json["hash"] == made["hash"]
    refuses(*command, "--lr", "0.5", says=("learning_rate was 0.01", "asked is 0.5"))

    source = folder / "prompts" / "source" / "mini--film"
    projected = tmp_path / "projected"
    parent = succeeds("project", "apply", folder, source, "-o", projected, "--json").json["parent"]
    assert parent["map"] == made["hash"] and parent["map_train_tasks"] == made["train_tasks"]
    scored = succeeds("project", "eval", folder, source, "--limit-eval", "20", "--json")
    names = [line["name"] for line in scored.json["controls"]]
    assert "constant-input projector" in names and "projector" in scored.json["verdict"]
    assert succeeds("project", "ls", tmp_path, "--json").json["maps"][0]["method"] == "low-rank"
    refuses("project", "apply", folder, trained("gpt2"), "-o", tmp_path / "x", says=("takes prompts of",))


def test_project_train_refuses_what_cannot_be_trained(tiny_folder, tmp_path):
    sides = ("--source-backbone", tiny_folder("bert"), "--target-backbone", tiny_folder("gpt2"))
    out = ("-o", tmp_path / "out")
    ask = ("project", "train", *sides, *out, "--tasks")
    refuses(*ask, "mini/film", "--method", "magic", says=("Unknown method 'magic'", "distance"))
    refuses(*ask, "mini/film", "--network", "deep", says=("Unknown network 'deep'", "per-token"))
    refuses(*ask, "mini/film", "--unseen", "mini/film", says=("Named twice: mini/film",))
    refuses(*ask, ",", says=("at least one task",))
    refuses(*ask, "samsum", says=("asks for generated text",))
    refuses(*ask, "mini/film", "--lr", "0", says=("--lr must be a number above 0",))
    assert not (tmp_path / "out").exists()
