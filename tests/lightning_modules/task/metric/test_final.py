from __future__ import annotations

import json

import pytest

from lightning_modules.task.metric.final import final_answer, finals, pattern_problems, same
from tests.shared import DATA

GSM8K = DATA / "gsm8k" / "test.jsonl"
PATTERN = "#### (.+)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "42.0"),
        ("1,000", "1000.00"),
        ("$1,234,567.5", "1234567.50"),
        ("-$3", "-3"),
        ("3.", "3"),
        ("1e3", "1000"),
        (".5", "0.50"),
        ("+7", "7"),
        ("20 €", "20"),
        ("Blue  whale.", "blue whale"),
        ("1,5", "1,5"),
    ],
)
def test_equal_answers_are_right(one: str, other: str) -> None:
    assert same(one, other) and same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "43"),
        ("1,5", "15"),
        ("10,00", "1000"),
        ("-3", "3"),
        ("3 apples", "3"),
        ("NaN", "3"),
        (None, "3"),
        (None, None),
        ("0.30000000000000004", "0.3"),
    ],
)
def test_other_answers_are_wrong(one: str | None, other: str | None) -> None:
    assert not same(one, other) and not same(other, one)


def test_the_last_match_counts() -> None:
    text = "First: #### 3\nNo, I was wrong.\n####  4 \nDone."
    assert final_answer(PATTERN, text) == "4"
    assert final_answer(PATTERN, "4") is None
    assert finals(PATTERN, [text, "4"], ["#### 4.0", "#### 4"]) == [1, 0]


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("#### (", "must be a regular expression"),
        ("#### .+", "must have one group, the answer"),
        ("(#+) (.+)", "must have one group, the answer"),
    ],
)
def test_a_pattern_without_an_answer_is_refused(pattern: str, rule: str) -> None:
    (problem,) = pattern_problems(pattern)
    assert problem.rule == rule and problem.fix
    assert not list(pattern_problems(None)) and not list(pattern_problems("(?:a|b): (.+)"))


@pytest.mark.skipif(not GSM8K.is_file(), reason="../shared/data is not there")
def test_every_answer_of_gsm8k_is_a_number_that_is_equal_however_it_is_written() -> None:
    answers = [json.loads(line)["answer"] for line in GSM8K.read_text("utf-8").splitlines()]
    assert len(answers) == 1319
    assert sum(finals(PATTERN, answers, answers)) == len(answers)
    numbers = [float(str(final_answer(PATTERN, each)).replace(",", "")) for each in answers]
    others = [f"So it is\n#### ${number:,.2f}" for number in numbers]
    assert sum(finals(PATTERN, others, answers)) == len(answers)
    wrong = [f"#### {number + 1}" for number in numbers]
    assert sum(finals(PATTERN, wrong, answers)) == 0
