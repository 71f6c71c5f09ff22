"""Train one mini backbone: ``python pretraining/train.py NAME --output DIR [--steps N] [--resume]``.

``DIR/log.jsonl`` has a line every ``--log-every`` steps, ``DIR/checkpoint.pt`` is replaced every
``--save-seconds`` seconds, and at the end ``DIR/model`` is a Hugging Face folder with float16 weights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from answers import answer_accuracy
from arrays import Documents, load_vocabulary
from models import build_model
from objectives import OBJECTIVES, to_device
from optimisers import build_optimisers, set_rates
from prepare import CORPUS, prepare_corpus
from recipe import CORPUS_DOCUMENTS, CORPUS_SEED, RECIPES, Recipe, recipe_sha256
from schedule import groups_from
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar, set_verbosity_error
from vocabulary import model_tokenizer

LOGGED_ANSWERS = 1000
"""Held-out answers asked for at each log line; the last line asks for all."""
CLIP = 1.0


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace ``path`` in one step, so that an interrupted save leaves the checkpoint before it."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def save_backbone(
    name: str,
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    corpus: dict[str, Any],
) -> None:
    """Write the Hugging Face folder: float16 weights that load as float32, which a CPU computes faster."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.config.prompt_hub_recipe = recipe_sha256(name)
    model.config.prompt_hub_corpus = corpus
    model.cpu().half().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    config = json.loads((partial / "config.json").read_text())
    config["dtype"] = "float32"
    (partial / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def train(
    recipe: Recipe, corpus: Path, output: Path, resume: bool, log_every: int, save_seconds: float, device: str
) -> None:
    tokenizer = model_tokenizer(load_vocabulary(corpus, recipe.vocabulary), recipe.kind)
    documents, held_out = (
        Documents.load(corpus / f"{recipe.edition}-{recipe.vocabulary}-{part}")
        for part in ("train", "held-out")
    )
    objective = OBJECTIVES[recipe.kind](recipe, tokenizer, documents)
    questions = OBJECTIVES[recipe.kind](recipe, tokenizer, held_out)
    # The starting weights are drawn on the CPU, so that they are the same everywhere.
    model = build_model(recipe, tokenizer).to(device)
    optimisers = build_optimisers(recipe, model)
    parameters = list(model.parameters())
    step = number = place = 0
    spent = 0.0
    output.mkdir(parents=True, exist_ok=True)
    checkpoint, log = output / "checkpoint.pt", output / "log.jsonl"
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, stored in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        step, number, place, spent = (state[key] for key in ("step", "number", "place", "seconds"))
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step))
    else:
        log.unlink(missing_ok=True)
    groups = groups_from(objective, recipe.seed, number, place)
    began = saved = time.time()
    sums, tokens, mark = np.zeros(5), 0, began
    while step < recipe.steps:
        number, place, (key, rows) = next(groups)
        batch = to_device(
            objective.batch(rows, key, np.random.default_rng([recipe.seed, 1, step])), model.device
        )
        with torch.autocast(model.device.type, torch.bfloat16):
            loss, plain, answers = objective.loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP, foreach=True)
        set_rates(optimisers, step, recipe.steps, recipe.warmup)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        found = float(answers)
        known = found == found
        sums += [loss.item(), plain.item(), found if known else 0.0, known, 1]
        tokens += len(rows) * objective.cost(key)
        if step % log_every == 0 or step == recipe.steps:
            now = time.time()
            last = step == recipe.steps
            line = {
                "step": step, "epoch": number, "weighted_loss": round(float(sums[0] / sums[4]), 4),
                "loss": round(float(sums[1] / sums[4]), 4),
                "answer_loss": round(float(sums[2] / max(sums[3], 1)), 4),
                "tokens_per_second": round(tokens / (now - mark)), "seconds": round(spent + now - began),
                **answer_accuracy(model, questions, None if last else LOGGED_ANSWERS),
            }  # fmt: skip
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print({key: value for key, value in line.items() if key != "words"}, flush=True)
            sums, tokens, mark = np.zeros(5), 0, time.time()
        if time.time() - saved > save_seconds or step == recipe.steps:
            saved = time.time()
            save_checkpoint(
                checkpoint,
                {
                    "model": model.state_dict(), "step": step, "number": number, "place": place,
                    "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                    "seconds": spent + saved - began,
                },
            )  # fmt: skip
    save_backbone(
        recipe.name,
        output / "model",
        model,
        tokenizer,
        json.loads((corpus / f"{recipe.edition}.json").read_text()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="the recipe's, unless given")
    parser.add_argument("--seed", type=int, help="the recipe's, unless given")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="written first where it is missing")
    parser.add_argument("--corpus-documents", type=int, default=CORPUS_DOCUMENTS)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/checkpoint.pt if there is one")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default: a GPU if there is one",
    )
    parser.add_argument("--log-every", type=int, default=200)
    parser.add_argument("--save-seconds", type=float, default=150)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=NUMBER", help="other recipe values, to try"
    )
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    set_verbosity_error()
    disable_progress_bar()
    recipe = RECIPES[options.name]
    changes: dict[str, Any] = {
        name: json.loads(value) for name, value in (item.split("=") for item in options.set)
    }
    changes |= {name: value for name in ("steps", "seed") if (value := getattr(options, name)) is not None}
    recipe = replace(recipe, **changes)
    if not (options.corpus / f"{recipe.edition}.json").exists():
        prepare_corpus(options.corpus, options.corpus_documents, CORPUS_SEED)
    train(
        recipe, options.corpus, options.output, options.resume, options.log_every, options.save_seconds,
        options.device,
    )  # fmt: skip


if __name__ == "__main__":
    main()
