"""Tasks as data: what they are, where their examples come from, and how they are scored."""

from prompt_hub.tasks.custom import custom_task, name_from_file, parse_label_words
from prompt_hub.tasks.metrics import (
    METRIC_VERSION,
    METRICS,
    bootstrap_interval,
    compute_metrics,
    is_mean_over_examples,
    majority_answer,
    majority_score,
    metric_under_counts,
    per_example_scores,
    primary_metric,
    resample_counts,
)
from prompt_hub.tasks.registry import get_task, list_tasks, load_task_file, registered_name, task_names
from prompt_hub.tasks.sources import load_file, load_split
from prompt_hub.tasks.splits import Split, drop_overlap, hold_out, row_hash, row_hashes
from prompt_hub.tasks.task import Example, HubLocation, Task, parse_template
from prompt_hub.tasks.task_schema import task_from_dict, validate_task

__all__ = [
    "METRICS",
    "METRIC_VERSION",
    "Example",
    "HubLocation",
    "Split",
    "Task",
    "bootstrap_interval",
    "compute_metrics",
    "custom_task",
    "drop_overlap",
    "get_task",
    "hold_out",
    "list_tasks",
    "load_file",
    "load_split",
    "load_task_file",
    "majority_answer",
    "majority_score",
    "metric_under_counts",
    "name_from_file",
    "parse_label_words",
    "parse_template",
    "is_mean_over_examples",
    "per_example_scores",
    "primary_metric",
    "registered_name",
    "resample_counts",
    "row_hash",
    "row_hashes",
    "task_from_dict",
    "task_names",
    "validate_task",
]
