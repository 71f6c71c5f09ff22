"""Tokens are compared by the text that they stand for, whatever sign their tokenizer uses."""

from __future__ import annotations

import pytest
import torch
from made_backbones import Embedder, Vocabulary, random_rows

from prompt_hub.transfer.cross_model.shared_tokens import shared_tokens, token_texts


def test_three_ways_to_write_a_word_and_its_end_are_the_same_texts():
    byte_level = token_texts(Vocabulary(["Ġfilm", "ing", "Ġcaf", "Ã©", "."]))
    pieces = token_texts(Vocabulary(["▁film", "ing", "▁caf", "é", ".", "<0x0A>"]))
    word_pieces = token_texts(Vocabulary(["film", "##ing", "caf", "##é", ".", "[unused7]"]))
    assert byte_level == pieces == word_pieces == {" film": 0, "ing": 1, " caf": 2, "é": 3, ".": 4}


def test_what_is_no_text_is_left_out():
    vocabulary = Vocabulary(["<s>", "Ġfilm", "Ã", "Ġ", "<new>"], special=("<s>",), added=("<new>",))
    assert token_texts(vocabulary) == {" film": 1}


def test_of_two_tokens_with_one_text_the_first_counts():
    assert token_texts(Vocabulary(["▁", "▁film", " film"])) == {" film": 1}


def test_rows_stand_for_the_same_text_in_both_and_zero_rows_are_left_out():
    ours, theirs = random_rows(3, 4), random_rows(3, 6, seed=1)
    theirs[0] = 0
    source = Embedder("a", ["film", "plot", "##s"], ours)
    target = Embedder("b", ["Ġplot", "s", "Ġfilm"], theirs)
    shared = shared_tokens(source, target)
    assert shared.texts == [" film", "s"] and shared.found == 2
    torch.testing.assert_close(shared.source, ours[[0, 2]])
    torch.testing.assert_close(shared.target, theirs[[2, 1]])


@pytest.mark.parametrize(("first", "second"), [("bert", "gpt2"), ("roberta", "t5"), ("llama", "bert")])
def test_real_tokenizers_share_the_words_that_both_were_trained_on(tiny, first, second):
    texts = set(shared_tokens(tiny(first), tiny(second)).texts)
    assert {" film", " great", "."} <= texts
    special = {*tiny(first).tokenizer.all_special_tokens, *tiny(second).tokenizer.all_special_tokens}
    assert not special & {text.strip() for text in texts}
