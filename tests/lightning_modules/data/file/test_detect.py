"""The dialects that programs and people write, each with what must come of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, DataError

WANTED = Wanted(("text", "label"))
LINES = [(f"text number {n}", "ham" if n % 3 else "spam") for n in range(12)]


def read(name: str, content: str, **form: object) -> Table:
    Path(name).write_text(content, encoding="utf-8", newline="")
    return read_table(Path(name), "data.train", Form(**form), WANTED)  # type: ignore[arg-type]


def cells(table: Table) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in table.columns) for row in table.rows]


def table_text(rows: list[tuple[str, ...]], delimiter: str) -> str:
    return "".join(delimiter.join(row) + "\n" for row in [("text", "label"), *rows])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_any_delimiter_is_found_in_any_file(name: str, delimiter: str) -> None:
    table = read(name, table_text(LINES, delimiter))
    assert cells(table) == LINES and "(sure)" in table.reading


def test_a_text_that_begins_with_a_quote_does_not_take_the_next_rows() -> None:
    rows = [*LINES[:3], ('"It began so', "ham"), *LINES[3:9], ('and ended so"', "spam"), *LINES]
    table = read("a.tsv", table_text(rows, "\t"))
    assert cells(table) == rows
    assert "tabs, no quoting" in table.reading and "likely" in table.reading


def test_quotes_in_pairs_around_some_texts_of_a_tsv_stay() -> None:
    rows = [*LINES, ('"Quoted as a whole."', "ham"), ('He said "no" and left', "spam")]
    assert cells(read("a.tsv", table_text(rows, "\t"))) == rows


@pytest.mark.parametrize("texts", [['""'], ['"so"', '"so"']])
def test_quotes_around_all_texts_of_a_tsv_are_taken_off_and_told(texts: list[str]) -> None:
    table = read("a.tsv", table_text([(text, "ham") for text in texts], "\t"))
    assert [row["text"] for row in table.rows] == [text.strip('"') for text in texts]
    assert "likely: cells are within quotes" in table.reading


def test_an_unclosed_quote_in_a_tsv_is_text() -> None:
    rows = [*LINES, ('5" wide', "ham"), ('"open', "spam")]
    assert cells(read("a.tsv", table_text(rows, "\t"))) == rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_the_csv_module_writes_is_read_as_it_was(delimiter: str, quoting: int) -> None:
    rows = [
        *LINES,
        ('He said "no",\nand left; or\tnot | so', "ham"),
        ('"all of it"', "spam"),
        ("", "ham"),
        ("a\r\nb", "spam"),
    ]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("text", "label"), *rows])
    assert cells(read("a.csv", file.getvalue())) == rows


def test_a_cell_with_tabs_and_line_breaks_that_look_like_rows_is_refused_or_told() -> None:
    quoted = 'text\tlabel\nfine\tham\n"one\tham\ntwo\tspam\nthree"\tspam\nbad\tspam\nso\tham\n'
    table = read("a.tsv", quoted)
    assert len(table.rows) == 6 and "4 rows with quotes, 6 without" in table.reading
    assert [row[0] for row in cells(read("a.tsv", quoted, quoting="double"))] == [
        "fine",
        "one\tham\ntwo\tspam\nthree",
        "bad",
        "so",
    ]


def test_two_readings_between_which_nothing_decides_are_refused() -> None:
    pairs = 'text\tlabel\nguten Tag\tgood day\n"so\twie\nes ist"\tas it is\nja\tyes\n'
    with pytest.raises(DataError, match=r"a\.tsv: must be quoted in one way only, got 3 rows with"):
        read("a.tsv", pairs)


def test_semicolons_with_single_quotes() -> None:
    rows = [("It's fine; really", "ham"), ("plain", "spam"), ('a "quoted" word', "ham")]
    content = "'text';'label'\n" + "".join(
        f"'{text.replace(chr(39), chr(39) * 2)}';'{label}'\n" for text, label in rows
    )
    table = read("a.csv", content)
    assert cells(table) == rows and "semicolons, quotes '" in table.reading


def test_apostrophes_are_no_quotes() -> None:
    rows = [("'tis fine", "ham"), ("the boys'", "spam"), ("'so'", "ham"), ("rock 'n' roll", "ham")]
    assert cells(read("a.csv", table_text(rows, ";"))) == rows


def test_quotes_escaped_by_backslashes() -> None:
    content = 'text,label\n"He said \\"no\\", and left",ham\n"fine",spam\n'
    assert cells(read("a.csv", content)) == [('He said "no", and left', "ham"), ("fine", "spam")]


def test_names_are_given_to_a_file_without_them() -> None:
    content = "".join(f"{label}\t{text}\n" for text, label in LINES)
    table = read("SMSSpamCollection", content, columns=["label", "text"])
    assert cells(table) == [(label, text) for text, label in LINES]
    assert "names given, so line 1 is a row" in table.reading


def test_given_names_that_are_in_the_first_line_are_not_a_row() -> None:
    table = read("a.csv", table_text(LINES, ","), columns=["Text", "label"])
    assert cells(table) == LINES


def test_the_first_word_of_a_line_is_its_label() -> None:
    content = "DESC:manner How did it , er , end ?\nENTY:animal What flies ?\nHUM:ind Who\n"
    table = read("train_5500.label", content, columns=["label", "text"])
    assert cells(table) == [
        ("DESC:manner", "How did it , er , end ?"),
        ("ENTY:animal", "What flies ?"),
        ("HUM:ind", "Who"),
    ]


def test_numbered_columns_and_titles_like_ag_news() -> None:
    content = '"3","Fears, they say","Unions ""fear"" it"\n"4","Race","On\\now"\n'
    table = read("train.csv", content, columns=["label", "title", "text"])
    assert cells(table) == [
        ("3", "Fears, they say", 'Unions "fear" it'),
        ("4", "Race", "On\\now"),
    ]


def test_too_few_names_are_refused_with_the_first_row() -> None:
    with pytest.raises(ConfigError) as raised:
        read("a.csv", '"3","Title","Body"\n"4","Other","More"\n', columns=["label", "text"])
    assert str(raised.value) == (
        "data.columns: must name each of the 3 columns of a.csv, got 2: label, text. "
        "Its first row: 3 | Title | Body."
    )


def test_cells_beyond_the_named_ones_are_told() -> None:
    content = "".join(f"{text}\t{label}\n" for text, label in LINES) + "more\tham\tits source\n"
    table = read("a.tsv", content, columns=["text", "label"])
    (note,) = table.notes
    assert len(table.rows) == 13
    assert note == (
        "a.tsv: 1 row has more than the 2 cells that are named, which are not read, "
        "e.g. line 13: its source"
    )


def test_columns_without_names_and_content_are_left_out() -> None:
    table = read("a.csv", "text,label,,\nfine,ham,,\nbad,spam\ngood,ham,,\n")
    assert list(table.columns) == ["text", "label"] and len(table.rows) == 3


def test_an_index_without_a_name_and_repeated_names_do_no_harm_until_they_are_used() -> None:
    table = read("a.csv", ",text,label,x,x\n0,fine,ham,1,2\n")
    assert list(table.columns) == ["column 1", "text", "label", "x", "x (column 5)"]
    assert cells(table) == [("0", "fine", "ham", "1", "2")]
    with pytest.raises(DataError, match=r"a\.csv:1: column names must be unique, got 'x'"):
        table.read({"text": "x"}, {"text": str})


def test_a_first_row_that_is_no_header_is_suspected() -> None:
    table = read("a.csv", "ham,well\nham,bad\nspam,so\n")
    with pytest.raises(ConfigError, match=r"If line 1 is a row, name the columns: data.columns="):
        table.read({"text": "text"}, {"text": str})


def test_a_given_dialect_is_taken_without_a_look() -> None:
    table = read("a.csv", 'text|label\n"a|b\n', delimiter="pipe", quoting="none")
    assert cells(table) == [('"a', "b")]


def test_the_reading_of_earlier_versions() -> None:
    old = Form("ending", "double", "names", "utf-8")
    Path("a.tsv").write_text('text\tlabel\n"one\ttwo"\tham\n', encoding="utf-8")
    assert cells(read_table(Path("a.tsv"), "data.train", old)) == [("one\ttwo", "ham")]


def test_many_columns_take_linear_time() -> None:
    names = [f"c{n}" for n in range(20_000)]
    content = ",".join([*names, "text", "label"]) + "\n" + ",".join(["1"] * 20_000 + ["a", "ham"])
    table = read("a.csv", content + "\n")
    assert len(table.columns) == 20_002 and table.rows[0]["text"] == "a"
    with pytest.raises(ConfigError, match=r"c29 and 19,972 more\."):
        table.read({"text": "absent"}, {"text": str})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("delimiter", "x", "must be auto, comma"),
        ("quoting", "some", "must be auto, none"),
        ("header", "yes", "must be auto, names"),
        ("encoding", "klingon", "must be an encoding that Python knows"),
        ("columns", ["a", "a"], "must be different names"),
    ],
)
def test_wrong_settings_are_refused(key: str, value: object, rule: str) -> None:
    (problem,) = Form(**{key: value}).problems()  # type: ignore[arg-type]
    assert problem.where == key and problem.rule.startswith(rule)


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"'])
def test_excels_line_with_the_delimiter_is_read(first: str) -> None:
    rows = [("3,50; too, much", "ham"), *LINES]
    lines = [f'"{text}";{label}' for text, label in rows]
    table = read("a.csv", "\r\n".join([first, "text;label", *lines]))
    assert cells(table) == rows
    assert "line 1 says" in table.reading and list(table.lines)[:2] == [3, 4]


def test_a_name_like_excels_line_stays_a_name() -> None:
    assert read("a.csv", "text,label,sep=;\nfine,ham,1\n").columns == ["text", "label", "sep=;"]


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
@pytest.mark.parametrize("quote", ['\\"', '""'])
def test_what_rs_write_table_writes_is_read(name: str, quote: str) -> None:
    rows = [(f'said "{n}", and left', label) for n, (_, label) in enumerate(LINES)]
    lines = [
        f'"{n}" "{text.replace(chr(34), quote)}" "{label}"'
        for n, (text, label) in enumerate(rows, start=1)
    ]
    table = read(name, "\n".join(['"text" "label"', *lines, ""]))
    assert [cell[1:] for cell in cells(table)] == rows
    assert table.columns == ["row", "text", "label"]
    assert "rows begin with numbers that have none" in table.reading


def test_numbers_of_rows_without_a_name_are_read_between_tabs() -> None:
    lines = [f"{n * 3}\t{text}\t{label}" for n, (text, label) in enumerate(LINES)]
    table = read("a.tsv", "\n".join(["text\tlabel", *lines]))
    assert [cell[1:] for cell in cells(table)] == LINES


def test_a_comma_too_many_in_each_row_is_refused() -> None:
    lines = [f"{n},Paris, France,ham" for n in range(5)]
    with pytest.raises(DataError, match=r"a\.csv:2: must have 3 cells, like the header, got 4"):
        read("a.csv", "\n".join(["id,text,label", *lines]))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("above", ["Our survey", "Our survey,,,"])
def test_lines_above_the_names_are_refused_with_their_number(above: str, delimiter: str) -> None:
    line = above.count("\n") + 2
    with pytest.raises(DataError, match=rf"got them in line {line}\. Remove the lines above\."):
        read("a.csv", f"{above}\n{table_text(LINES, delimiter)}")


def test_comments_above_the_names_are_left_out_and_told() -> None:
    above = "# one\n\n# two, three\n"
    table = read("a.csv", f"{above}{table_text(LINES, ';')}")
    assert cells(table) == LINES
    assert table.notes == ("a.csv: the lines above line 4 begin with #, and are not read",)
    # Here the last of them has the commas of a row, but the wanted names are below it.
    table = read("a.csv", f"{above}{table_text(LINES, ',')}")
    assert cells(table) == LINES and "line 4 begin with #" in table.notes[0]


def test_names_within_a_later_sentence_are_no_names() -> None:
    with pytest.raises(ConfigError, match="must be a column"):
        table = read("a.csv", "review,stars\nthe text and the label differ,ham\n")
        table.read({"text": "text"}, {"text": str})


@pytest.mark.parametrize("num", [3, 6, 30])
def test_the_fix_for_a_file_without_names_reads_it(num: int) -> None:
    row = ["fine", "ham", *"1" * (num - 2)]
    text = "".join(",".join([*row[:-1], str(n)]) + "\n" for n in range(5))
    hint = read("a.csv", text).hint
    fix, _, value = hint.rpartition("data.")[2].rstrip(".").partition("=")
    if fix == "columns":
        table = read("a.csv", text, columns=value.strip("[]").split(","))
    else:
        table = read("a.csv", text, header=value.partition(",")[0])
    assert cells(table) == [(*row[:-1], str(n)) for n in range(5)]


def test_a_header_that_begins_with_a_hash_stays() -> None:
    content = "#text,label\nfine,ham\nbad,spam\n"
    Path("a.csv").write_text(content, encoding="utf-8")
    table = read_table(Path("a.csv"), "data.train", None, Wanted(("#text", "label")))
    assert cells(table) == [("fine", "ham"), ("bad", "spam")]


COPIED = "text\tlabel\tnote\nWe went\\tto C:\\\\new\\nand back\tham\t\\N\nfine\tspam\tso\n"
UNESCAPED = [("We went\tto C:\\new\nand back", "ham", ""), ("fine", "spam", "so")]


@pytest.mark.parametrize("content", [COPIED, f"{COPIED}\\.\n", COPIED.replace("\n", "\r\n")])
def test_what_postgresql_copies_is_read_as_it_was(content: str) -> None:
    table = read("a.tsv", content)
    assert cells(table) == UNESCAPED
    assert "tabs, backslashes and no quoting" in table.reading
    assert "likely: cells are \\N" in table.reading


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_what_mysql_writes_may_have_any_line_end_and_nul(end: str) -> None:
    lines = ["text\tlabel", "a\\0b\\nc\tham", "fine\\\\0\t\\N", ""]
    table = read("a.tsv", end.join(lines), quoting="backslash")
    assert cells(table) == [("a\0b\nc", "ham"), ("fine\\0", "")]
    assert table.lines == [2, 3]


def test_a_carriage_return_within_a_cell_stays() -> None:
    table = read("a.tsv", "text\tlabel\na\rb\tham\nc\td\n", quoting="backslash")
    assert cells(table) == [("a\rb", "ham"), ("c", "d")]


def test_an_escaped_line_end_stays_at_the_end_of_a_line() -> None:
    table = read("a.tsv", "text\tlabel\ra\tham\\\r\rc\tspam\r", quoting="backslash")
    assert cells(table) == [("a", "ham\r"), ("c", "spam")]
    assert table.lines == [2, 4]


def test_backslashes_of_other_programs_are_text() -> None:
    rows = [("C:\\Users\\n", "ham"), ("fine", "\\N"), ("a\\tb", "spam")]
    assert cells(read("a.tsv", table_text(rows, "\t"))) == rows  # \U is none of PostgreSQL's


def test_backslashes_can_be_said_and_may_stand_before_a_line_end() -> None:
    content = "text\tlabel\na\\\tb\\\nc\tham\n\nfine\tspam\n"
    table = read("a.tsv", content, quoting="backslash")
    assert cells(table) == [("a\tb\nc", "ham"), ("fine", "spam")]
    assert table.lines == [2, 5]


@pytest.mark.parametrize("quoting", ["auto", "backslash"])
def test_rows_below_the_end_of_what_postgresql_copied_are_not_lost(quoting: str) -> None:
    with pytest.raises(DataError, match=r"a\.tsv:4: must have 3 cells, like the header, got 1"):
        read("a.tsv", f"{COPIED}\\.\n{COPIED}", quoting=quoting)
