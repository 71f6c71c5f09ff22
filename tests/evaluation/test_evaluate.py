"""The score of a prompt is what one computes by hand, and its floors are what they say they are."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch

from prompt_hub.encoding.encoder import Encoder
from prompt_hub.errors import UserError
from prompt_hub.evaluation.evaluate import FLOORS, evaluate
from prompt_hub.evaluation.predict import from_scores, label_scores, predict
from prompt_hub.prompts.initialisers import random_like
from prompt_hub.tasks import Example, Split, get_task, task_from_dict
from tiny_models import KINDS, MASKED, WORDS

CLASSES = ("bad", "good", "neutral")


def classification(words=CLASSES, metrics=("accuracy",), **more):
    return task_from_dict(
        {
            "name": "tone", "classes": list(CLASSES[: len(words)]), "metrics": list(metrics),
            "templates": {
                "masked_lm": "{mask} {text_a}", "causal_lm": "{text_a} sentiment", "seq2seq_lm": "{text_a}"
            },
            "label_words": {"default": list(words)}, **more,
        }
    )  # fmt: skip


def rows(count=40, classes=3, seed=0):
    chooser = random.Random(seed)
    texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 14))) for _ in range(count)]
    return Split.of(
        "validation", [Example(text, None, chooser.randrange(classes)) for text in texts], "made up"
    )


def make_prompt(backbone, length=5, seed=3):
    return 0.7 * torch.randn(length, backbone.hidden, generator=torch.Generator().manual_seed(seed))


@functools.cache
def telling_words(backbone, count=3):
    """Label words that the backbone finds about equally likely, so that its answers depend on the text."""
    candidates = WORDS[:24]
    task = task_from_dict(
        {
            **classification().to_dict(), "classes": candidates, "label_words": {"default": candidates},
        }
    )  # fmt: skip
    encoder = Encoder(backbone, task, 5)
    scores = label_scores(encoder, make_prompt(backbone), encoder.encode(rows().examples), 40)
    order = scores.mean(0).argsort()

    def rarest(start):
        """How often the rarest of these words wins."""
        chosen = scores[:, order[start : start + count]].argmax(1)
        return np.bincount(chosen, minlength=count).min()

    best = max(range(len(order) - count + 1), key=rarest)
    return tuple(candidates[index] for index in order[best : best + count])


def telling(backbone, **more):
    return classification(telling_words(backbone), **more)


@torch.no_grad()
def answers_by_hand(encoder, prompt, split):
    """Argmax of the plain forward, one row at a time."""
    encoded = encoder.encode(split.examples)
    logits = [
        encoder.backbone.reference_label_logits(prompt, encoder.batch([row]), encoder.label_ids)[0]
        for row in encoded.rows
    ]
    return torch.stack(logits).argmax(1).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_that_of_the_plain_forward_row_by_row(tiny, kind):
    encoder, split = Encoder(tiny(kind), telling(tiny(kind)), 5), rows()
    prompt = make_prompt(tiny(kind))
    answers = answers_by_hand(encoder, prompt, split)
    result = evaluate(encoder, prompt, split, batch_size=7, floors=())
    correct = [answer == example.label for answer, example in zip(answers, split.examples, strict=True)]
    assert result.metrics["accuracy"] == pytest.approx(np.mean(correct), abs=1e-12)
    assert result.predicted == {name: answers.count(index) for index, name in enumerate(CLASSES)}
    assert result.n == 40 and result.score == result.metrics["accuracy"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_of_this_data_are_not_all_one_class(tiny, kind):
    """Otherwise the tests here could not tell a right answer from a wrong one."""
    encoder = Encoder(tiny(kind), telling(tiny(kind)), 5)
    assert len(set(answers_by_hand(encoder, make_prompt(tiny(kind)), rows()))) > 1


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "t5"])
def test_scores_come_in_the_order_of_the_rows_whatever_the_batches(tiny, kind):
    encoder, split = Encoder(tiny(kind), telling(tiny(kind)), 5), rows()
    prompt, encoded = make_prompt(tiny(kind)), encoder.encode(split.examples)
    whole = label_scores(encoder, prompt, encoded, 64)
    assert whole.shape == (40, 3) and whole.dtype == np.float32
    np.testing.assert_allclose(label_scores(encoder, prompt, encoded, 1), whole, rtol=1e-4, atol=1e-5)
    for index in (0, 17, 39):
        one = encoder.encode([split.examples[index]])
        np.testing.assert_allclose(
            label_scores(encoder, prompt, one, 4)[0], whole[index], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_the_order_of_the_rows_does_not_change_the_score(tiny, kind):
    encoder, split = Encoder(tiny(kind), telling(tiny(kind), metrics=("accuracy", "f1")), 5), rows()
    mixed = Split.of("validation", random.Random(1).sample(split.examples, len(split)), "made up")
    prompt = make_prompt(tiny(kind))
    first, second = (evaluate(encoder, prompt, each, batch_size=8) for each in (split, mixed))
    assert first.metrics == pytest.approx(second.metrics) and first.predicted == second.predicted
    assert first.floors["no_prompt"] == pytest.approx(second.floors["no_prompt"])


# -- floors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "t5"])
def test_the_floors_are_majority_bare_backbone_and_a_random_prompt(tiny, kind):
    backbone = tiny(kind)
    encoder, split, prompt = Encoder(backbone, telling(backbone), 5), rows(), make_prompt(backbone)
    result = evaluate(encoder, prompt, split, seed=11)
    labels = split.labels()
    assert tuple(result.floors) == FLOORS
    assert result.floors["majority"]["accuracy"] == pytest.approx(max(map(labels.count, range(3))) / 40)
    for name, other in (
        ("no_prompt", None),
        ("random_prompt", random_like(prompt, torch.Generator().manual_seed(11))),
    ):
        answers = answers_by_hand(encoder, other, split)
        expected = np.mean([answer == label for answer, label in zip(answers, labels, strict=True)])
        assert result.floors[name]["accuracy"] == pytest.approx(expected)


def test_the_random_prompt_has_the_norm_of_every_row_and_another_direction(tiny):
    prompt = make_prompt(tiny("gpt2")) * torch.tensor([[0.1], [1.0], [3.0], [40.0], [0.5]])
    other = random_like(prompt, torch.Generator().manual_seed(0))
    torch.testing.assert_close(other.norm(dim=1), prompt.norm(dim=1))
    assert torch.nn.functional.cosine_similarity(prompt, other).abs().max() < 0.7


def test_without_a_prompt_only_the_majority_is_below_it(tiny):
    encoder = Encoder(tiny("roberta"), telling(tiny("roberta")), 5)
    bare = evaluate(encoder, None, rows())
    assert set(bare.floors) == {"majority"}
    with_prompt = evaluate(encoder, make_prompt(tiny("roberta")), rows())
    assert bare.metrics == with_prompt.floors["no_prompt"]


def test_only_the_floors_that_were_asked_for(tiny):
    encoder, prompt = Encoder(tiny("roberta"), telling(tiny("roberta")), 5), make_prompt(tiny("roberta"))
    assert set(evaluate(encoder, prompt, rows(), floors=("majority",)).floors) == {"majority"}
    with pytest.raises(UserError, match="Did you mean 'majority'"):
        evaluate(encoder, prompt, rows(), floors=("majorty",))


def test_a_score_below_the_bare_backbone_is_flagged(tiny):
    backbone = tiny("roberta")
    encoder, prompt = Encoder(backbone, telling(backbone), 5), make_prompt(backbone)
    # Labels that the bare backbone gets right and the prompt, where it differs, wrong.
    texts = rows(80).examples
    bare = answers_by_hand(encoder, None, Split.of("v", texts, ""))
    split = Split.of("v", [Example(e.text_a, None, label) for e, label in zip(texts, bare, strict=True)], "")
    result = evaluate(encoder, prompt, split)
    assert result.score < 1 and result.floors["no_prompt"]["accuracy"] == 1
    assert any("Below the backbone without a prompt" in warning for warning in result.warnings)


def test_one_answer_for_every_text_is_flagged(tiny):
    backbone = tiny("roberta")
    encoder, prompt, split = Encoder(backbone, telling(backbone), 5), make_prompt(backbone), rows()
    answers = answers_by_hand(encoder, prompt, split)
    alike = [example for example, answer in zip(split.examples, answers, strict=True) if answer == answers[0]]
    assert 1 < len(alike) < len(split)
    for examples, flagged in ((alike, True), (split.examples, False)):
        result = evaluate(encoder, prompt, Split.of("v", examples, ""))
        assert any("Every answer is" in warning for warning in result.warnings) == flagged


# -- intervals, counts -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_holds_the_score_and_is_the_same_again(tiny, seed):
    encoder = Encoder(tiny("roberta"), telling(tiny("roberta"), metrics=("accuracy", "f1", "matthews")), 5)
    split, prompt = rows(60, seed=seed), make_prompt(tiny("roberta"), seed=seed)
    first, again = (evaluate(encoder, prompt, split, floors=(), seed=5) for _ in "ab")
    assert set(first.ci95) == {"accuracy", "f1", "matthews"}
    for name, (low, high) in first.ci95.items():
        assert low <= first.metrics[name] <= high
    assert first.ci95["accuracy"][0] < first.ci95["accuracy"][1]
    assert first.ci95 == again.ci95


def test_the_interval_narrows_with_the_number_of_rows(tiny):
    encoder, prompt = Encoder(tiny("roberta"), telling(tiny("roberta")), 5), make_prompt(tiny("roberta"))

    def width(count):
        low, high = evaluate(encoder, prompt, rows(count), floors=()).ci95["accuracy"]
        return high - low

    assert width(400) < 0.6 * width(40)


def test_texts_that_were_cut_are_counted_and_told(tiny):
    encoder = Encoder(tiny("roberta"), telling(tiny("roberta"), max_length=20), 5)
    split = Split.of(
        "v", [Example("good " * 50, None, 0), Example("bad", None, 1), Example("dog " * 90, None, 1)], ""
    )
    result = evaluate(encoder, make_prompt(tiny("roberta")), split)
    assert result.truncated == 2
    assert "2 of 3 texts were cut to fit." in result.warnings


def test_the_result_says_what_was_scored(tiny):
    encoder, split = Encoder(tiny("gpt2"), telling(tiny("gpt2")), 5), rows()
    data = evaluate(encoder, make_prompt(tiny("gpt2")), split, floors=()).to_dict()
    assert (
        data["task"] == "tone" and data["backbone"] == tiny("gpt2").name and data["layout"] == "prompt-text"
    )
    assert data["data"] == {"split": "validation", "fingerprint": split.fingerprint, "source": "made up"}


def test_no_rows_and_rows_without_labels_are_refused(tiny):
    encoder, prompt = Encoder(tiny("roberta"), telling(tiny("roberta")), 5), make_prompt(tiny("roberta"))
    with pytest.raises(UserError, match="'tone': no rows are left"):
        evaluate(encoder, prompt, Split.of("v", [], ""))
    with pytest.raises(UserError, match="unlabelled"):
        evaluate(encoder, prompt, Split.of("v", [Example("good"), Example("bad")], ""))


def test_a_single_row_can_be_scored(tiny):
    result = evaluate(
        Encoder(tiny("roberta"), telling(tiny("roberta")), 5), make_prompt(tiny("roberta")), rows(1)
    )
    assert result.n == 1 and result.score in (0.0, 1.0)


def test_a_prompt_of_the_wrong_width_is_refused(tiny):
    with pytest.raises(UserError, match="32"):
        evaluate(Encoder(tiny("roberta"), telling(tiny("roberta")), 5), torch.zeros(5, 16), rows())


# -- probabilities, regression -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "t5"])
def test_probabilities_are_the_softmax_over_the_label_words(tiny, kind):
    encoder, prompt = Encoder(tiny(kind), telling(tiny(kind)), 5), make_prompt(tiny(kind))
    encoded = encoder.encode(rows().examples)
    scores = label_scores(encoder, prompt, encoded, 16)
    found = predict(encoder, prompt, encoded, 16)
    expected = torch.from_numpy(scores).softmax(1).numpy()
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5, atol=1e-7)
    assert found.values == expected.argmax(1).tolist()


def test_large_scores_do_not_overflow(tiny):
    encoder = Encoder(tiny("roberta"), telling(tiny("roberta")), 5)
    found = from_scores(encoder, np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], np.float32))
    np.testing.assert_allclose(found.probabilities, [[1, 0, 0], [1 / 3] * 3], atol=1e-6)


def regression(words):
    return task_from_dict(
        {
            "name": "stars", "kind": "regression", "label_range": [1, 5], "metrics": ["pearson", "spearman"],
            "templates": {"masked_lm": "{mask} {text_a}", "default": "{text_a} answer"},
            "label_words": {"default": list(words)},
        }
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "t5"])
def test_a_regression_answers_within_its_range_by_the_second_words_probability(tiny, kind):
    encoder, prompt = (
        Encoder(tiny(kind), regression(telling_words(tiny(kind), 2)), 5),
        make_prompt(tiny(kind)),
    )
    chooser = random.Random(0)
    examples = [Example(example.text_a, None, chooser.uniform(1, 5)) for example in rows(30).examples]
    split = Split.of("v", examples, "")
    found = predict(encoder, prompt, encoder.encode(examples), 8)
    assert all(1 <= value <= 5 for value in found.values)
    np.testing.assert_allclose(found.values, 1 + 4 * found.probabilities[:, 1], rtol=1e-6)
    result = evaluate(encoder, prompt, split)
    expected = np.corrcoef(found.values, split.labels())[0, 1]
    assert result.metrics["pearson"] == pytest.approx(expected, abs=1e-5)
    assert np.ptp(found.values) > 0.1
    assert result.floors["majority"] == {"pearson": 0.0, "spearman": 0.0, "combined_score": 0.0}
    assert result.predicted == {}


# -- generation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_generation_task_is_scored_by_the_texts_the_backbone_writes(tiny, kind):
    backbone = tiny(kind)
    task = task_from_dict(
        {
            "name": "write", "kind": "generation", "metrics": ["exact_match", "token_f1", "rougeL"],
            "templates": {"default": "{text_a} answer"}, "max_target_length": 6,
        }
    )  # fmt: skip
    encoder, prompt = Encoder(backbone, task, 5), make_prompt(backbone)
    sources = [example.text_a for example in rows(6).examples]
    encoded = encoder.encode([Example(text) for text in sources])
    written = predict(encoder, prompt, encoded, 4).values
    alone = [predict(encoder, prompt, encoder.encode([Example(text)]), 1).values[0] for text in sources]
    assert written == alone and any(written)

    # Targets that the backbone writes itself score 1; a foreign one scores 0.
    def score(targets):
        examples = [Example(s, None, t, (t,)) for s, t in zip(sources, targets, strict=True)]
        return evaluate(encoder, prompt, Split.of("v", examples, ""), batch_size=4)

    comparable = [text for text in written if any(map(str.isalnum, text))]
    result = score([text or "nothing" for text in written])
    assert result.n == 6 and "majority" not in result.floors
    assert set(result.floors) == {"no_prompt", "random_prompt"} and result.predicted == {}
    assert result.metrics["token_f1"] >= len(comparable) / 6 - 1e-9
    assert score(["zebra crossing"] * 6).metrics["exact_match"] == 0.0


def test_the_best_of_several_references_counts(tiny):
    task = task_from_dict(
        {
            "name": "write", "kind": "generation", "metrics": ["token_f1"],
            "templates": {"default": "{text_a} answer"}, "max_target_length": 6,
        }
    )  # fmt: skip
    encoder, prompt = Encoder(tiny("t5"), task, 5), make_prompt(tiny("t5"))
    text = "the film was good"
    written = predict(encoder, prompt, encoder.encode([Example(text)]), 1).values[0]
    one = Split.of("v", [Example(text, None, "zebra", ("zebra",))], "")
    two = Split.of("v", [Example(text, None, "zebra", ("zebra", written or "empty"))], "")
    assert evaluate(encoder, prompt, one, floors=()).score <= evaluate(encoder, prompt, two, floors=()).score
    if any(map(str.isalnum, written)):
        assert evaluate(encoder, prompt, two, floors=()).score > 0.99


# -- every task that comes with the package ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt2", "t5", "roberta"])
@pytest.mark.parametrize("name", ["sst2", "mnli", "stsb", "cola", "squad", "samsum", "qqp"])
def test_registered_tasks_can_be_scored_on_tiny_backbones(tiny, name, kind):
    task = get_task(name)
    if task.kind == "generation" and kind in MASKED:
        with pytest.raises(UserError):
            Encoder(tiny(kind), task, 4)
        return
    if task.kind == "generation" and kind == "gpt2" and task.max_target_length > 60:
        pytest.skip("the tiny backbone has 96 positions")
    chooser = random.Random(0)
    labels = {"classification": [0, 1], "regression": [0.5, 4.0], "generation": ["good", "bad dog"]}[
        task.kind
    ]
    examples = [
        Example(
            " ".join(chooser.choices(WORDS, k=6)), "the dog" if task.has_text_b else None, label,
            (label,) if task.kind == "generation" else (),
        )
        for label in labels * 2
    ]  # fmt: skip
    encoder = Encoder(tiny(kind), task, 4)
    result = evaluate(encoder, make_prompt(tiny(kind), 4), Split.of("v", examples, ""), batch_size=3)
    assert result.n == 4 and set(result.metrics) == {*task.metrics, "combined_score"}
    assert all(np.isfinite(value) for value in result.metrics.values())
