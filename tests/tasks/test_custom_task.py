"""A few options make a task from the user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompt_hub.errors import UserError
from prompt_hub.tasks import custom_task, load_file, parse_label_words


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(
        "review,title,stars,mood,summary,score\nslow,one,1,sad,short,0.5\nfun,two,2,glad,long,4\n"
    )
    return path


def test_label_words_give_classes_in_their_order(reviews: Path) -> None:
    words = parse_label_words("2=good,1=bad")
    task = custom_task(reviews, text_a="review", label="stars", label_words=words)
    assert (task.name, task.classes, task.kind) == ("reviews", ("good", "bad"), "classification")
    assert task.label_words_for("masked_lm") == ("good", "bad")
    assert load_file(reviews, task).labels() == [1, 0]


def test_the_default_templates_fit_one_text_and_two(reviews: Path) -> None:
    single = custom_task(reviews, text_a="review", label="mood")
    assert single.template_for("masked_lm") == "{mask} {text_a}"
    assert single.template_for("causal_lm") == "{text_a}\nAnswer:"
    pair = custom_task(reviews, text_a="title", text_b="review", label="mood")
    assert pair.template_for("masked_lm") == "{mask} {text_a} {text_b}"
    assert load_file(reviews, pair).examples[0].text_b == "slow"


def test_labels_that_are_words_need_no_list(reviews: Path) -> None:
    task = custom_task(reviews, text_a="review", label="mood")
    assert task.label_words_for("seq2seq_lm") == ("glad", "sad")


def test_labels_that_are_numbers_or_too_many_need_one(reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"are no words: 1, 2.*1=bad,2=good"):
        custom_task(reviews, text_a="review", label="stars")
    many = tmp_path / "many.csv"
    many.write_text("review,label\n" + "".join(f"x,word{index}\n" for index in range(30)))
    with pytest.raises(UserError, match="30 different labels"):
        custom_task(many, text_a="review", label="label")


def test_a_target_column_makes_a_generation_task(reviews: Path) -> None:
    task = custom_task(reviews, text_a="review", target="summary")
    assert (task.kind, task.metrics) == ("generation", ("rougeL",))
    assert load_file(reviews, task).labels() == ["short", "long"]


def test_a_regression_takes_its_range_from_the_file_or_from_the_user(reviews: Path) -> None:
    task = custom_task(reviews, text_a="review", label="score", kind="regression")
    assert (task.label_range, task.label_words_for("causal_lm")) == ((0.5, 4.0), ("no", "yes"))
    wide = custom_task(reviews, text_a="review", label="score", kind="regression", label_range=(0, 5))
    assert wide.label_range == (0.0, 5.0)
    with pytest.raises(UserError, match="holds no number"):
        custom_task(reviews, text_a="review", label="mood", kind="regression")


def test_a_template_replaces_the_default_of_the_family_it_fits(reviews: Path) -> None:
    task = custom_task(reviews, text_a="review", label="mood", template="{text_a} It was {mask}.")
    assert task.template_for("masked_lm") == "{text_a} It was {mask}."
    assert task.template_for("causal_lm") == "{text_a}\nAnswer:"


def test_a_missing_column_gets_a_near_match_and_the_list(reviews: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'reviw' .*Did you mean 'review'.*title, stars"):
        custom_task(reviews, text_a="reviw", label="mood")
    with pytest.raises(UserError, match=r"no column 'star' for the label.*review, title"):
        custom_task(reviews, text_a="review", label="star")


def test_one_column_to_learn_is_needed(reviews: Path) -> None:
    with pytest.raises(UserError, match="got neither"):
        custom_task(reviews, text_a="review")
    with pytest.raises(UserError, match="got both"):
        custom_task(reviews, text_a="review", label="mood", target="summary")
    with pytest.raises(UserError, match="needs a target column"):
        custom_task(reviews, text_a="review", label="mood", kind="generation")
    with pytest.raises(UserError, match="Unknown kind"):
        custom_task(reviews, text_a="review", label="mood", kind="sorting")
    with pytest.raises(UserError, match="text_b does not apply"):
        custom_task(reviews, text_a="review", text_b="title", target="summary")


def test_a_file_called_train_is_named_after_its_folder_and_a_known_task_is_not_shadowed(
    tmp_path: Path,
) -> None:
    for folder, name in (("my shop", "my_shop"), ("sst2", "sst2-custom")):
        path = tmp_path / folder / "train.csv"
        path.parent.mkdir()
        path.write_text("review,mood\nx,sad\ny,glad\n")
        assert custom_task(path, text_a="review", label="mood").name == name
    assert custom_task(path, text_a="review", label="mood", name="mine").name == "mine"
    with pytest.raises(UserError, match="is not a name"):
        custom_task(path, text_a="review", label="mood", name="../x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1=bad,2=good", {"1": "bad", "2": "good"}),
        (" 1 = very bad , 2 = good ", {"1": "very bad", "2": "good"}),
        (r"a\,b=x,a\=b=y,c\\=z", {"a,b": "x", "a=b": "y", "c\\": "z"}),
    ],
)
def test_label_words_are_read(text: str, words: dict[str, str]) -> None:
    assert parse_label_words(text) == words
    assert list(parse_label_words(text)) == list(words)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not one raw=word pair"),
        ("1", "not one raw=word pair"),
        ("1=a=b", "not one raw=word pair"),
        ("1=a,", "not one raw=word pair"),
        ("1=,2=b", "empty side"),
        ("=a", "empty side"),
        ("1=a,1=b", "'1' appears twice"),
        ("1=a,2=a", "two labels have the word 'a'"),
        ("1=a\\", None),
    ],
)
def test_broken_label_words_say_how_to_write_them(text: str, complaint: str | None) -> None:
    if complaint is None:
        assert parse_label_words(text) == {"1": "a\\"}
    else:
        with pytest.raises(UserError, match=complaint):
            parse_label_words(text)
