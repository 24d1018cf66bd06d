"""The texts of prompts, and which rows are shown in them."""

from __future__ import annotations

from collections import Counter

import pytest

from lightning_modules.text.prompt import broken_rule, choose_shots, description, filled, question

PAIR = "{text} Question: {text_pair} Answer: {label}!"
ROWS = [{"text": f"row {number}", "label": "ab"[number % 2]} for number in range(40)]


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{text} It was {label}.", None),
        (PAIR, None),
        ("It was {label}.", "must hold {text}"),
        ("{text} is what", "must hold {label}"),
        ("{label}: {text}", "{label} must come after the texts"),
        ("{text} {text} {label}", "must hold each place only once"),
        ("{text} {labels}", "must hold no braces other than {text}, {text_pair} and {label}"),
        ("{text} {label!r}", "must hold no braces other than {text}, {text_pair} and {label}"),
        ("{text} {label", "must have balanced braces"),
    ],
)
def test_a_bad_template_is_refused_with_its_rule(template: str, rule: str | None) -> None:
    assert broken_rule(template) == rule


def test_a_template_with_a_pair_of_texts_is_filled() -> None:
    row = {"text": "It rained {text_pair}.", "text_pair": "Dry?"}
    assert filled(PAIR, row, "no") == "It rained {text_pair}. Question: Dry? Answer: no!"
    assert question(PAIR, row) == "It rained {text_pair}. Question: Dry? Answer:"
    assert description(PAIR, "no") == "Question: Answer: no!"


def test_shots_cover_every_label_and_a_larger_number_adds_to_them() -> None:
    eight = choose_shots(ROWS, ("a", "b"), 8, seed=0)
    assert Counter(row["label"] for row in eight) == {"a": 8, "b": 8}
    assert eight[:4] == choose_shots(ROWS, ("a", "b"), 2, seed=0)
    assert {row["label"] for row in eight[:2]} == {row["label"] for row in eight[2:4]} == {*"ab"}


def test_shots_depend_on_the_seed_but_not_on_the_row_order() -> None:
    one = choose_shots(ROWS, ("a", "b"), 4, seed=0)
    assert choose_shots(ROWS[::-1], ("a", "b"), 4, seed=0) == one
    assert choose_shots(ROWS, ("a", "b"), 4, seed=1) != one
    assert choose_shots(ROWS, ("a", "b"), 0, seed=0) == ()


def test_a_text_is_shown_once_and_few_rows_are_all_shown() -> None:
    rows = [*ROWS[:3], {"text": "ROW  0", "label": "a"}]
    assert len(choose_shots(rows, ("a", "b"), 9, seed=0)) == 3
