"""Copy trained backbones into the package: ``python pretraining/publish.py NAME=DIR ...``.

DIR is the output folder of ``train.py``. Its log goes to ``pretraining/logs/NAME.jsonl``.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from recipe import RECIPES, REPOSITORY

BACKBONES = REPOSITORY / "src" / "prompt_hub" / "mini" / "backbones"
LOGS = REPOSITORY / "pretraining" / "logs"


def publish(name: str, trained: Path) -> None:
    """Replace the package's backbone of this name."""
    target = BACKBONES / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(trained / "model", target)
    LOGS.mkdir(exist_ok=True)
    shutil.copyfile(trained / "log.jsonl", LOGS / f"{name}.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", nargs="+", metavar="NAME=DIR", help=f"NAME: {', '.join(RECIPES)}")
    for item in parser.parse_args().trained:
        name, _, folder = item.partition("=")
        if name not in RECIPES or not (Path(folder) / "model").is_dir():
            parser.error(f"{item!r}: NAME is one of {', '.join(RECIPES)}, DIR holds a trained model")
        publish(name, Path(folder))


if __name__ == "__main__":
    main()
