"""Arguments: transformers' own, the prompt's, and those of older scripts."""

from __future__ import annotations

import json

import pytest

from prompt_hub.errors import UserError
from prompt_hub.training_args import PromptTrainingArguments, parse_arguments


def test_the_seeds_example_is_accepted_as_printed(tmp_path):
    line = (
        "--output_dir outputs --dataset sst2 --learning_rate 1e-2 --num_train_epochs 3 --save_total_limit 1 "
        "--evaluation_strategy epoch --save_strategy epoch --load_best_model_at_end true "
        "--metric_for_best_model combined_score"
    )
    with pytest.warns(UserWarning, match="evaluation_strategy is now eval_strategy"):
        args = parse_arguments(line.split())
    assert (args.learning_rate, args.num_train_epochs, args.dataset) == (1e-2, 3.0, "sst2")
    assert args.eval_strategy == "epoch" and args.load_best_model_at_end


def test_a_json_file_serves_as_arguments(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"output_dir": str(tmp_path), "prompt_len": 7}))
    assert parse_arguments([str(tmp_path / "c.json")]).prompt_len == 7
    (tmp_path / "c.json").write_text(json.dumps({"promptlen": 7}))
    with pytest.raises(UserError, match="promptlen"):
        parse_arguments([str(tmp_path / "c.json")])
    with pytest.raises(UserError, match="cannot be read"):
        parse_arguments([str(tmp_path / "none.json")])


def test_old_names_are_used_as_the_new_ones_with_a_note(tmp_path):
    with pytest.warns(UserWarning, match="out_dir_root"):
        assert PromptTrainingArguments(out_dir_root=str(tmp_path)).output_dir == str(tmp_path)
    with pytest.warns(UserWarning, match="pad_to_max_length has no effect"):
        PromptTrainingArguments(output_dir=str(tmp_path), pad_to_max_length=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prompt_len": 0}, "prompt_len"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"limit_eval": 0}, "limit_eval"),
        ({"max_steps": 0}, "max_steps must be at least 1, or -1 .* not 0"),
        ({"max_steps": -5}, "not -5"),
        ({"num_train_epochs": 0}, "num_train_epochs"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be at least 1, not 0"),
        ({"per_device_eval_batch_size": -2}, "per_device_eval_batch_size"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
        ({"report_to": "nothing"}, "tracker .* 'nothing'.* wandb"),
        ({"optim": "zig"}, "optimizer .* 'zig'.* adamw_torch"),
        ({"lr_scheduler_type": "linea"}, "Did you mean 'linear'"),
    ],
)
def test_impossible_values_are_named(tmp_path, changes, named):
    with pytest.raises(UserError, match=named):
        PromptTrainingArguments(output_dir=str(tmp_path), **changes)


def test_nothing_is_reported_to_trackers_unless_asked(tmp_path):
    assert PromptTrainingArguments(output_dir=str(tmp_path)).report_to == []


def test_paths_are_taken_as_their_text(tmp_path):
    args = PromptTrainingArguments(str(tmp_path), backbone=tmp_path / "gpt2", data_dir=tmp_path / "data")
    assert (args.backbone, args.data_dir) == (str(tmp_path / "gpt2"), str(tmp_path / "data"))
