"""A task gives each family its template and label words, and its fingerprint covers what changes a score."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prompt_hub.errors import UserError
from prompt_hub.tasks import Task, get_task, parse_template

PAIR = Task(
    name="pair",
    type="nli",
    kind="classification",
    classes=("no", "yes"),
    columns={"text_a": "a", "text_b": "b", "label": "y"},
    templates={"masked_lm": "{mask} {text_a} {text_b}", "default": "{text_a} {text_b}"},
    label_words={"masked_lm": ("no", "yes")},
)
SINGLE = replace(PAIR, columns={"text_a": "a", "label": "y"}, templates={"default": "{text_a}"})


def test_a_template_is_cut_into_literals_and_placeholders() -> None:
    assert parse_template("{mask} {text_a}\nQ: {text_b}?") == (
        "{mask}",
        " ",
        "{text_a}",
        "\nQ: ",
        "{text_b}",
        "?",
    )


def test_doubled_braces_are_literal_braces() -> None:
    assert parse_template("{{x}} {text_a}") == ("{x} ", "{text_a}")


@pytest.mark.parametrize(
    "template", ["{text_a} {words}", "{text_a!r}", "{text_a:>9}", "{text_a} {}", "{0} {text_a}", "{text_a.x}"]
)
def test_a_placeholder_that_does_not_exist_is_named_with_those_that_do(template: str) -> None:
    with pytest.raises(UserError, match=r"unknown placeholder .*\{mask\}, \{text_a\}, \{text_b\}"):
        parse_template(template)


@pytest.mark.parametrize("template", ["{text_a", "text_a} {text_a}", "{{text_a}} {text_a}"])
def test_braces_that_cannot_be_told_apart_are_refused(template: str) -> None:
    if template.startswith("{{"):
        assert parse_template(template)[0] == "{text_a} "
        with pytest.raises(UserError, match="spells a placeholder"):
            parse_template("{{text_a}}{text_a}")
    else:
        with pytest.raises(UserError, match="braces"):
            parse_template(template)


def test_default_serves_families_without_an_entry() -> None:
    assert PAIR.template_for("masked_lm") == "{mask} {text_a} {text_b}"
    assert PAIR.template_for("causal_lm") == "{text_a} {text_b}"


def test_a_missing_entry_names_what_is_there() -> None:
    with pytest.raises(UserError, match=r"no label words for family 'causal_lm'.*masked_lm"):
        PAIR.label_words_for("causal_lm")
    with pytest.raises(UserError, match="Unknown model family 'gpt'"):
        PAIR.template_for("gpt")


def test_a_generation_task_has_no_label_words() -> None:
    with pytest.raises(UserError, match="generates text"):
        get_task("squad").label_words_for("causal_lm")


def test_an_overriding_template_goes_to_the_families_it_fits() -> None:
    masked = PAIR.with_overrides(template="{text_a} {mask}")
    assert masked.template_for("masked_lm") == "{text_a} {mask}"
    assert masked.template_for("causal_lm") == "{text_a} {text_b}"
    unmasked = PAIR.with_overrides(template="{text_a} =>")
    assert unmasked.template_for("seq2seq_lm") == "{text_a} =>"
    assert unmasked.template_for("masked_lm") == "{mask} {text_a} {text_b}"


def test_an_override_for_a_named_family_is_checked_for_that_family() -> None:
    with pytest.raises(UserError, match="needs exactly one"):
        PAIR.with_overrides(template="{text_a} It was", family="masked_lm")
    with pytest.raises(UserError, match="no text_b column"):
        SINGLE.with_overrides(template="{text_a} {text_b}")


def test_overriding_label_words_needs_one_a_class() -> None:
    assert PAIR.with_overrides(label_words=["bad", "good"]).label_words_for("causal_lm") == ("bad", "good")
    for words in (["bad"], ["bad", "bad"], ["bad", ""]):
        with pytest.raises(UserError, match="2 different label words in the order no, yes"):
            PAIR.with_overrides(label_words=words)


def test_the_fingerprint_moves_with_all_that_can_move_a_score_and_with_nothing_else() -> None:
    same = replace(PAIR, description="words", source="a paper", aliases=("p",), paper=True)
    assert same.fingerprint() == PAIR.fingerprint()
    assert len(PAIR.fingerprint()) == 16
    others = [
        replace(PAIR, templates={**PAIR.templates, "causal_lm": "{text_a}"}),
        replace(PAIR, label_words={"masked_lm": ("yes", "no")}),
        replace(PAIR, columns={"text_a": "b", "text_b": "a", "label": "y"}),
        replace(PAIR, classes=("yes", "no")),
        replace(PAIR, label_map={"0": "no"}),
        replace(PAIR, metrics=("f1",)),
        replace(PAIR, max_length=64),
    ]
    assert len({task.fingerprint() for task in [PAIR, *others]}) == len(others) + 1
