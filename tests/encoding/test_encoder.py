"""Rows become the tokens that the whole filled-in text would have, cut to what the backbone holds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prompt_hub.encoding.encoder as encoder_module
from prompt_hub.encoding.encoder import Encoder, encode_split
from prompt_hub.encoding.layouts import layout_for, template_parts
from prompt_hub.encoding.template_text import cut_longest_first, special_affixes
from prompt_hub.errors import UserError
from prompt_hub.tasks import Example, Split, task_from_dict
from tiny_models import CAUSAL, KINDS, MASKED, SEQ2SEQ

TEXTS = (
    "the film was good",
    "good",
    "Plot, actor & scene: great!",
    "  spaces  inside ",
    "a.b 3,5 don't",
    "été",
)
SECOND = ("no dog", "yes", "the 2nd: story?", "red", "x", "ß")


def make_task(template, pair=False, words=("bad", "good"), **more):
    columns = {"text_a": "a", "label": "y", **({"text_b": "b"} if pair else {})}
    families = ("masked_lm",) if "{mask}" in template else ("causal_lm", "seq2seq_lm")
    return task_from_dict(
        {
            "name": "mine",
            "classes": ["zero", "one", "two"][: len(words)],
            "columns": columns,
            "templates": dict.fromkeys(families, template),
            "label_words": {"default": list(words)},
            **more,
        }
    )


def generation_task(template="{text_a}\nAnswer:", **more):
    return task_from_dict(
        {
            "name": "write",
            "kind": "generation",
            "templates": {"causal_lm": template, "seq2seq_lm": "{text_a}"},
            **more,
        }
    )


def examples(pair=False, label=0):
    return [Example(a, b if pair else None, label) for a, b in zip(TEXTS, SECOND, strict=True)]


# -- parts -------------------------------------------------------------------------------------------


def parts(template, family="causal_lm", pair=False):
    return [(part.kind, part.text) for part in template_parts(template, family, pair)]


def test_a_space_before_a_field_belongs_to_the_field():
    assert parts("{mask} {text_a}", "masked_lm") == [("mask", ""), ("text_a", " ")]
    assert parts("text: {text_a}") == [("literal", "text:"), ("text_a", " ")]
    assert parts("{text_a} {text_b}", pair=True) == [("text_a", ""), ("text_b", " ")]


def test_all_white_space_before_a_field_belongs_to_it():
    assert parts("text:  {text_a}") == [("literal", "text:"), ("text_a", "  ")]


def test_spaces_before_the_mask_are_dropped():
    assert parts("{text_a} It was {mask}.", "masked_lm") == [
        ("text_a", ""),
        ("literal", " It was"),
        ("mask", ""),
        ("literal", "."),
    ]
    assert parts("{text_a} {mask}", "masked_lm") == [("text_a", ""), ("mask", "")]


def test_a_line_break_stays_with_what_follows_it():
    assert parts("{text_a}\nAnswer:") == [("text_a", ""), ("literal", "\nAnswer:")]
    assert parts("{text_a}\n{text_b}", pair=True) == [("text_a", ""), ("text_b", "\n")]


def test_doubled_braces_are_literal_ones():
    assert parts("{{ {text_a} }}") == [("literal", "{"), ("text_a", " "), ("literal", " }")]


def test_a_template_of_another_family_is_refused():
    with pytest.raises(UserError, match=r"exactly one \{mask\}"):
        template_parts("{text_a}", "masked_lm", False)
    with pytest.raises(UserError, match=r"no mask, remove \{mask\}"):
        template_parts("{mask} {text_a}", "causal_lm", False)


def test_layouts_by_family():
    assert layout_for("masked_lm").name == "prompt-mask-text"
    assert layout_for("causal_lm").name == layout_for("seq2seq_lm").name == "prompt-text"
    with pytest.raises(UserError, match=r"for masked_lm backbones, not for a causal_lm"):
        layout_for("causal_lm", "prompt-mask-text")
    with pytest.raises(UserError, match=r"Did you mean 'prompt-text'"):
        layout_for("causal_lm", "prompt-txt")


# -- the tokens are those of the whole text ----------------------------------------------------------


def whole_ids(backbone, template, example):
    """The tokens of the filled-in text, special tokens of the tokenizer's own making."""
    tokenizer = backbone.tokenizer
    filled = template.replace(" {mask}", "{mask}").replace("{mask}", tokenizer.mask_token or "")
    filled = filled.replace("{text_a}", example.text_a.strip()).replace(
        "{text_b}", (example.text_b or "").strip()
    )
    ids = tokenizer(filled)["input_ids"]
    return ids


MASKED_TEMPLATES = (
    "{mask} {text_a}",
    "{text_a} {mask}",
    "{text_a} It was {mask} .",
    "the story: {text_a} was {mask}, no?",
    "{mask}: {text_a}",
)
MASKED_PAIRS = ("{mask} {text_a} {text_b}", "{text_a} ? {mask}, {text_b}", "{text_b} {mask} {text_a} .")
CAUSAL_TEMPLATES = (
    "{text_a}",
    "{text_a}\nAnswer:",
    "text: {text_a}\n\nsentiment:",
    "the film: {text_a} It was",
    '"{text_a}" is',
    "text:\n{text_a}",
)
CAUSAL_PAIRS = ("{text_a}\n{text_b}\nAnswer:", "{text_a} question {text_b} answer", "{text_b}. {text_a}?")


@pytest.mark.parametrize("template", MASKED_TEMPLATES + MASKED_PAIRS)
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_template_tokenised_in_parts_is_the_whole_text_for_masked_models(tiny, kind, template):
    backbone, pair = tiny(kind), "{text_b}" in template
    encoder = Encoder(backbone, make_task(template, pair), 4)
    for example, row in zip(examples(pair), encoder.encode(examples(pair)), strict=False):
        assert row.ids == whole_ids(backbone, template, example)


@pytest.mark.parametrize("template", CAUSAL_TEMPLATES + CAUSAL_PAIRS)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_template_tokenised_in_parts_is_the_whole_text_for_causal_models(tiny, kind, template):
    backbone, pair = tiny(kind), "{text_b}" in template
    encoder = Encoder(backbone, make_task(template, pair), 4)
    for example, row in zip(examples(pair), encoder.encode(examples(pair)).rows, strict=True):
        assert row.ids == whole_ids(backbone, template, example)


@pytest.mark.parametrize("template", ["{text_a}", "text: {text_a}", "{text_a} . {text_b}"])
def test_a_template_tokenised_in_parts_is_the_whole_text_for_t5(tiny, template):
    backbone, pair = tiny("t5"), "{text_b}" in template
    encoder = Encoder(backbone, make_task(template, pair), 4)
    for example, row in zip(examples(pair), encoder.encode(examples(pair)).rows, strict=True):
        assert row.ids == whole_ids(backbone, template, example)


@pytest.mark.parametrize("template", ["text:\n\n{text_a}", "{text_a}\n\n{text_b}", "{text_a} \n{text_b}"])
def test_a_blank_line_before_a_field_is_that_of_the_whole_text(tiny, template):
    """GPT-2's pattern leaves the last white space before a word to a piece of its own."""
    backbone, pair = tiny("gpt2"), "{text_b}" in template
    pieces = backbone.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    encoder = Encoder(backbone, make_task(template, pair), 4)
    example = examples(pair)[0]
    filled = template.replace("{text_a}", example.text_a).replace("{text_b}", example.text_b or "")
    separately = [
        piece
        for part in encoder.text.parts
        for piece, _ in pieces(
            part.text + (getattr(example, part.kind, "") if part.kind != "literal" else "")
        )
    ]
    assert separately == [piece for piece, _ in pieces(filled)]


# -- a tokenizer that writes spaces itself (SentencePiece, as T5's and Llama's) ----------------------


@pytest.fixture(scope="module")
def sentencepiece_like(tiny):
    """The tiny T5 with a unigram tokenizer that marks the beginnings of words."""
    import copy

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from tiny_models import corpus

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>",
        initial_alphabet=[*"abcdefghijklmnopqrstuvwxyz.:,?"],
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    backbone = copy.copy(tiny("t5"))
    backbone.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    return backbone


def test_label_words_of_sentencepiece_have_no_second_space(sentencepiece_like):
    encoder = Encoder(sentencepiece_like, make_task("{text_a}"), 4)
    tokens = ["".join(sentencepiece_like.tokenizer.convert_ids_to_tokens(ids)) for ids in encoder.label_ids]
    assert tokens == ["▁bad", "▁good"]


@pytest.mark.parametrize("template", ["{text_a} sentiment:", "film: {text_a}", "{text_a}.", "{text_a}?"])
def test_sentencepiece_gets_no_space_that_the_text_does_not_have(sentencepiece_like, template):
    encoder = Encoder(sentencepiece_like, make_task(template), 4)
    row = encoder.encode([Example("the plot was good", None, 0)])[0]
    decoded = sentencepiece_like.tokenizer.decode(row.ids, skip_special_tokens=True)
    assert decoded == template.replace("{text_a}", "the plot was good")


# -- special tokens, mask ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MASKED)
def test_special_tokens_stand_once_and_the_mask_is_where_it_is_read(tiny, kind):
    backbone = tiny(kind)
    tokenizer = backbone.tokenizer
    for template in MASKED_TEMPLATES:
        for row in Encoder(backbone, make_task(template), 4).encode(examples()).rows:
            assert row.ids[0] == tokenizer.cls_token_id and row.ids[-1] == tokenizer.sep_token_id
            assert row.ids.count(tokenizer.cls_token_id) == row.ids.count(tokenizer.sep_token_id) == 1
            assert [i for i, token in enumerate(row.ids) if token == tokenizer.mask_token_id] == [row.read]


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_row_is_read_at_its_last_token_and_ends_without_eos(tiny, kind):
    backbone = tiny(kind)
    for row in Encoder(backbone, make_task("{text_a}\nAnswer:"), 4).encode(examples()).rows:
        assert row.read == len(row.ids) - 1
        assert row.ids[-1] != backbone.tokenizer.eos_token_id
        starts = row.ids.count(backbone.tokenizer.bos_token_id)
        assert starts == (1 if kind == "llama" else 0)


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_a_seq2seq_row_ends_with_eos_once(tiny, kind):
    backbone = tiny(kind)
    for row in Encoder(backbone, make_task("{text_a}"), 4).encode(examples()).rows:
        assert row.ids[-1] == backbone.tokenizer.eos_token_id
        assert row.ids.count(backbone.tokenizer.eos_token_id) == 1


def test_special_affixes_of_every_tokenizer(tiny):
    for kind in KINDS:
        tokenizer = tiny(kind).tokenizer
        prefix, suffix = special_affixes(tokenizer)
        bare = tokenizer("the film", add_special_tokens=False)["input_ids"]
        assert tokenizer("the film")["input_ids"] == [*prefix, *bare, *suffix]


# -- cutting -----------------------------------------------------------------------------------------


def cut_one_at_a_time(lengths, budget):
    lengths = list(lengths)
    while sum(lengths) > budget:
        lengths[lengths.index(max(lengths))] -= 1
    return lengths


@given(st.lists(st.integers(0, 300), min_size=1, max_size=2), st.integers(1, 300))
def test_the_longest_field_is_cut_first_as_if_a_token_at_a_time(lengths, budget):
    fields = {name: list(range(n)) for name, n in zip(("text_a", "text_b"), lengths, strict=False)}
    was_cut = cut_longest_first(fields, budget)
    after = [len(ids) for ids in fields.values()]
    assert was_cut == (sum(lengths) > budget)
    assert sum(after) == min(sum(lengths), budget)
    # Where both end level, either may be the one that keeps the odd token.
    assert sorted(after) == sorted(cut_one_at_a_time(lengths, budget))
    assert all(n <= before for n, before in zip(after, lengths, strict=True))
    assert all(ids == list(range(len(ids))) for ids in fields.values())


words = st.lists(
    st.sampled_from(["the", "film", "good", "boring", "xyz", ",", "é"]), min_size=1, max_size=120
)


@given(words, words, st.integers(1, 70), st.sampled_from([5, 30, 128]))
def test_no_row_is_longer_than_the_backbone_and_template_and_mask_stay_whole(
    tiny, first, second, prompt_len, most
):
    backbone = tiny("bert")
    template = "question: {text_a} ? {mask} , {text_b} ."
    encoder = Encoder(backbone, make_task(template, pair=True, max_length=most), prompt_len)
    example = Example(" ".join(first), " ".join(second), 0)
    encoded = encoder.encode([example])
    row = encoded[0]
    assert prompt_len + len(row.ids) <= 96
    fields = [
        backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (example.text_a, example.text_b)
    ]
    fixed = encoder.encode([Example("", "", 0)])[0].ids
    assert len(row.ids) - len(fixed) == min(sum(map(len, fields)), encoder.budget) <= most
    assert encoded.truncated == (sum(map(len, fields)) > encoder.budget)
    assert row.ids[row.read] == backbone.tokenizer.mask_token_id
    # Without the fields' tokens the template is left, in order.
    left = iter(row.ids)
    assert all(token in left for token in fixed)


def test_truncated_counts_texts_and_not_tokens(tiny):
    encoder = Encoder(tiny("bert"), make_task("{mask} {text_a}", max_length=6), 4)
    rows = [Example("the film was good and bad " * 3, None, 0), Example("the film", None, 0)]
    assert encoder.encode(rows).truncated == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_text_still_runs(tiny, kind):
    """The budget is not only a number: the model takes a row that uses all of it."""
    backbone = tiny(kind)
    template = "{mask} {text_a}" if kind in MASKED else "{text_a} answer"
    task = make_task(template, words=("bad", "unacceptable dog"), max_length=500)
    encoder = Encoder(backbone, task, 7)
    assert max(map(len, encoder.label_ids)) > 1
    encoded = encoder.encode([Example("good " * 700, None, 1)])
    prompt = torch.zeros(7, backbone.hidden)
    with torch.no_grad():
        scores = backbone.label_logits(prompt, encoder.batch(encoded.rows), encoder.label_ids)
    assert encoded.truncated == 1 and torch.isfinite(scores).all()
    if backbone.max_positions is not None and kind in MASKED + CAUSAL:
        extra = max(map(len, encoder.label_ids)) - 1
        assert 7 + len(encoded[0].ids) + extra == backbone.max_positions


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_a_prompt_that_leaves_no_room_is_refused_with_a_length_that_fits(tiny, kind):
    task = make_task("{mask} {text_a}" if kind in MASKED else "{text_a} answer")
    with pytest.raises(UserError, match=r"Prompt length 96 leaves no room") as caught:
        Encoder(tiny(kind), task, 96)
    advised = int(str(caught.value).split("--prompt-len ")[1].split()[0])
    assert Encoder(tiny(kind), task, advised).budget >= 1
    largest = next(n for n in range(96, 0, -1) if fits(tiny(kind), task, n))
    assert Encoder(tiny(kind), task, largest).budget == 1


def fits(backbone, task, prompt_len):
    try:
        Encoder(backbone, task, prompt_len)
    except UserError:
        return False
    return True


def test_no_prompt_length_is_advised_when_none_fits(tiny):
    task = generation_task(max_target_length=200)
    with pytest.raises(UserError) as caught:
        Encoder(tiny("gpt2"), task, 4)
    assert not fits(tiny("gpt2"), task, 1)
    assert "--prompt-len" not in str(caught.value), "the advice does not help"


# -- label words -------------------------------------------------------------------------------------


def test_label_words_are_tokens_as_they_stand_in_running_text(tiny):
    for kind in ("gpt2", "roberta", "t5", "llama"):
        backbone = tiny(kind)
        template = "{mask} {text_a}" if kind in MASKED else "{text_a}"
        ids = Encoder(backbone, make_task(template), 4).label_ids
        assert ids == [
            backbone.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in ("bad", "good")
        ]


def test_behind_a_template_that_ends_in_a_space_a_label_word_has_none(tiny):
    backbone = tiny("gpt2")
    encoder = Encoder(backbone, make_task("{text_a} It was "), 4)
    assert encoder.label_ids == [backbone.tokenizer(word)["input_ids"] for word in ("bad", "good")]


def test_an_unknown_label_word_is_named(tiny):
    with pytest.raises(UserError, match=r"'дом' of task 'mine' is not in the vocabulary.*--label-words"):
        Encoder(tiny("bert"), make_task("{mask} {text_a}", words=("bad", "дом")), 4)


def test_two_words_of_equal_tokens_are_named(tiny):
    with pytest.raises(UserError, match=r"'Good' and 'good' of task 'mine' are the same tokens"):
        Encoder(tiny("bert"), make_task("{mask} {text_a}", words=("Good", "good")), 4)


def test_a_word_of_several_pieces_keeps_them_all_and_takes_room(tiny):
    backbone = tiny("gpt2")
    one = Encoder(backbone, make_task("{text_a}", max_length=500), 4)
    several = Encoder(backbone, make_task("{text_a}", words=("bad", "zebra crossing"), max_length=500), 4)
    pieces = len(several.label_ids[1])
    assert pieces > max(map(len, one.label_ids))
    assert backbone.tokenizer.decode(several.label_ids[1]) == " zebra crossing"
    assert several.budget == one.budget - (pieces - max(map(len, one.label_ids)))


def test_a_generation_task_on_a_masked_model_is_refused(tiny):
    with pytest.raises(UserError, match=r"'write'.*masked LM.*causal or a sequence-to-sequence"):
        Encoder(tiny("bert"), generation_task(), 4)


# -- labels and targets ------------------------------------------------------------------------------


def test_a_regression_label_is_scaled_to_its_range(tiny):
    task = task_from_dict(
        {
            "name": "score", "kind": "regression", "label_range": [1, 5],
            "templates": {"masked_lm": "{mask} {text_a}"}, "label_words": {"default": ["no", "yes"]},
        }
    )  # fmt: skip
    encoder = Encoder(tiny("bert"), task, 4)
    encoded = encoder.encode([Example("the film", None, label) for label in (1.0, 2.0, 5.0)])
    labels = encoder.collate(encoded.rows)["labels"]
    assert labels.dtype == torch.float32 and labels.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bart"])
def test_a_target_ends_with_eos_and_is_cut_to_the_most_it_may_have(tiny, kind):
    backbone = tiny(kind)
    encoder = Encoder(backbone, generation_task(max_target_length=5), 4)
    long, short = encoder.encode([Example("the film", None, text) for text in ("good " * 20, "bad")]).rows
    eos, tokenizer = backbone.tokenizer.eos_token_id, backbone.tokenizer
    assert len(long.target) == 5 and long.target[-1] == eos
    space = " " if backbone.family == "causal_lm" else ""
    assert short.target == [*tokenizer(f"{space}bad", add_special_tokens=False)["input_ids"], eos]


def test_a_causal_target_stands_behind_the_text_and_is_read_one_place_earlier(tiny):
    encoder = Encoder(tiny("gpt2"), generation_task(max_target_length=6), 4)
    rows = encoder.encode(
        [Example("the film", None, "good"), Example("a plot was", None, "bad dog cat")]
    ).rows
    tensors = encoder.collate(rows)
    for index, row in enumerate(rows):
        length = int(tensors["attention_mask"][index].sum())
        assert tensors["input_ids"][index, :length].tolist() == row.ids + row.target[:-1]
        for step, token in enumerate(row.target):
            read = int(tensors["read_positions"][index, step])
            assert read == len(row.ids) - 1 + step
            if step:
                assert int(tensors["input_ids"][index, read]) == row.target[step - 1]
            assert int(tensors["labels"][index, step]) == token
    assert (tensors["labels"] == -100).sum() == abs(len(rows[0].target) - len(rows[1].target))


def test_a_seq2seq_target_is_not_in_the_input(tiny):
    encoder = Encoder(tiny("t5"), generation_task(), 4)
    row = encoder.encode([Example("the film", None, "good")])[0]
    tensors = encoder.collate([row])
    assert tensors["input_ids"][0].tolist() == row.ids and tensors["labels"][0].tolist() == row.target


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_for_generating_the_targets_are_left_out(tiny, kind):
    encoder = Encoder(tiny(kind), generation_task(), 4)
    row = encoder.encode([Example("the film", None, "good")])[0]
    tensors = encoder.collate([row], with_targets=False)
    assert tensors["input_ids"][0].tolist() == row.ids and "labels" not in tensors


def test_rows_without_labels_have_no_labels(tiny):
    for kind, task in (("bert", make_task("{mask} {text_a}")), ("gpt2", generation_task())):
        encoder = Encoder(tiny(kind), task, 4)
        assert "labels" not in encoder.collate(encoder.encode([Example("the film")]).rows)


# -- batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_a_batch_is_padded_on_the_right_to_its_longest_row(tiny, kind):
    backbone = tiny(kind)
    encoder = Encoder(backbone, make_task("{mask} {text_a}" if kind == "bert" else "{text_a}"), 4)
    rows = encoder.encode(examples(label=1)).rows
    tensors = encoder.collate(rows)
    width = max(len(row.ids) for row in rows)
    assert tensors["input_ids"].shape == tensors["attention_mask"].shape == (len(rows), width)
    assert tensors["read_positions"].shape == (len(rows), 1) and tensors["labels"].tolist() == [1] * len(rows)
    for ids, mask, read, row in zip(
        tensors["input_ids"].tolist(), tensors["attention_mask"].tolist(),
        tensors["read_positions"].tolist(), rows, strict=True,
    ):  # fmt: skip
        assert ids == row.ids + [encoder.pad_id] * (width - len(row.ids))
        assert mask == [1] * len(row.ids) + [0] * (width - len(row.ids))
        assert read == [row.read]


def test_a_text_without_any_token_still_gives_a_row(tiny):
    row = Encoder(tiny("gpt2"), make_task("{text_a}"), 4).encode([Example("", None, 0)])[0]
    assert len(row.ids) == 1 and row.read == 0


def test_no_examples_are_no_rows(tiny):
    assert len(Encoder(tiny("bert"), make_task("{mask} {text_a}"), 4).encode([])) == 0


# -- kept in memory ----------------------------------------------------------------------------------


@pytest.fixture
def encodings(monkeypatch):
    """How often ``Encoder.encode`` ran."""
    calls = []
    original = Encoder.encode

    def counted(self, rows):
        calls.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(Encoder, "encode", counted)
    monkeypatch.setattr(encoder_module, "_encoded", type(encoder_module._encoded)())
    return calls


def test_a_split_is_tokenised_once_for_several_prompts(tiny, encodings):
    split = Split.of("validation", examples(), "here")
    task = make_task("{mask} {text_a}")
    first = encode_split(Encoder(tiny("bert"), task, 4), split)
    # Another prompt, another length that leaves the same room, an equal split read again.
    again = encode_split(Encoder(tiny("bert"), task, 4), Split.of("test", examples(), "elsewhere"))
    assert encodings == [len(TEXTS)] and again is first


def test_what_changes_the_tokens_is_tokenised_again(tiny, encodings):
    split = Split.of("validation", examples(), "here")
    task = make_task("{mask} {text_a}", max_length=500)
    kinds = [
        Encoder(tiny("bert"), task, 4),
        Encoder(tiny("bert"), make_task("{text_a} {mask}", max_length=500), 4),
        Encoder(tiny("bert"), make_task("{mask} {text_a}", words=("no", "yes"), max_length=500), 4),
        Encoder(tiny("bert"), task, 90),
        Encoder(tiny("roberta"), task, 4),
    ]
    encoded = [encode_split(encoder, split) for encoder in kinds]
    assert len(encodings) == len(kinds)
    assert encoded[0][0].ids != encoded[1][0].ids
    assert encoded[3].truncated > encoded[0].truncated == 0


def test_other_labels_under_the_same_texts_are_not_mixed_up(tiny, encodings):
    encoder = Encoder(tiny("bert"), make_task("{mask} {text_a}"), 4)
    zeros = encode_split(encoder, Split.of("a", examples(label=0), "here"))
    ones = encode_split(encoder, Split.of("a", examples(label=1), "here"))
    assert {row.label for row in zeros.rows} == {0} and {row.label for row in ones.rows} == {1}


def test_what_is_kept_has_an_end(tiny, encodings):
    encoder = Encoder(tiny("bert"), make_task("{mask} {text_a}"), 4)
    for number in range(40):
        encode_split(encoder, Split.of("a", [Example(f"film {number}", None, 0)], "here"))
    assert len(encoder_module._encoded[tiny("bert")]) <= 32
