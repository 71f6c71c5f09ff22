"""Train a prompt, evaluate it, and use it on another task.

    python example/train.py --output_dir outputs --dataset sst2 --learning_rate 1e-2
    python example/train.py config.json

Arguments are those of transformers' TrainingArguments and of PromptTrainingArguments (--help lists them).
"""

import json
import sys

from prompt_hub import UserError
from prompt_hub.hub import PromptHub
from prompt_hub.training_args import parse_arguments

TARGET = "rotten_tomatoes"


def main() -> None:
    args = parse_arguments()
    hub = PromptHub(args=args)
    results = {"train": hub.train_prompt(), "eval": hub.eval_prompt()}
    results[TARGET] = hub.cross_task_eval(args.backbone, args.dataset, TARGET)
    for name, result in results.items():
        shown = {key: result[key] for key in ("task", "n", "metrics", "ci95", "floors")}
        print(name, json.dumps(shown))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
