"""What a matrix consists of, and what its keys cover."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prompt_hub.errors import UserError
from prompt_hub.tasks import get_task
from prompt_hub.transfer.plan import CELL, FLOOR, TRAIN, Plan, Source, Target, key_of, model_identity
from prompt_hub.transfer.planning import plan_matrix
from prompt_hub.transfer.sources import Training

TRAINING = {"max_steps": 2, "prompt_len": 4, "use_cpu": True}


def source(name: str, seed: int = 1, trained: bool = False) -> Source:
    identity = {"data_fingerprint": name, "seed": seed} if trained else {"prompt_hash": f"{name}{seed}"}
    return Source(name, name, "sentiment", seed, 4, f"prompts/{name}", identity, trained)


def target(name: str) -> Target:
    task = get_task("sst2")
    data = {"fingerprint": f"rows of {name}", "source": "a file", "n": 24, "metric": "accuracy"}
    return Target(
        name, "sentiment", task.to_dict(), task.fingerprint(), data, [0.0, 1.0] * 12, "t", ["a", "b"]
    )


def plan(names: str, seeds: tuple[int, ...] = (1,), trained: bool = False) -> Plan:
    return Plan(
        backbone={"name": "m", "revision": None, "family": "causal_lm", "embedding_hash": "e"},
        dtype="float32",
        layout="prompt-text",
        split="validation",
        limit=None,
        sources=tuple(source(name, seed, trained) for seed in seeds for name in names),
        targets=tuple(map(target, names)),
    )


def keys(plan: Plan, kind: str) -> set[str]:
    return {item.key for item in plan.items() if item.kind == kind}


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_one_task_more_adds_its_row_and_column(n, seeds):
    before, after = plan("abcdef"[:n], seeds), plan("abcdef"[: n + 1], seeds)
    assert len(keys(before, CELL)) == n * n * len(seeds)
    assert len(keys(after, CELL) - keys(before, CELL)) == (2 * n + 1) * len(seeds)
    assert keys(before, CELL) < keys(after, CELL) and keys(before, FLOOR) < keys(after, FLOOR)
    assert len(keys(after, FLOOR) - keys(before, FLOOR)) == 1 + len(seeds)


def changed(**changes) -> Plan:
    return replace(plan("ab"), **changes)


def with_target(**changes) -> Plan:
    first = plan("ab")
    return replace(first, targets=(replace(first.targets[0], **changes), first.targets[1]))


@pytest.mark.parametrize(
    "other",
    [
        changed(dtype="bfloat16"),
        changed(layout="another"),
        changed(metric_version=999),
        changed(backbone={"family": "causal_lm", "embedding_hash": "another"}),
        changed(sources=(replace(source("a"), identity={"prompt_hash": "another"}), source("b"))),
        with_target(fingerprint="another task"),
        with_target(data={"fingerprint": "other rows", "n": 24}),
        with_target(template="another"),
        with_target(label_words=["c", "d"]),
    ],
    ids=["dtype", "layout", "metrics", "backbone", "prompt", "task", "rows", "template", "label words"],
)
def test_the_key_of_a_cell_covers_whatever_its_score_depends_on(other):
    assert keys(plan("ab"), CELL) - keys(other, CELL)


def test_the_key_of_a_cell_is_that_of_its_whole_identity():
    items = [item for item in plan("abc", (1, 2), trained=True).items() if item.kind == CELL]
    assert [item.key for item in items] == [key_of(CELL, item.work["identity"]) for item in items]


def test_the_key_of_a_cell_does_not_cover_what_things_are_called():
    renamed = {**plan("ab").backbone, "name": "another", "revision": "r"}
    sources = tuple(replace(each, folder="elsewhere") for each in plan("ab").sources)
    assert keys(plan("ab"), CELL) == keys(changed(backbone=renamed, sources=sources), CELL)
    assert "name" not in model_identity(renamed)


def test_a_cell_waits_for_the_training_of_its_own_source_alone_and_comes_right_after_it():
    items = plan("abc", trained=True).items()
    by_key = {item.key: item for item in items}
    for item in items:
        if item.kind == CELL:
            assert [by_key[key].work["source"] for key in item.needs] == [item.work["source"]]
            assert [by_key[key].kind for key in item.needs] == [TRAIN]
    kinds = [(item.kind, item.work.get("source")) for item in items if item.kind != FLOOR]
    assert kinds[:5] == [(TRAIN, "a"), (CELL, "a"), (CELL, "a"), (CELL, "a"), (TRAIN, "b")]
    places = {item.key: place for place, item in enumerate(items)}
    assert all(places[key] < places[item.key] for item in items for key in item.needs)


def test_copies_of_one_prompt_share_their_cells():
    twin = replace(source("a"), name="copy of a")
    assert len(keys(changed(sources=(source("a"), twin)), CELL)) == 2


def test_a_plan_comes_back_from_its_file(tmp_path):
    stored = plan("ab", (1, 2), trained=True)
    stored.save(tmp_path, {})
    assert Plan.load(tmp_path) == stored
    assert [item.key for item in Plan.load(tmp_path).items()] == [item.key for item in stored.items()]


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "no transfer matrix"), ('{"schema_version": 0}', "schema 0"), ("{", "cannot be read")],
)
def test_no_plan_an_older_one_and_a_damaged_one_are_told_apart(tmp_path, text, says):
    if text is not None:
        (tmp_path / "matrix.json").write_text(text)
    with pytest.raises(UserError, match=says):
        Plan.load(tmp_path)


def test_what_decides_a_training_decides_the_keys_of_its_cells(tiny, data):
    def cells(**changes) -> set[str]:
        values = {**TRAINING, **changes.pop("values", {})}
        training = Training(**{"seeds": (1,), "values": values, "data_dir": data, **changes})
        return keys(plan_matrix(tiny("gpt2"), ["sst2"], training, data_dir=data), CELL)

    first = cells()
    assert first == cells(values={"disable_tqdm": False})
    for changes in (
        {"seeds": (2,)},
        {"limit": 20},
        *({"values": {name: value}} for name, value in (("max_steps", 3), ("learning_rate", 0.1),
          ("prompt_len", 5), ("init", "vocab"), ("hold_out", 2), ("adam_beta1", 0.5))),
    ):  # fmt: skip
        assert not first & cells(**changes), changes


def test_another_limit_of_rows_makes_other_cells_and_keeps_the_trainings(tiny, data):
    training = Training(values=TRAINING, data_dir=data)
    plans = [
        plan_matrix(tiny("gpt2"), ["sst2", "rte"], training, data_dir=data, limit=limit) for limit in (10, 12)
    ]
    assert not keys(plans[0], CELL) & keys(plans[1], CELL)
    assert keys(plans[0], TRAIN) == keys(plans[1], TRAIN)


def test_prompts_of_another_backbone_are_named_and_left_out_or_refused(tiny, data, prompts, make_prompt):
    make_prompt("llama", "sst2").save_pretrained(prompts / "foreign")
    (prompts / "broken").mkdir()
    (prompts / "broken" / "prompt_hub.json").write_text("{")
    found = plan_matrix(tiny("gpt2"), ["sst2"], prompts, data_dir=data)
    assert sorted(each.name for each in found.sources) == ["rotten_tomatoes", "rte", "sst2"]
    reasons = dict(found.left_out)
    assert "do not fit" in reasons[str(prompts / "foreign")] and str(prompts / "broken") in reasons
    with pytest.raises(UserError, match=r"broken|foreign"):
        plan_matrix(tiny("gpt2"), ["sst2"], prompts, data_dir=data, strict=True)


def test_a_folder_without_a_fitting_prompt_is_an_error(tiny, data, tmp_path, make_prompt):
    with pytest.raises(UserError, match="no prompts below"):
        plan_matrix(tiny("gpt2"), ["sst2"], tmp_path, data_dir=data)
    make_prompt("roberta", "sst2").save_pretrained(tmp_path / "p")
    with pytest.raises(UserError, match="do not fit"):
        plan_matrix(tiny("gpt2"), ["sst2"], tmp_path, data_dir=data)


def test_prompts_of_one_task_and_seed_are_told_apart_by_their_folders(tiny, data, prompts, make_prompt):
    make_prompt("gpt2", "sst2", prompt_len=6).save_pretrained(prompts / "long" / "sst2")
    make_prompt("gpt2", "sst2", seed=2).save_pretrained(prompts / "sst2-2")
    make_prompt("gpt2", None, seed=9).save_pretrained(prompts / "imported")
    found = plan_matrix(tiny("gpt2"), ["sst2"], prompts, data_dir=data)
    names = {(each.name, each.seed) for each in found.sources if each.task in ("sst2", None)}
    assert names == {("sst2", 1), ("long/sst2", 1), ("sst2", 2), ("imported", 9)}
    assert len(found.own_sources(found.target("sst2"))) == 3


def test_a_target_that_the_backbone_cannot_do_says_why_and_has_no_training(tiny, data):
    training = Training(values=TRAINING, data_dir=data)
    found = plan_matrix(tiny("roberta"), ["sst2", "squad"], training, data_dir=data)
    assert "masked LM" in (found.target("squad").problem or "")
    assert [each.name for each in found.sources] == ["sst2"]
    assert len(keys(found, CELL)) == 2 and dict(found.left_out)["squad"]
    with pytest.raises(UserError, match="squad"):
        plan_matrix(tiny("roberta"), ["sst2", "squad"], training, data_dir=data, strict=True)


@pytest.mark.parametrize(
    ("tasks", "training", "options", "says"),
    [
        ([], {}, {}, "No tasks"),
        (["sst3"], {}, {}, "sst2"),
        (["imdb"], {}, {}, "imdb"),
        (["sst2"], {"seeds": ()}, {}, "No seeds"),
        (["sst2"], {"values": {"max_step": 3}}, {}, "max_step"),
        (["sst2"], {"values": {"prompt_len": 0}}, {}, "prompt_len"),
        (["sst2"], {}, {"layout": "another"}, "layout"),
        (["sst2"], {}, {"split": "dev"}, "split"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(tiny, data, tasks, training, options, says):
    asked = Training(**{"values": TRAINING, "data_dir": data, **training})
    with pytest.raises(UserError, match=says):
        plan_matrix(tiny("gpt2"), tasks, asked, data_dir=data, **options)
