"""Causal models run packed: the numbers of the plain forward, on no more rows than needed, or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
import transformers
from test_families import (
    LENGTHS,
    ONE_PIECE,
    SEVERAL_PIECES,
    assert_close,
    make_batch,
    make_prompt,
    target_batch,
)

from prompt_hub.backbones import Batch
from prompt_hub.backbones.causal_lm import CausalLM
from prompt_hub.neurons.ablation import held_neurons
from prompt_hub.neurons.capture import recording, sites_for
from tiny_models import CAUSAL


@contextmanager
def stepping_aside(backbone):
    """A hook that looks at rows, which a packed forward leaves to the ordinary one."""
    handle = backbone.model.register_forward_hook(lambda module, inputs, output: None)
    try:
        yield
    finally:
        handle.remove()


def with_gradient(run, prompt):
    """What ``run`` gives and the gradient of a loss over it."""
    prompt = prompt.clone().requires_grad_(True)
    logits = run(prompt)
    loss = (
        logits
        if logits.ndim == 0
        else torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3)
    )
    loss.backward()
    return logits.detach(), prompt.grad


def assert_same(found, expected):
    for value, reference in zip(found, expected, strict=True):
        assert_close(value, reference)


@pytest.mark.parametrize("kind", CAUSAL)
def test_known_structures_run_packed(tiny, kind):
    assert tiny(kind).path == "packed"


@pytest.mark.parametrize("label_ids", [ONE_PIECE, SEVERAL_PIECES], ids=["one-piece", "several-pieces"])
@pytest.mark.parametrize("lengths", [(5,), (1,), (4, 4, 4), (1, 1), (13, 2, 7, 1, 3)], ids=str)
@pytest.mark.parametrize("kind", CAUSAL)
def test_logits_and_prompt_gradient_are_those_of_the_plain_forward(tiny, kind, lengths, label_ids):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone, lengths), make_prompt(backbone)
    expected = with_gradient(lambda rows: backbone.reference_label_logits(rows, batch, label_ids), prompt)
    assert_same(with_gradient(lambda rows: backbone.label_logits(rows, batch, label_ids), prompt), expected)
    with stepping_aside(backbone):
        assert backbone.path == "shared cache (a hook hangs on the model)"
        other = with_gradient(lambda rows: backbone.label_logits(rows, batch, label_ids), prompt)
    assert_same(other, expected)
    with torch.no_grad(), backbone.unchanged(prompt):
        for _ in range(2):
            assert_close(backbone.label_logits(prompt, batch, label_ids), expected[0])


@pytest.mark.parametrize("prompt_len", [1, 31])
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_text_may_be_read_before_its_end(tiny, kind, prompt_len):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone, prompt_len)
    batch = Batch(batch.input_ids, batch.attention_mask, torch.tensor([[1], [4], [0], [0]]))
    paths = (backbone.label_logits, backbone.reference_label_logits)
    found, expected = (
        with_gradient(lambda rows, path=path: path(rows, batch, ONE_PIECE), prompt) for path in paths
    )
    assert_same(found, expected)


@pytest.mark.parametrize("kind", CAUSAL)
def test_target_loss_and_gradient_do_not_depend_on_the_path(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = target_batch(backbone), make_prompt(backbone)
    found = with_gradient(lambda rows: backbone.target_loss(rows, batch), prompt)
    with stepping_aside(backbone):
        assert_same(found, with_gradient(lambda rows: backbone.target_loss(rows, batch), prompt))


@pytest.mark.parametrize("kind", CAUSAL)
def test_features_do_not_depend_on_the_path(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    found = backbone.read_features(prompt, batch)
    with stepping_aside(backbone):
        assert_close(found, backbone.read_features(prompt, batch))


# -- how much is computed ------------------------------------------------------------------------------


@contextmanager
def rows_seen(backbone):
    """By layer, how many rows enter the map back of each forward's feed-forward layers."""
    seen = [[] for _ in sites_for(backbone)]
    handles = []
    for rows, site in zip(seen, sites_for(backbone), strict=True):

        def note(module, inputs, rows=rows):
            rows.append(inputs[0].numel() // inputs[0].shape[-1])

        note.any_rows = True
        handles.append(site.down.register_forward_pre_hook(note))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("kind", CAUSAL)
def test_no_padding_is_computed_and_the_last_layer_only_where_it_is_read(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    with rows_seen(backbone) as seen:
        backbone.label_logits(prompt, batch, ONE_PIECE)
    assert seen == [[5 + sum(LENGTHS)], [len(LENGTHS)]]


def counted_keys(backbone, monkeypatch):
    assert backbone.path == "packed"
    runs = []
    whole = backbone._packed.keys
    monkeypatch.setattr(backbone._packed, "keys", lambda rows: runs.append(len(rows)) or whole(rows))
    return runs


def test_a_prompt_that_stays_as_it_is_runs_once(tiny, monkeypatch):
    backbone = tiny("llama")
    runs = counted_keys(backbone, monkeypatch)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    with torch.no_grad(), backbone.unchanged(prompt):
        first, second = (backbone.label_logits(prompt, batch, ONE_PIECE) for _ in range(2))
    assert runs == [5] and torch.equal(first, second)


def test_keys_of_a_prompt_are_never_used_for_another(tiny):
    backbone = tiny("gpt2")
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    other = make_prompt(backbone, seed=2)
    with torch.no_grad(), backbone.unchanged(prompt):
        backbone.label_logits(prompt, batch, ONE_PIECE)
        answers = backbone.label_logits(other, batch, ONE_PIECE)
        assert_close(answers, backbone.reference_label_logits(other, batch, ONE_PIECE))
        prompt.mul_(-1)
        answers = backbone.label_logits(prompt, batch, ONE_PIECE)
        assert_close(answers, backbone.reference_label_logits(prompt, batch, ONE_PIECE))
    with torch.no_grad():
        for _ in range(2):
            # A write that torch does not count, between two blocks.
            prompt.data.mul_(-1)
            with backbone.unchanged(prompt):
                answers = backbone.label_logits(prompt, batch, ONE_PIECE)
            assert_close(answers, backbone.reference_label_logits(prompt, batch, ONE_PIECE))


def test_kept_keys_stand_in_for_no_gradient(tiny):
    backbone = tiny("gpt2")
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    expected = with_gradient(lambda rows: backbone.reference_label_logits(rows, batch, ONE_PIECE), prompt)
    leaf = prompt.clone().requires_grad_()
    with backbone.unchanged(leaf):
        with torch.no_grad():
            backbone.label_logits(leaf, batch, ONE_PIECE)
        logits = backbone.label_logits(leaf, batch, ONE_PIECE)
    torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3).backward()
    assert_same((logits.detach(), leaf.grad), expected)


@pytest.mark.parametrize("kind", CAUSAL)
def test_words_of_several_pieces_run_the_text_once(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    with rows_seen(backbone) as seen:
        backbone.label_logits(prompt, batch, SEVERAL_PIECES)
    rows = len(LENGTHS)
    # Pieces behind which something follows: two of the second word, one of the third.
    assert seen == [[5 + sum(LENGTHS) + 3 * rows], [4 * rows]]


# -- generation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_prompt", [True, False])
@pytest.mark.parametrize("kind", CAUSAL)
def test_greedy_texts_are_those_of_the_models_own_generate(tiny, monkeypatch, kind, with_prompt):
    backbone = tiny(kind)
    batch = make_batch(backbone, (3, 11, 7, 1, 5))
    prompt = make_prompt(backbone) if with_prompt else None
    with monkeypatch.context() as patched:
        patched.setattr(backbone, "_model_generate", None)
        free = backbone.generate(prompt, batch, 12)
    with stepping_aside(backbone):
        assert backbone.generate(prompt, batch, 12) == free
    assert max(map(len, free)) == 12
    for row, step in ((0, 2), (1, 0), (4, 5)):
        with monkeypatch.context() as patched:
            # Rows end at different steps, the first so early that the others go on without them.
            ends = SimpleNamespace(eos_token_id=free[row][step], pad_token_id=backbone.tokenizer.pad_token_id)
            patched.setattr(backbone, "tokenizer", ends)
            found = backbone.generate(prompt, batch, 12)
            with stepping_aside(backbone):
                assert backbone.generate(prompt, batch, 12) == found
            assert found[row] == free[row][: free[row].index(free[row][step])]


def test_rows_go_on_alone_when_most_have_ended(tiny, monkeypatch):
    backbone = tiny("llama")
    prompt, four = make_prompt(backbone), make_batch(backbone)
    order = [1, 0, 1, 1, 2]
    batch = Batch(four.input_ids[order], four.attention_mask[order])
    free = backbone.generate(prompt, batch, 10)
    token = next(token for token in free[0] if token not in free[1] + free[4])
    ends = SimpleNamespace(eos_token_id=token, pad_token_id=None)
    monkeypatch.setattr(backbone, "tokenizer", ends)
    with rows_seen(backbone) as seen:
        found = backbone.generate(prompt, batch, 10)
    end = free[0].index(token)
    assert found == [free[row] if row in (1, 4) else free[row][:end] for row in range(5)]
    # The prompt, the texts, then a token of each row: of all five, and of two once three have ended.
    assert seen[0] == [5, 11 * 3 + 3 + 7, *[5] * end, *[2] * (9 - end)]


def test_generation_runs_a_prompt_once_and_each_step_only_new_tokens(tiny, monkeypatch):
    backbone = tiny("llama")
    runs = counted_keys(backbone, monkeypatch)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    with backbone.unchanged(prompt), rows_seen(backbone) as seen:
        texts = backbone.generate(prompt, batch, 3)
    assert list(map(len, texts)) == [3] * len(LENGTHS)
    assert seen[0][-3:] == [sum(LENGTHS), len(LENGTHS), len(LENGTHS)]
    runs.clear()
    with backbone.unchanged(prompt):
        assert backbone.generate(prompt, batch, 3) == backbone.generate(prompt, batch, 3) == texts
    assert runs == [5]


@pytest.mark.parametrize("setting", [{"repetition_penalty": 3.0}, {"no_repeat_ngram_size": 1}], ids=str)
def test_settings_that_change_greedy_search_are_left_to_the_models_own_generate(tiny, setting):
    backbone = tiny("gpt2")
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    free = backbone.generate(prompt, batch, 12)
    before = backbone.model.generation_config
    backbone.model.generation_config = transformers.GenerationConfig(**before.to_diff_dict() | setting)
    try:
        found = backbone.generate(prompt, batch, 12)
    finally:
        backbone.model.generation_config = before
    assert found != free
    assert found == backbone.generate(prompt, batch, 12, **setting)


# -- neurons -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAUSAL)
def test_held_neurons_are_held_in_a_packed_forward(tiny, kind):
    backbone = tiny(kind)
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    sites = sites_for(backbone)
    chosen = torch.rand(len(sites), sites[0].width, generator=torch.Generator().manual_seed(0)) < 0.5
    free = backbone.label_logits(prompt, batch, ONE_PIECE)
    with torch.no_grad(), backbone.unchanged(prompt):
        backbone.label_logits(prompt, batch, ONE_PIECE)
        with held_neurons(sites, chosen, 0.3):
            assert backbone.path == "packed"
            held = backbone.label_logits(prompt, batch, ONE_PIECE)
            assert_close(held, backbone.reference_label_logits(prompt, batch, ONE_PIECE))
        assert_close(backbone.label_logits(prompt, batch, ONE_PIECE), free)
    assert (held - free).abs().max() > 1e-2


def test_a_packed_forward_steps_aside_for_a_recording(tiny):
    backbone = tiny("gpt2")
    with recording(sites_for(backbone), torch.zeros(4, 1, dtype=torch.long)):
        assert backbone.path.startswith("shared cache (a hook hangs on ")
    assert backbone.path == "packed"


# -- models that do not run packed ---------------------------------------------------------------------


def backbone_of(name: str, **settings) -> CausalLM:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(vocab_size=99, bos_token_id=1, eos_token_id=2, **settings)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.15)
    return CausalLM(name, model, SimpleNamespace(pad_token_id=0, eos_token_id=2))


SMALL = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    pad_token_id=0,
)


@pytest.mark.parametrize(
    ("name", "settings", "path"),
    [
        ("GPTNeoX", {}, "packed"),
        ("Granite", {"logits_scaling": 2.0, "attention_multiplier": 0.3}, "packed"),
        ("Gemma", {"head_dim": 8}, "packed"),
        ("Gemma2", {"head_dim": 8, "query_pre_attn_scalar": 8}, "shared cache (its attention takes softcap)"),
        ("Mistral", {"sliding_window": 6}, "shared cache (its attention sees the last 6 positions only)"),
        ("Bloom", {"n_layer": 3, "n_head": 4}, "shared cache (its attention cannot be exchanged)"),
    ],
)
def test_other_models_run_packed_where_that_is_exact(name, settings, path):
    backbone = backbone_of(name, **(SMALL if name != "Bloom" else {"hidden_size": 32}), **settings)
    assert backbone.path == path
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    paths = (backbone.label_logits, backbone.reference_label_logits)
    found, expected = (
        with_gradient(lambda rows, path=path: path(rows, batch, ONE_PIECE), prompt) for path in paths
    )
    assert_same(found, expected)


def test_a_batch_longer_than_a_layers_window_takes_the_ordinary_path():
    backbone = backbone_of("Mistral", **SMALL, sliding_window=12)
    assert backbone.path == "packed"
    prompt = make_prompt(backbone)
    for lengths in ((3, 7), (3, 11)):
        batch = make_batch(backbone, lengths)
        assert_close(
            backbone.label_logits(prompt, batch, ONE_PIECE),
            backbone.reference_label_logits(prompt, batch, ONE_PIECE),
        )


def test_a_model_whose_tokens_mix_outside_attention_is_found_out():
    backbone = backbone_of("Llama", **SMALL)
    mlp = backbone.model.model.layers[1].mlp
    whole = mlp.forward
    # The token before has a say, which in a packed row may be another text's.
    mlp.forward = lambda hidden: whole(hidden + torch.nn.functional.pad(hidden, (0, 0, 1, 0))[:, :-1])
    assert backbone.path == "shared cache (a packed forward gives other logits than the plain one)"


def test_the_model_is_left_as_it_was_after_an_error(tiny, monkeypatch):
    backbone = tiny("gpt2")
    assert backbone.path == "packed"
    batch, prompt = make_batch(backbone), make_prompt(backbone)
    monkeypatch.setattr("prompt_hub.backbones.packed_runs.text_attention", lambda *parts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backbone.label_logits(prompt, batch, ONE_PIECE)
    assert backbone.config._attn_implementation == "sdpa"
    assert not any("forward" in module.__dict__ for module in backbone.model.modules())
