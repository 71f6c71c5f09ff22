"""Layout ``paper`` writes rows as the paper's code did; checked against the inputs that code made."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from paper_oracle import TASKS, LookUp, Oracle
from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.prompts.paper_names import TASKS as PAPER_TASKS
from prompt_hub.tasks import Example, get_task, list_tasks

PAPER_17 = [task for task in list_tasks() if task.paper]
CLASSIFIED = [task for task in PAPER_17 if task.kind == "classification"]


def with_tokenizer(backbone, tokenizer):
    """A copy of the backbone's object, so that the shared one keeps its tokenizer."""
    import copy

    copied = copy.copy(backbone)
    copied.tokenizer = tokenizer
    return copied


# -- encoders --------------------------------------------------------------------------------------


def test_encoder_rows_are_those_of_the_original_formatters(shared):
    """Single and pair, short and cut; ids, order, separators and cuts."""
    meta = Oracle(shared, "roberta").meta
    known = {
        text: ids
        for texts, rows in zip(meta["raw_text"], meta["raw_token_ids"], strict=True)
        for text, ids in zip(texts, rows, strict=True)
    }
    oracle = Oracle(shared, "roberta", known)
    ids, mask = oracle.inputs()
    single, pair = get_task("sst2"), get_task("mnli")
    # Label words are not what this test is about; they only have to be there.
    words = ("negative", "positive", "no", "neutral", "yes")
    oracle.backbone.tokenizer.known |= {word: [index] for index, word in enumerate(words)}
    for index, texts in enumerate(meta["raw_text"]):
        task = single if len(texts) == 1 else pair
        example = Example(texts[0]) if len(texts) == 1 else Example(texts[1], texts[0])
        encoded = Encoder(oracle.backbone, task, 100, "paper").encode([example])
        assert encoded[0].ids == ids[index][mask[index].bool()].tolist()
        assert encoded.truncated == (index in (2, 5))


@pytest.mark.parametrize("task", TASKS)
def test_label_ids_of_roberta_are_the_original_codes(shared, task):
    """Known ids win where the tokenizer has the paper's vocabulary, which all words but one have to tell."""
    oracle = Oracle(shared, "roberta")
    words = get_task(TASKS[task]).paper_label_words or get_task(TASKS[task]).label_words
    words = words.get("masked_lm") or words["default"]
    spelt = [ids[0] for ids in oracle.label_ids(task)]
    known = {word: [token, 5] for word, token in zip(words, spelt, strict=True)} | {words[0]: [4, 5]}
    encoder = Encoder(
        with_tokenizer(oracle.backbone, LookUp(known, cls_token_id=0, sep_token_id=2, eos_token_id=2)),
        get_task(TASKS[task]), 100, "paper",
    )  # fmt: skip
    assert encoder.label_ids == [[token] for token in spelt]


def test_another_vocabulary_is_not_taken_for_the_papers(tiny):
    """Token 3 begins *entailment* in T5's vocabulary; alone, and in a small one, that says nothing."""
    backbone = tiny("t5")
    known = {"contradiction": [9], "neutral": [10], "entailment": [3, 11]}
    looked_up = with_tokenizer(backbone, LookUp(known, eos_token_id=1))
    assert Encoder(looked_up, get_task("mnli"), 100, "paper").label_ids == [[9], [10], [3]]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("task", CLASSIFIED, ids=lambda task: task.name)
def test_every_task_of_the_paper_encodes_for_encoders(tiny, kind, task):
    backbone = tiny(kind)
    encoder = Encoder(backbone, task, 100, "paper")
    assert all(len(ids) == 1 for ids in encoder.label_ids)
    row = encoder.encode([Example(" the film was good ", "the plot" if task.has_text_b else None, 0)])[0]
    tokenizer = backbone.tokenizer
    bare = [
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the film was good", "the plot")
    ]
    start, separator = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
    if len(task.paper_segments) == 2:
        first, second = bare[::-1] if task.paper_segments[0] == "{text_b}" else bare
        assert row.ids == start + first + separator + second + separator
    elif task.has_text_b:
        joined = tokenizer("the film was good the plot", add_special_tokens=False)["input_ids"]
        assert row.ids == start + joined + separator
    else:
        assert row.ids == start + bare[0] + separator


def test_the_prompt_takes_no_positions_of_an_encoder(tiny):
    """The tiny models have 96 positions; a prompt of 100 rows fits, and the text has 95 to itself."""
    for kind in ("bert", "roberta"):
        backbone = tiny(kind)
        encoder = Encoder(backbone, get_task("sst2"), 100, "paper")
        encoded = encoder.encode([Example("good " * 200, None, 0)])
        assert len(encoded[0]) == 95 and encoded.truncated == 1
        prompt = torch.zeros(100, backbone.hidden)
        scores = backbone.label_logits(prompt, encoder.batch(encoded.rows), encoder.label_ids)
        assert torch.isfinite(scores).all()


def test_a_label_word_that_is_cut_to_its_first_piece_is_said(tiny):
    encoder = Encoder(tiny("bert"), get_task("sst2"), 20, "paper")
    assert encoder.warnings == [
        "Layout 'paper' scores a label word by one token, so 'positive' of task 'sst2' was cut."
    ]


def test_words_that_share_their_first_piece_are_read_with_a_space_before_them(tiny):
    """``no`` and ``neutral`` start alike in the tiny vocabulary unless a space stands before them."""
    encoder = Encoder(tiny("roberta"), get_task("mnli"), 20, "paper")
    tokens = tiny("roberta").tokenizer.convert_ids_to_tokens([ids[0] for ids in encoder.label_ids])
    assert tokens == ["Ġno", "Ġne", "Ġyes"]


def test_given_label_words_take_the_place_of_the_papers(tiny):
    task = get_task("ethics_deontology").with_overrides(label_words=["false", "true"])
    encoder = Encoder(tiny("bert"), task, 20, "paper")
    assert tiny("bert").tokenizer.convert_ids_to_tokens([ids[0] for ids in encoder.label_ids]) == [
        "false", "true",
    ]  # fmt: skip


# -- T5 --------------------------------------------------------------------------------------------


def t5_texts(task: str, ids: list[int]) -> tuple[Example, dict[str, list[int]]]:
    """A row and a tokenizer's table under which the original's ids would come about; cut texts go on."""
    if task == "MNLI":
        third = len(ids) // 3
        pieces = [ids[:third], ids[third : 2 * third], ids[2 * third :]]
        texts = ["hypothesis: b", " [SEP] sentence: ", "premise: a"]
        longer = [9] * 50 if len(ids) == 130 else []
        return Example("a", "b", 0), dict(zip(texts, [*pieces[:2], pieces[2] + longer], strict=True))
    assert ids[-1] == 1
    longer = [9] * 50 if len(ids) == 128 else []
    text = "a b" if task == "laptop" else "a"
    return Example("a", "b" if task == "laptop" else None, 0), {text: ids[:-1] + longer}


@pytest.mark.parametrize("task", ["SST2", "laptop", "MNLI"])
def test_t5_rows_padding_and_targets_are_those_of_the_original_formatters(shared, task):
    oracle = Oracle(shared, "t5")
    ids, mask = oracle.inputs(task)
    registered = get_task(TASKS[task])
    words = registered.label_words.get("seq2seq_lm") or registered.label_words["default"]
    for index in range(len(ids)):
        expected = ids[index][mask[index].bool()].tolist()
        example, known = t5_texts(task, expected)
        target = [token for token in oracle.arrays[f"target_{task}"][index].tolist() if token >= 0]
        label = int(oracle.arrays[f"class_index_{task}"][index])
        known |= {word: [token, 7, 8] for word, (token,) in zip(words, oracle.label_ids(task), strict=True)}
        known[words[label]] = [*target, 7] if len(target) == 2 or task != "MNLI" else target
        oracle.backbone.tokenizer.known = known
        encoder = Encoder(oracle.backbone, registered, 100, "paper")
        assert encoder.label_ids == oracle.label_ids(task)
        row = encoder.encode([replace(example, label=label)])[0]
        assert row.ids == expected
        trained = encoder.training_batch(encoder.batch([row]))
        assert torch.equal(trained.input_ids[0], ids[index]) and trained.attention_mask.all()
        assert [token for token in trained.labels[0].tolist() if token >= 0] == target


def test_t5_pads_imdb_as_if_the_prompt_were_text_and_gives_it_no_end(tiny):
    encoder = Encoder(tiny("t5"), get_task("imdb"), 100, "paper")
    rows = encoder.encode([Example("good", None, 1), Example("good " * 400, None, 0)])
    tokenizer = tiny("t5").tokenizer
    assert rows[0].ids == tokenizer("good", add_special_tokens=False)["input_ids"]
    assert len(rows[1].ids) == 127 and rows.truncated == 1
    assert encoder.training_batch(encoder.batch(rows.rows)).input_ids.shape == (2, 230)


def test_t5_rows_of_the_other_forms(tiny):
    tokenizer = tiny("t5").tokenizer
    written = {
        "qqp": ("the film<extra_id_0>the plot", 129, True),
        "ethics_deontology": ("the filmthe plot", 130, False),
        "ethics_justice": ("the film", 130, False),
        "qnli": ("hypothesis: the film [SEP] sentence: premise: the plot", 130, False),
        "snli": ("hypothesis: the plot [SEP] sentence: premise: the film", 130, False),
        "samsum": ("context: the film", 384, False),
        "multi_news": ("the film", 384, False),
    }
    for name, (text, kept, end) in written.items():
        task = get_task(name)
        label = "sad" if task.kind == "generation" else 0
        encoder = Encoder(tiny("t5"), task, 100, "paper")
        short, long = encoder.encode(
            [Example("the film", "the plot", label), Example("good " * 900, "bad " * 900, label)]
        ).rows
        ending = "</s>" if end else ""
        assert tokenizer.decode(short.ids) == text + ending, name
        assert len(long.ids) == kept + end and (long.ids[-1] == tokenizer.eos_token_id) is end


def test_t5_squad_puts_the_context_first(tiny):
    task = get_task("squad")
    encoder = Encoder(tiny("t5"), task, 100, "paper")
    rows = encoder.encode(
        [
            Example("question: who sleeps? context: the dog sleeps.", None, "the dog"),
            Example("a text of another form", None, "dog"),
        ]
    ).rows
    decode = tiny("t5").tokenizer.decode
    assert decode(rows[0].ids) == "context: the dog sleeps. SEP question:who sleeps?"
    assert decode(rows[1].ids) == "a text of another form"
    # Targets have no end token: the original taught none.
    assert decode(rows[0].target) == "the dog"


def test_a_task_that_the_papers_t5_code_does_not_know_keeps_its_template(tiny):
    encoder = Encoder(tiny("t5"), get_task("rte"), 100, "paper")
    row = encoder.encode([Example("the film", "the plot", 0)])[0]
    assert tiny("t5").tokenizer.decode(row.ids) == "hypothesis: the plot premise: the film</s>"


# -- what fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bart"])
def test_models_built_otherwise_than_the_papers_are_refused(tiny, kind):
    with pytest.raises(UserError, match=f"(?s)is for BERT, RoBERTa, T5.*{kind}.*prompt-text"):
        Encoder(tiny(kind), get_task("sst2"), 20, "paper")


def test_a_causal_model_has_no_layout_paper(tiny):
    with pytest.raises(UserError, match="masked_lm, seq2seq_lm backbones, not for a causal_lm"):
        Encoder(tiny("gpt2"), get_task("sst2"), 20, "paper")


def test_the_papers_17_tasks_have_a_text_for_t5_and_the_classifications_label_ids():
    assert len(PAPER_17) == 17 and all(task.paper_seq2seq for task in PAPER_17)
    assert all(set(task.paper_label_ids) == {"roberta", "bert", "t5"} for task in CLASSIFIED)
    assert {task.name for task in PAPER_17} == set(PAPER_TASKS.values()) - {"recast_ner"}
