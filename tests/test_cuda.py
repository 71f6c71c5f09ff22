"""What only a GPU can show: the same numbers there, no step that waits for it, memory, asynchronous input.

pytest tests/test_cuda.py
"""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec

import pytest
import torch
from command import succeeds
from test_families import ONE_PIECE, SEVERAL_PIECES, assert_close, make_batch, make_prompt
from test_training import arguments, skewed

from prompt_hub.backbones import MixedPrompts, load_backbone
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import capture_prompt, sites_for
from prompt_hub.tasks import get_task
from prompt_hub.training.run import train_prompt
from prompt_hub.training.together import TrainingRun, train_together
from prompt_hub.training.trainer import PromptTrainer
from tiny_models import CAUSAL, KINDS, SEQ2SEQ

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

FAMILIES = ("gpt2", "llama", "roberta", "t5")
HOST_CHECKS = {"masked_lm": 1, "causal_lm": 0, "seq2seq_lm": 2}
"""How often transformers itself asks for the truth of an attention mask in one forward, at most."""


@pytest.fixture(scope="module")
def on_cuda(tiny_folder):
    loaded = {}

    def get(kind, dtype="float32"):
        if (kind, dtype) not in loaded:
            loaded[kind, dtype] = load_backbone(str(tiny_folder(kind)), device="cuda", dtype=dtype)
        return loaded[kind, dtype]

    return get


def logits_and_gradient(backbone, batch, prompt, words):
    prompt = prompt.detach().clone().requires_grad_()
    logits = backbone.label_logits(prompt, batch.to(backbone.device), words)
    (gradient,) = torch.autograd.grad(logits.square().sum(), prompt)
    return logits.detach().cpu(), gradient


@pytest.mark.parametrize("words", [ONE_PIECE, SEVERAL_PIECES], ids=["one piece", "several pieces"])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_gives_the_numbers_of_the_cpu(tiny, on_cuda, kind, words):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    expected = logits_and_gradient(backbone, batch, prompt, words)
    found = logits_and_gradient(on_cuda(kind), batch, prompt, words)
    assert_close(found[0], expected[0], 1e-4)
    assert_close(found[1], expected[1], 1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near_and_the_prompt_stays_float32(tiny, on_cuda, kind):
    backbone = on_cuda(kind, "bfloat16")
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    logits, gradient = logits_and_gradient(backbone, batch, prompt, ONE_PIECE)
    expected, _ = logits_and_gradient(tiny(kind), batch, prompt, ONE_PIECE)
    assert logits.dtype == gradient.dtype == torch.float32
    assert_close(logits, expected, 0.1)
    assert backbone.identity.embedding_hash == tiny(kind).identity.embedding_hash


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_generation_gives_the_tokens_of_the_cpu(tiny, on_cuda, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    found = on_cuda(kind).generate(prompt, batch.to(torch.device("cuda")), 6)
    assert found == backbone.generate(prompt, batch, 6)


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_training_step_waits_for_the_device(on_cuda, kind):
    """Forward, backward and optimiser of a step whose batch is there, queued without one look at a number."""
    backbone = on_cuda(kind, "bfloat16")
    encoder = Encoder(backbone, get_task("sst2"), 4)
    batch = encoder.batch(encoder.encode(skewed(8).examples).rows)
    prompt = make_prompt(backbone, 4).cuda().requires_grad_()
    optimiser = torch.optim.AdamW([prompt], lr=0.01, fused=True)

    def step() -> None:
        logits = backbone.label_logits(prompt, batch, encoder.label_ids)
        torch.nn.functional.cross_entropy(logits, batch.labels).backward()
        torch.nn.utils.clip_grad_norm_([prompt], 1.0)
        optimiser.step()
        optimiser.zero_grad()

    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in seen if "synchroniz" in str(one.message)]
    assert len(waits) <= HOST_CHECKS[backbone.family], waits


def test_batches_come_from_pinned_memory_while_the_device_computes(on_cuda, tmp_path):
    encoder = Encoder(on_cuda("gpt2"), get_task("sst2"), 4)
    rows = encoder.encode(skewed(32).examples)
    args = arguments(tmp_path, use_cpu=False, max_steps=2)
    trainer = PromptTrainer(encoder, torch.zeros(4, encoder.backbone.hidden), args, rows)
    loader = trainer.get_train_dataloader()
    assert loader.base_dataloader.pin_memory and trainer.accelerator.non_blocking
    assert next(iter(loader))["input_ids"].device.type == "cuda"


@pytest.mark.parametrize("kind", FAMILIES)
def test_training_gives_the_prompt_of_the_cpu(tiny, on_cuda, tmp_path, kind):
    task, found = get_task("sst2"), []
    for backbone in (tiny(kind), on_cuda(kind)):
        args = arguments(tmp_path, use_cpu=backbone.device.type == "cpu", max_steps=6, learning_rate=0.01)
        folder = tmp_path / backbone.device.type
        found.append(train_prompt(backbone, task, skewed(), args, folder, validation=skewed(16, 1)))
    expected, prompt = (result.prompt.embeddings for result in found)
    moved = (expected - found[0].prompt.initial).norm()
    assert (prompt - expected).norm() < 1e-2 * moved
    assert found[0].evaluation.predicted == found[1].evaluation.predicted


@pytest.mark.parametrize("kind", FAMILIES)
def test_trainings_share_a_pass(on_cuda, tmp_path, kind):
    backbone = on_cuda(kind)
    runs = [
        TrainingRun(
            get_task("sst2"), skewed(),
            arguments(tmp_path, use_cpu=False, seed=seed, learning_rate=0.01), tmp_path / f"{seed}",
        )
        for seed in (1, 2, 3)
    ]  # fmt: skip
    for run, result in zip(runs, train_together(backbone, runs), strict=True):
        alone = train_prompt(backbone, run.task, run.train, run.args, tmp_path / "alone")
        moved = (alone.prompt.embeddings - alone.prompt.initial).norm()
        assert (result.prompt.embeddings - alone.prompt.embeddings).norm() < 1e-2 * moved


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_prompts_answer_as_alone(on_cuda, kind):
    backbone = on_cuda(kind)
    batch = make_batch(backbone).to(backbone.device)
    prompts = torch.stack([make_prompt(backbone, seed=seed) for seed in range(4)]).cuda()
    mixed = backbone.label_logits(MixedPrompts(prompts, torch.arange(4).cuda()), batch, ONE_PIECE)
    for row in range(4):
        assert_close(mixed[row], backbone.label_logits(prompts[row], batch, ONE_PIECE)[row], 1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_compiled_layers_give_the_same_numbers(kind, tmp_path):
    from tiny_models import build

    folder = str(build(kind, tmp_path / kind, layers=4))
    backbone = load_backbone(folder, device="cuda", dtype="float32")
    batch, prompt = make_batch(backbone).to(backbone.device), make_prompt(backbone).cuda()
    expected, gradient = logits_and_gradient(backbone, batch, prompt, ONE_PIECE)
    with backbone.compiled():
        found, other = logits_and_gradient(backbone, batch, prompt, ONE_PIECE)
    assert_close(found, expected, 1e-4)
    assert_close(other, gradient, 1e-3)


@pytest.mark.parametrize("kind", FAMILIES)
def test_gradient_checkpointing_takes_less_memory(kind, tmp_path):
    from tiny_models import build

    backbone = load_backbone(
        str(build(kind, tmp_path / kind, positions=512, width=256)), device="cuda", dtype="float32"
    )
    batch = make_batch(backbone, [300] * 64).to(backbone.device)
    prompt = make_prompt(backbone, 50).cuda()

    def peak() -> tuple[int, torch.Tensor]:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _, gradient = logits_and_gradient(backbone, batch, prompt, ONE_PIECE)
        return torch.cuda.max_memory_allocated() - before, gradient

    peak()
    whole, expected = peak()
    with backbone.recomputed():
        less, gradient = peak()
    print(f"{kind}: {whole / 2**20:.0f} MiB, recomputed {less / 2**20:.0f} MiB")
    assert_close(gradient, expected, 1e-3)
    # One of two layers keeps its values.
    assert less < 0.9 * whole


def test_layers_in_main_memory_give_the_same_numbers(tiny, tiny_folder):
    places = {
        "model.embed_tokens": 0, "model.rotary_emb": 0, "model.layers.0": 0, "model.layers.1": "cpu",
        "model.norm": 0, "lm_head": "cpu",
    }  # fmt: skip
    spread = load_backbone(str(tiny_folder("llama")), device=places, dtype="float32")
    batch, prompt = make_batch(spread), make_prompt(spread)
    expected = logits_and_gradient(tiny("llama"), batch, prompt, ONE_PIECE)
    found = logits_and_gradient(spread, batch, prompt, ONE_PIECE)
    assert_close(found[0], expected[0], 1e-4)
    assert_close(found[1], expected[1], 1e-3)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantised_backbones_train(tmp_path, bits):
    from tiny_models import build

    backbone = load_backbone(str(build("llama", tmp_path / "llama", width=128)), device="cuda", dtype=bits)
    args = arguments(tmp_path, use_cpu=False, max_steps=30, logging_steps=5, learning_rate=0.05)
    result = train_prompt(backbone, get_task("sst2"), skewed(), args, tmp_path / "p")
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert result.prompt.metadata.hyperparameters["dtype"] == bits


@pytest.mark.parametrize("kind", FAMILIES)
def test_neurons_are_those_of_the_cpu(tiny, on_cuda, kind):
    backbone, there = tiny(kind), on_cuda(kind)
    prompt, batch = make_prompt(backbone), make_batch(backbone)
    assert_close(capture_prompt(there, prompt)["after"], capture_prompt(backbone, prompt)["after"], 1e-4)
    found = []
    for one in (backbone, there):
        sites = sites_for(one)
        chosen = torch.zeros(len(sites), sites[0].width, dtype=torch.bool)
        chosen[:, ::2] = True
        with held_neurons(sites, chosen):
            found.append(logits_and_gradient(one, batch, prompt, ONE_PIECE)[0])
    assert_close(found[1], found[0], 1e-4)


def test_the_commands_run_on_the_device(tmp_path):
    shared = ("--backbone", "mini-gpt2", "--device", "cuda", "--json", "--quiet")
    seeds = succeeds(
        "train", *shared, "--task", "mini/film", "--max-steps", "20", "--seeds", "1,2", "--together",
        "--limit-eval", "40", "--output", tmp_path / "film",
    ).json  # fmt: skip
    assert len(seeds["runs"]) == 2
    stored = json.loads((tmp_path / "film" / "seed-1" / "prompt_hub.json").read_text())
    assert stored["hyperparameters"]["dtype"] == "bfloat16"
    matrix = succeeds(
        "matrix", *shared, "--tasks", "mini/film,mini/hotel", "--train", "--max-steps", "10", "--jobs", "2",
        "--limit-eval", "40", "--output", tmp_path / "matrix",
    ).json  # fmt: skip
    assert matrix["output"] == str(tmp_path / "matrix")
