from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from prompt_hub.errors import UserError
from prompt_hub.prompts.initialisers import INITIALISERS, initial_prompt, parse_init, random_like
from prompt_hub.prompts.metadata import PromptMetadata
from prompt_hub.prompts.soft_prompt import SoftPrompt

SPECIAL = ["<pad>", "<unk>", "<mask>"]
UNUSED = ["[unused1]", "<extra_id_0>", "madeupword0001", "<0x0A>", ".", "!"]
WORDS = ["good", "bad", "film", "the", "is", "Classify", "sentiment"]
FIRST_WORD = len(SPECIAL) + len(UNUSED)


@pytest.fixture(scope="module")
def backbone() -> Any:
    """Only what initialisers may use. The matrix has rows beyond the tokenizer, and embeddings are scaled."""
    tokens = {token: index for index, token in enumerate(SPECIAL + UNUSED + WORDS)}
    inner = Tokenizer(models.WordLevel(tokens, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>"
    )
    matrix = torch.randn(len(tokens) + 8, 6, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        name="tiny",
        hidden=6,
        tokenizer=tokenizer,
        embedding_matrix=matrix,
        embed=lambda ids: 10 * matrix[ids],
    )


def row(backbone: Any, word: str) -> torch.Tensor:
    return 10 * backbone.embedding_matrix[(SPECIAL + UNUSED + WORDS).index(word)]


def is_word_row(backbone: Any, rows: torch.Tensor) -> torch.Tensor:
    words = 10 * backbone.embedding_matrix[FIRST_WORD : FIRST_WORD + len(WORDS)]
    return (rows[:, None] == words).all(-1).any(-1)


def test_text_is_repeated_or_cut(backbone: Any) -> None:
    prompt = initial_prompt("text:the film is good", backbone, 6, 0)
    expected = torch.stack([row(backbone, word) for word in ["the", "film", "is", "good", "the", "film"]])
    assert torch.equal(prompt, expected)
    assert torch.equal(initial_prompt("text", backbone, 2, 0, text="the film is good"), expected[:2])


@pytest.mark.parametrize(("spec", "text"), [("text", ""), ("text", None)])
def test_text_without_a_token_is_refused(backbone: Any, spec: str, text: str | None) -> None:
    with pytest.raises(UserError, match="Initialiser 'text'"):
        initial_prompt(spec, backbone, 4, 0, text=text)


def test_vocab_takes_ordinary_rows_without_repeating_them(backbone: Any) -> None:
    prompt = initial_prompt("vocab", backbone, len(WORDS), 0)
    assert is_word_row(backbone, prompt).all()
    assert len(prompt.unique(dim=0)) == len(WORDS)
    assert initial_prompt("vocab", backbone, 30, 0).shape == (30, 6)


def test_label_words_come_first_as_means_of_their_pieces(backbone: Any) -> None:
    prompt = initial_prompt("label-words", backbone, 4, 0, label_words=["bad", "the good"])
    assert torch.equal(prompt[0], row(backbone, "bad"))
    torch.testing.assert_close(prompt[1], (row(backbone, "the") + row(backbone, "good")) / 2)
    assert is_word_row(backbone, prompt[2:]).all()
    assert len(initial_prompt("label-words", backbone, 1, 0, label_words=["bad", "good"])) == 1
    with pytest.raises(UserError, match="has none"):
        initial_prompt("label-words", backbone, 4, 0)


def test_noise_has_the_scale_of_token_embeddings(backbone: Any) -> None:
    prompt = initial_prompt("random", backbone, 2000, 0)
    words = 10 * backbone.embedding_matrix[FIRST_WORD : FIRST_WORD + len(WORDS)]
    assert float(prompt.square().mean().sqrt()) == pytest.approx(
        float(words.square().mean().sqrt()), rel=0.05
    )


def test_another_prompt_is_cut_or_filled_and_says_so(backbone: Any, tmp_path: Path, make_prompt: Any) -> None:
    other = make_prompt(prompt_len=5, hidden=6)
    spec = f"prompt:{other.save_pretrained(tmp_path / 'a:b')}"
    assert torch.equal(initial_prompt(spec, backbone, 5, 0), other.embeddings)
    with pytest.warns(UserWarning, match="5 rows and was cut to 3"):
        assert torch.equal(initial_prompt(spec, backbone, 3, 0), other.embeddings[:3])
    with pytest.warns(UserWarning, match="filled with vocabulary rows to 7"):
        longer = initial_prompt(spec, backbone, 7, 0)
    assert torch.equal(longer[:5], other.embeddings) and is_word_row(backbone, longer[5:]).all()


def test_another_prompt_of_another_width_is_refused(backbone: Any, tmp_path: Path, make_prompt: Any) -> None:
    folder = make_prompt(hidden=4).save_pretrained(tmp_path / "prompt")
    with pytest.raises(UserError, match="width 4, backbone tiny 6"):
        initial_prompt(f"prompt:{folder}", backbone, 5, 0)


@pytest.mark.parametrize("spec", ["text:the film", "vocab", "label-words", "random"])
def test_a_seed_decides_everything(backbone: Any, spec: str) -> None:
    first = initial_prompt(spec, backbone, 5, 3, label_words=["good", "bad"])
    assert first.shape == (5, 6) and first.dtype == torch.float32 and not first.requires_grad
    assert torch.equal(first, initial_prompt(spec, backbone, 5, 3, label_words=["good", "bad"]))


@pytest.mark.parametrize("length", [0, -1])
def test_a_prompt_needs_a_row(backbone: Any, length: int) -> None:
    with pytest.raises(UserError, match=f"not {length}"):
        initial_prompt("vocab", backbone, length, 0)


def test_specs_are_parsed() -> None:
    assert parse_init("text") == ("text", None)
    assert parse_init("text:Classify: the sentiment ") == ("text", "Classify: the sentiment")
    assert parse_init("vocab") == ("vocab", None)
    assert parse_init("prompt:/a/b:c") == ("prompt", "/a/b:c")
    assert parse_init("label-words") == ("label-words", None)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vocabulary", "Did you mean 'vocab'"),
        ("", "Known: label-words"),
        ("text:", "nothing after the colon"),
        ("prompt", "prompt:path"),
        ("random-like:", "random-like:path"),
        ("vocab:5", "takes nothing"),
    ],
)
def test_wrong_specs_say_what_is_right(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_init(spec)


def test_random_like_keeps_the_norm_of_every_row() -> None:
    prompt = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(50)[:, None]
    other = random_like(prompt, torch.Generator().manual_seed(1))
    torch.testing.assert_close(other.norm(dim=1), prompt.norm(dim=1))
    assert float(torch.nn.functional.cosine_similarity(prompt[1:], other[1:]).abs().mean()) < 0.6


def test_an_untrained_start_has_the_norms_of_the_prompt_and_another_direction_a_seed(
    tiny: Any, tmp_path: Path
) -> None:
    backbone = tiny("gpt2")
    source = torch.randn(5, backbone.hidden, generator=torch.Generator().manual_seed(0)) * 3
    SoftPrompt(source, PromptMetadata()).save_pretrained(tmp_path / "p")
    spec = f"random-like:{tmp_path / 'p'}"
    first, second = (initial_prompt(spec, backbone, 5, seed) for seed in (1, 2))
    torch.testing.assert_close(first.norm(dim=1), source.norm(dim=1))
    assert float(torch.nn.functional.cosine_similarity(first, source).abs().max()) < 0.7
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", ["gpt2", "bert", "t5", "bart"])
@pytest.mark.parametrize("name", sorted(set(INITIALISERS) - {"prompt", "random-like"}))
def test_real_backbones_are_served(tiny: Any, kind: str, name: str) -> None:
    backbone = tiny(kind)
    prompt = initial_prompt(name, backbone, 9, 0, text="the film was good", label_words=[" bad", " good"])
    assert prompt.shape == (9, backbone.hidden) and torch.isfinite(prompt).all()
