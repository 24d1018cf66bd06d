from __future__ import annotations

import pytest

from lightning_modules.text.template import (
    as_literal,
    broken_rule,
    cell_text,
    columns_in,
    filled,
    needed_in,
    written,
)

ALPACA = "{instruction}[[\nInput: {input}]]\nAnswer: "


def test_a_part_is_left_out_of_rows_without_its_column() -> None:
    assert filled(ALPACA, {"instruction": "Add.", "input": "1, 2"}) == (
        "Add.\nInput: 1, 2\nAnswer: "
    )
    assert filled(ALPACA, {"instruction": "Rhyme.", "input": " "}) == "Rhyme.\nAnswer: "
    assert needed_in(ALPACA) == ("instruction",)


def test_a_part_with_two_columns_needs_both() -> None:
    template = "[[{a} and {b}]]."
    assert filled(template, {"a": "x", "b": "y"}) == "x and y."
    assert filled(template, {"a": "x"}) == "."


def test_brackets_without_a_column_are_text() -> None:
    assert filled("[[INST]] {text} [/INST]", {"text": "Hi"}) == "[[INST]] Hi [/INST]"


def test_braces_are_written_twice() -> None:
    assert filled('{{"q": "{text}"}}', {"text": "a {b} [[{c}]]"}) == '{"q": "a {b} [[{c}]]"}'
    assert columns_in('{{"q": "{my column}"}}') == ("my column",)


def test_a_line_break_can_be_typed_as_in_a_shell() -> None:
    assert filled(r"{a}\n[[\t{b}]]\\n", {"a": r"x\n", "b": "y"}) == "x\\n\n\ty\\n"


def test_a_template_of_earlier_versions_means_what_it_meant() -> None:
    template = r'[[{text}]] {"q": "{text}"} {input} \n [[[{x}]]] \[['
    assert filled(as_literal(template), {"text": "Hi"}) == template.replace("{text}", "Hi")


@pytest.mark.parametrize("template", ["{text", "text}", "{", "{}{text}"])
def test_a_lone_brace_is_refused(template: str) -> None:
    assert broken_rule(template) == "must hold a column in each pair of braces"


def test_a_template_without_a_column_is_refused() -> None:
    assert broken_rule("Answer:") == "must hold {text} or another column"


@pytest.mark.parametrize("template", ["{a}[[ {b}", "[[{a} [[{b}]] ]]", "[[{a}[[x]]"])
def test_a_part_that_is_not_closed_is_refused(template: str) -> None:
    rule = broken_rule(template)
    assert rule is not None and rule.startswith("must close each [[ with ]]")


def test_brackets_of_a_text_can_be_written() -> None:
    template = r"\[[{a}]] [[{b}]] [[1, 2]]"
    assert broken_rule(template) is None
    assert filled(template, {"a": "x"}) == "[[x]]  [[1, 2]]"


def test_the_places_of_cells_are_told() -> None:
    text, places = written("Q: {a}[[ ({b})]] A:", {"a": "why", "b": ""})
    assert (text, places) == ("Q: why A:", ((3, 6),))
    text, places = written(r"{a}\n{b}", {"a": "{b}", "b": "x"})
    assert [text[slice(*place)] for place in places] == ["{b}", "x"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, ""), (float("nan"), ""), (False, "false"), (2.5, "2.5"), ({"a": "ä"}, '{"a": "ä"}')],
)
def test_a_cell_as_text(cell: object, text: str) -> None:
    assert cell_text(cell) == text
