from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from lightning_modules.data.read import read_table
from lightning_modules.error import ConfigError, DataError
from lightning_modules.rows import cell

WANTED = {"text": "review", "label": "stars"}
CELLS = {"text": cell.text, "label": cell.label}
ROWS: list[dict[str, Any]] = [
    {"review": "Fine, really.", "stars": 4},
    {"review": 'He said "no"\nand left.', "stars": 1},
    {"review": "Schön \u2028 teuer\ttoo", "stars": 3},
]
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet")


def write_delimited(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


WRITERS: Mapping[str, Callable[[Path, list[dict[str, Any]]], Any]] = {
    "csv": lambda path, rows: write_delimited(path, rows, ","),
    "tsv": lambda path, rows: write_delimited(path, rows, "\t"),
    "json": lambda path, rows: path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8"),
    "jsonl": lambda path, rows: path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
    ),
    "parquet": lambda path, rows: pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows), path
    ),
}


def written(name: str, content: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(path: Path) -> list[dict[str, str]]:
    return read_table(path, "data.train").read(WANTED, CELLS)


def refused(name: str, content: str | bytes) -> list[str]:
    path = written(name, content)
    with pytest.raises(DataError) as raised:
        texts(path)
    return str(raised.value).splitlines()


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_rows(ending: str) -> None:
    path = Path(f"reviews.{ending}")
    WRITERS[ending](path, ROWS)
    assert texts(path) == [
        {"text": "Fine, really.", "label": "4"},
        {"text": 'He said "no"\nand left.', "label": "1"},
        {"text": "Schön \u2028 teuer\ttoo", "label": "3"},
    ]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_table_keeps_the_column_order_of_the_file(ending: str) -> None:
    path = Path(f"reviews.{ending}")
    WRITERS[ending](path, ROWS)
    assert list(read_table(path, "data.train").columns) == ["review", "stars"]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_missing_column_lists_the_existing_ones(ending: str) -> None:
    path = Path(f"reviews.{ending}")
    WRITERS[ending](path, ROWS)
    with pytest.raises(ConfigError) as raised:
        read_table(path, "data.train").read({"text": "body", "label": "mark"}, CELLS)
    assert str(raised.value).splitlines() == [
        f"data.text: must be a column of {path}, got 'body'. Its columns: review, stars.",
        f"data.label: must be a column of {path}, got 'mark'. Its columns: review, stars.",
    ]


@pytest.mark.parametrize(("given", "meant"), [("reveiw", "review"), ("REVIEW", "review")])
def test_a_misspelt_column_suggests_the_right_one(given: str, meant: str) -> None:
    table = read_table(written("a.csv", "review,stars\nfine,4\n"), "data.train")
    with pytest.raises(ConfigError) as raised:
        table.read({"text": given}, CELLS)
    assert str(raised.value) == (
        f"data.text: must be a column of a.csv, got {given!r}. "
        f"Did you mean {meant}? Its columns: review, stars."
    )


@pytest.mark.parametrize("ending", FORMATS)
def test_an_empty_file_is_refused(ending: str) -> None:
    assert refused(f"a.{ending}", "") == [
        f"a.{ending}: must not be empty, got 0 bytes. "
        "Write a header or key names, and at least one row."
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "review,stars\n"),
        ("a.tsv", "review\tstars\n"),
        ("a.json", "[]"),
        ("a.jsonl", "\n\n"),
        ("a.csv", "\n"),
        ("a.csv", b"\xef\xbb\xbf"),
    ],
)
def test_a_file_without_rows_is_refused(name: str, content: str | bytes) -> None:
    assert refused(name, content) == [
        f"{name}: must have rows, got 0 rows. Write a header or key names, and at least one row."
    ]


def test_a_parquet_file_without_rows_is_refused() -> None:
    empty = pyarrow.table({"review": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(empty, "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: must have rows, got 0 rows"):
        read_table(Path("a.parquet"), "data.train")


def test_a_missing_file_lists_the_table_files_in_its_folder(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.csv", "notes.doc"):
        written(name, "x")
    path = tmp_path / "c.csv"
    with pytest.raises(ConfigError) as raised:
        read_table(path, "data.train")
    assert str(raised.value) == (
        f"data.train: must be a file, got '{path}'. In {tmp_path}: a.csv, b.tsv."
    )


def test_a_missing_file_lists_eight_files_and_counts_the_rest(tmp_path: Path) -> None:
    for number in range(10):
        written(f"{number}.csv", "x")
    with pytest.raises(ConfigError, match=r"0\.csv, .*7\.csv and 2 more\.$"):
        read_table(tmp_path / "c.csv", "data.train")


def test_a_missing_file_reports_a_folder_without_table_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        read_table(tmp_path / "c.csv", "data.train")
    assert str(raised.value).endswith(
        f"There is no .conll, .csv, .json, .jsonl, .parquet, .tsv, .txt, .xlsx file in {tmp_path}."
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ticket.csv", "tickets.csv"),
        ("./Tickets.csv", "tickets.csv"),
        ("tickets.cvs", "tickets.csv"),
        ("orders.csv", "orders.jsonl"),
    ],
)
def test_a_misspelt_file_suggests_the_right_one(given: str, meant: str) -> None:
    for name in ("tickets.csv", "tickets.parquet", "orders.jsonl"):
        written(name, "x")
    with pytest.raises(ConfigError) as raised:
        read_table(Path(given), "data.train")
    assert str(raised.value) == (
        f"data.train: must be a file, got {str(Path(given))!r}. Did you mean {meant}? "
        "In .: orders.jsonl, tickets.csv, tickets.parquet."
    )


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"There is no folder {tmp_path}/nowhere\\."):
        read_table(tmp_path / "nowhere" / "c.csv", "data.train")


def test_a_folder_is_not_accepted_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.csv").mkdir()
    with pytest.raises(ConfigError, match=r"data\.train: must be a file"):
        read_table(tmp_path / "c.csv", "data.train")


def test_an_unknown_extension_lists_the_known_ones() -> None:
    path = written("a.docx", "x")
    with pytest.raises(ConfigError) as raised:
        read_table(path, "data.test")
    assert str(raised.value) == (
        "data.test: must end in one of .conll, .csv, .json, .jsonl, .parquet, .tsv, .txt, .xlsx, "
        "got 'a.docx'. If its lines are rows, name the columns: data.columns=[A,B]."
    )


def test_an_extension_in_capitals_is_accepted() -> None:
    assert texts(written("A.CSV", "review,stars\nok,1\n")) == [{"text": "ok", "label": "1"}]


def test_a_wrong_number_of_cells_is_reported_with_its_line() -> None:
    assert refused("a.csv", "review,stars\nfine,4\nwell, no,2\n") == [
        "a.csv:3: must have 2 cells, like the header, got 3. "
        "Quote cells that hold ',' or a line break."
    ]


def test_a_short_tsv_row_is_refused() -> None:
    assert refused("a.tsv", "review\tstars\nfine\n") == [
        "a.tsv:2: must have 2 cells, like the header, got 1. "
        "Quote cells that hold '\\t' or a line break."
    ]


def test_line_numbers_are_correct_after_a_cell_with_line_breaks() -> None:
    (line,) = refused("a.csv", 'review,stars\r\n"one\r\ntwo\r\nthree",4\r\n\r\nfine,\r\n')
    assert line.startswith("a.csv:6:stars: must not be empty, got ''.")


def test_an_unclosed_quote_is_reported_with_the_line_where_it_opens() -> None:
    assert refused("a.csv", 'review,stars\nfine,4\n"open,2\nmore,1\n') == [
        "a.csv:3: must be quoted correctly, got unexpected end of data. "
        'Write a quote inside a quoted cell twice: "". Or set data.quoting=none.'
    ]


def test_text_after_a_closing_quote_is_refused() -> None:
    (line,) = refused("a.csv", 'review,stars\n"so "good" it is",4\n')
    assert line.startswith("a.csv:2: must be quoted correctly, got ',' expected after '\"'.")


def test_repeated_column_names_are_refused() -> None:
    assert refused("a.csv", "review,stars,stars\nfine,4,4\n") == [
        "a.csv:1: column names must be unique, got 'stars'. Rename one."
    ]


def test_line_numbers_are_correct_after_blank_lines_before_the_header() -> None:
    (line,) = refused("a.csv", "\n\nreview,stars,stars\nfine,4,4\n")
    assert line.startswith("a.csv:3:")


@pytest.mark.parametrize(
    ("name", "head", "line"),
    [
        ("a.csv", b"review,stars\nfine,4\ncaf", 3),
        ("a.tsv", b"review\tstars\ncaf", 2),
        ("a.jsonl", b'{"review": "fine", "stars": 4}\n{"review": "caf', 2),
        ("a.json", b'[\n{"review": "fine", "stars": 4},\n{"review": "caf', 3),
    ],
)
def test_a_byte_that_is_not_utf8_is_reported_with_its_line(
    name: str, head: bytes, line: int
) -> None:
    assert refused(name, head + b"\xc3\n") == [
        f"{name}:{line}: must be UTF-8 or in an encoding that is recognized, got byte 0xc3. "
        "Mend the line, or set data.encoding to the file's, e.g. gb18030 or cp1252."
    ]


def test_a_bad_byte_far_into_a_csv_has_the_correct_line() -> None:
    (line,) = refused("a.csv", b"review,stars\n" + b"fine,4\n" * 5000 + b"caf\xc3,1\n")
    assert line.startswith("a.csv:5002: must be UTF-8")


def test_a_bad_byte_after_a_bom_has_the_correct_line() -> None:
    (line,) = refused("a.csv", b"\xef\xbb\xbfreview,stars\nfine,4\n\xe9,1\n")
    assert line.startswith("a.csv:3: must be UTF-8")


def test_utf16_is_read_by_its_mark() -> None:
    path = written("a.csv", "review,stars\nfine,4\n".encode("utf-16"))
    assert texts(path) == [{"text": "fine", "label": "4"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"review": "fine", "stars": 4}\n\n{"review": }\n',
            "a.jsonl:3: must be JSON, got Expecting value at column 12.",
        ),
        (
            "a.json",
            '[{"review": "fine", "stars": 4},\n {"review": }]',
            "a.json:2: must be JSON, got Expecting value at column 13.",
        ),
        (
            "a.json",
            '{"review": "fine", "stars": 4}\n{"review": "no", "stars": 1}\n',
            "a.json:2: must be JSON, got Extra data at column 1. "
            "If each line is an object, rename the file to .jsonl.",
        ),
        (
            "a.json",
            '{"review": "fine", "stars": 4}',
            "a.json: must be a list of objects, got dict. "
            'Write [{"text": ..., "label": ...}, ...].',
        ),
        (
            "a.json",
            '[{"review": "fine", "stars": 4}, ["no", 1]]',
            "a.json:2: must be an object, got list.",
        ),
        (
            "a.jsonl",
            '{"review": "fine", "stars": 4}\n"no"\n',
            "a.jsonl:2: must be an object, got str.",
        ),
    ],
)
def test_broken_json_is_reported_with_its_position(name: str, content: str, message: str) -> None:
    assert refused(name, content) == [message]


@pytest.mark.parametrize(
    "content",
    [
        '{"review": "a", "stars": 1' + "0" * 5000 + "}\n",
        "[" * 100_000 + "\n",
    ],
    ids=["beyond-int", "too-deep"],
)
def test_json_that_python_cannot_parse_is_refused_with_a_message(content: str) -> None:
    assert refused("a.jsonl", content)


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_an_empty_cell_is_reported_with_row_and_column(ending: str) -> None:
    WRITERS[ending](Path("b"), [{"review": "fine", "stars": "  "}, {"review": "", "stars": 1}])
    assert refused(f"a.{ending}", Path("b").read_bytes()) == [
        f"a.{ending}:2:stars: must not be empty, got '  '. Fill it in or remove the row.",
        f"a.{ending}:3:review: must not be empty, got ''. Fill it in or remove the row.",
    ]


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_a_null_cell_is_reported_with_row_and_column(ending: str) -> None:
    WRITERS[ending](Path("b"), [{"review": "fine", "stars": None}, {"review": None, "stars": 1}])
    assert refused(f"a.{ending}", Path("b").read_bytes()) == [
        f"a.{ending}:1:stars: must not be empty, got None. Fill it in or remove the row.",
        f"a.{ending}:2:review: must not be empty, got None. Fill it in or remove the row.",
    ]


def test_a_missing_key_counts_as_an_empty_cell() -> None:
    (line,) = refused("a.jsonl", '{"review": "fine", "stars": 4}\n{"review": "no"}\n')
    assert line.startswith("a.jsonl:2:stars: must not be empty, got None.")


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_a_number_is_refused_as_text(ending: str) -> None:
    WRITERS[ending](Path("b"), [{"review": 12, "stars": 4}])
    assert refused(f"a.{ending}", Path("b").read_bytes()) == [
        f"a.{ending}:1:review: must be text, got 12. Correct the row or convert the column."
    ]


@pytest.mark.parametrize("label", ["[1]", '{"a": 1}', "NaN", "Infinity"])
def test_a_label_must_be_text_or_a_number(label: str) -> None:
    (line,) = refused("a.jsonl", f'{{"review": "fine", "stars": {label}}}\n')
    assert line.startswith("a.jsonl:1:stars: must be text or a number, got ")


def test_ten_problems_are_shown_and_the_rest_are_counted() -> None:
    lines = refused("a.csv", "review,stars\n" + "fine,\n" * 13)
    assert [line.split(":")[1] for line in lines] == [str(row) for row in range(2, 12)]
    assert lines[-1].endswith("Fill it in or remove the row. And 3 more.")
    assert not any("more" in line for line in lines[:-1])


def test_exactly_ten_problems_are_all_shown() -> None:
    lines = refused("a.csv", "review,stars\n" + "fine,\n" * 10)
    assert len(lines) == 10 and not any("more" in line for line in lines)


def test_a_unicode_line_separator_in_jsonl_does_not_end_a_row() -> None:
    content = '{"review": "one\u2028two\u0085three", "stars": 1}\n{"review": "four", "stars": 2}'
    assert texts(written("a.jsonl", content)) == [
        {"text": "one\u2028two\u0085three", "label": "1"},
        {"text": "four", "label": "2"},
    ]


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
def test_a_byte_order_mark_is_not_part_of_the_first_column(ending: str) -> None:
    path = Path(f"a.{ending}")
    WRITERS[ending](path, ROWS)
    expected = texts(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert texts(path) == expected


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_break_is_accepted(line_end: str) -> None:
    path = written("a.csv", line_end.join(["review,stars", "fine,4", "no,1"]))
    assert [row["text"] for row in texts(path)] == ["fine", "no"]


def test_equal_numbers_are_the_same_label_in_any_notation() -> None:
    path = written("a.jsonl", "".join(f'{{"review": "a", "stars": {n}}}\n' for n in ("4", "4.0")))
    quoted = written("b.jsonl", '{"review": "a", "stars": "4"}\n')
    assert {row["label"] for row in texts(path) + texts(quoted)} == {"4"}


@pytest.mark.parametrize(("value", "label"), [("4.5", "4.5"), ("-0.0", "0"), ("true", "true")])
def test_values_are_normalized_as_labels(value: str, label: str) -> None:
    path = written("a.jsonl", f'{{"review": "a", "stars": {value}}}\n')
    assert texts(path) == [{"text": "a", "label": label}]


def test_spaces_around_names_and_cells_are_removed() -> None:
    assert texts(written("a.csv", " review , stars\n fine , 4 \n")) == [
        {"text": "fine", "label": "4"}
    ]


def test_a_very_long_document_is_read() -> None:
    path = written("a.csv", "review,stars\n" + "long " * 100_000 + ",4\n")
    assert len(texts(path)[0]["text"]) == 499_999


@pytest.mark.parametrize("content", [b"review,stars\nfine,4\n", b"PAR1 broken PAR1"])
def test_a_file_that_is_not_parquet_is_refused(content: bytes) -> None:
    (line,) = refused("a.parquet", content)
    assert line.startswith("a.parquet: must be a Parquet file, got ")
    assert line.endswith(".") and not line.endswith("..")


def squad(*questions: Any, **paragraph: Any) -> dict[str, Any]:
    one = {"context": "Oslo is in Norway.", "qas": list(questions), **paragraph}
    return {"version": "v2.0", "data": [{"title": "Oslo", "paragraphs": [one]}]}


def asked(number: int, **values: Any) -> dict[str, Any]:
    answers = [{"text": "Norway", "answer_start": 11}]
    return {"id": f"q{number}", "question": f"Where {number}?", "answers": answers, **values}


def test_a_squad_file_gives_one_row_per_question() -> None:
    tree = squad(asked(1), asked(2, answers=[], is_impossible=True, plausible_answers=[{}]))
    tree["data"].append({"title": "Bergen", "paragraphs": [{"context": "Rain.", "qas": []}]})
    tree["data"].append(squad(asked(3), context=" Norway")["data"][0])
    table = read_table(written("dev.json", json.dumps(tree)), "data.train")
    assert list(table.columns) == ["id", "title", "context", "question", "answers"]
    assert table.rows[0] == {
        "id": "q1",
        "title": "Oslo",
        "context": "Oslo is in Norway.",
        "question": "Where 1?",
        "answers": [{"text": "Norway", "answer_start": 11}],
    }
    assert [(row["id"], row["context"]) for row in table.rows[1:]] == [
        ("q2", "Oslo is in Norway."),
        ("q3", " Norway"),
    ]
    assert table.rows[1]["answers"] == []
    cells = {"label": cell.answers}
    assert table.read({"label": "answers"}, cells)[1:] == [
        {"label": {"text": [], "answer_start": []}},
        {"label": {"text": ["Norway"], "answer_start": [11]}},
    ]


def test_squad_questions_without_answers_have_no_answers_column() -> None:
    tree = squad({"id": "q1", "question": "Where?"})
    table = read_table(written("new.json", json.dumps(tree)), "input")
    assert list(table.columns) == ["id", "title", "context", "question"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (squad(asked(1), "no"), "data[0].paragraphs[0].qas[1]: must be an object, got str."),
        (squad(qas=None), "data[0].paragraphs[0].qas: must be a list, got nothing."),
        (
            {"data": [{"paragraphs": []}, {"paragraphs": {}}, []]},
            "data[1].paragraphs: must be a list, got dict.\na.json:data[2]: must be an object, "
            "got list.",
        ),
        ({"data": [{"paragraphs": [3]}]}, "data[0].paragraphs[0]: must be an object, got int."),
        (
            squad(asked(1), asked(2, is_impossible=True)),
            "data[0].paragraphs[0].qas[1]: a question with is_impossible must have no answers, "
            "got 1 of them.",
        ),
    ],
)
def test_a_broken_squad_tree_is_reported_with_its_place(tree: dict[str, Any], message: str) -> None:
    assert "\n".join(refused("a.json", json.dumps(tree))) == f"a.json:{message}"


def test_a_bad_cell_in_a_squad_file_is_reported_by_question_number() -> None:
    table = read_table(written("a.json", json.dumps(squad(asked(1), asked(2, question=" ")))), "x")
    with pytest.raises(DataError) as raised:
        table.read({"text_pair": "question"}, {"text_pair": cell.text})
    assert str(raised.value).startswith("a.json:2:question: must not be empty, got ' '.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", 'must not be empty, got \'\'. Write {"text": [], "answer_start": []} if'),
        (None, "must not be empty, got None."),
        ("Oslo", "must hold answers, got 'Oslo'. Write {"),
        ([1], "must hold answers, got [1]."),
        ({"text": ["Oslo"]}, "must hold answers, got {'text': ['Oslo']}."),
        (
            {"text": ["Oslo"], "answer_start": []},
            "must have an answer_start for each text, got 1 in text and 0 in answer_start.",
        ),
        ({"text": [" "], "answer_start": [0]}, "every answer must be text that is not empty, got"),
        ({"text": ["Oslo"], "answer_start": [-1]}, "every answer_start must be a whole number"),
        ({"text": ["Oslo"], "answer_start": [True]}, "every answer_start must be a whole number"),
        ({"text": ["Oslo"], "answer_start": [1.5]}, "every answer_start must be a whole number"),
        ([{"text": "Oslo"}], "every answer_start must be a whole number >= 0, got"),
    ],
)
def test_a_malformed_answer_is_refused(given: Any, message: str) -> None:
    table = read_table(written("a.jsonl", json.dumps({"answers": given}) + "\n"), "x")
    with pytest.raises(DataError) as raised:
        table.read({"label": "answers"}, {"label": cell.answers})
    assert str(raised.value).startswith(f"a.jsonl:1:answers: {message}")


ANSWERS = {"text": ["Oslo", "in Oslo"], "answer_start": [3, 0]}


@pytest.mark.parametrize(
    "given",
    [
        ANSWERS,
        json.dumps(ANSWERS),
        [{"text": "Oslo", "answer_start": 3}, {"text": "in Oslo", "answer_start": 0}],
    ],
)
@pytest.mark.parametrize("ending", FORMATS)
def test_every_notation_of_answers_is_read(ending: str, given: Any) -> None:
    is_text = ending in ("csv", "tsv") and not isinstance(given, str)
    WRITERS[ending](Path(f"a.{ending}"), [{"answers": json.dumps(given) if is_text else given}])
    table = read_table(Path(f"a.{ending}"), "x")
    assert table.read({"label": "answers"}, {"label": cell.answers}) == [{"label": ANSWERS}]


def test_a_passage_keeps_space_at_its_ends() -> None:
    table = read_table(written("a.jsonl", '{"context": " In Oslo. "}\n'), "x")
    assert table.read({"text": "context"}, {"text": cell.passage}) == [{"text": " In Oslo. "}]


def test_plain_text_is_one_row_byte_for_byte() -> None:
    content = "\ufeff  First\r\nsecond \u2028\n\n".encode()
    table = read_table(written("a.txt", content), "data.train")
    (row,) = table.read({"text": "text"}, {"text": cell.verbatim})
    assert row["text"].encode() == content


def test_plain_text_that_is_not_utf8_is_reported_with_its_line() -> None:
    with pytest.raises(DataError, match=r"a.txt:2: must be UTF-8 or .*, got byte 0xc3"):
        read_table(written("a.txt", b"fine\ncaf\xc3"), "data.train")


CONLL = """\
-DOCSTART- -X- -X- O

EU NNP B-ORG
rejects\tVBZ \t O

#tag NN O
\ufe0f NN O

-DOCSTART- -X- -X- O
a\u00a0b NN B-MISC
"""
TAGGED = {"text": "tokens", "label": "ner_tags"}
TAGGED_CELLS = {"text": cell.words, "label": cell.tags}


@pytest.mark.parametrize("content", [CONLL, CONLL.replace("\n", "\r\n"), f"\ufeff{CONLL}"])
def test_conll_files_are_read_as_sentences_of_words_and_tags(content: str) -> None:
    table = read_table(written("a.conll", content), "data.train")
    assert table.read(TAGGED, TAGGED_CELLS) == [
        {"text": ["EU", "rejects"], "label": ["B-ORG", "O"]},
        {"text": ["#tag", "\ufe0f"], "label": ["O", "O"]},
        {"text": ["a\u00a0b"], "label": ["B-MISC"]},
    ]
    assert list(table.columns) == ["tokens", "2", "ner_tags"] and list(table.lines) == [3, 6, 10]


def test_a_conll_file_with_one_column_has_no_tags() -> None:
    table = read_table(written("a.conll", "EU\nrejects\n\nit"), "input")
    assert list(table.columns) == ["tokens"]
    assert [row["tokens"] for row in table.rows] == [["EU", "rejects"], ["it"]]


def test_a_broken_conll_line_is_reported_with_file_and_line() -> None:
    path = written("a.conll", "EU B-ORG\nrejects\n\nit is O\n")
    with pytest.raises(DataError) as raised:
        read_table(path, "data.train")
    fix = "Write each line as a word, spaces or tabs, and a tag; a blank line ends a sentence."
    assert str(raised.value).splitlines() == [
        f"a.conll:2: must have 2 columns, like the first line, got 1. {fix}",
        f"a.conll:4: must have 2 columns, like the first line, got 3. {fix}",
    ]


@pytest.mark.parametrize("content", ["\n\n", "-DOCSTART- -X- O\n\n"])
def test_a_conll_file_without_words_is_refused(content: str) -> None:
    with pytest.raises(DataError, match=r"a\.conll: must have rows, got 0 rows"):
        read_table(written("a.conll", content), "data.train")


def test_half_a_surrogate_pair_is_reported_with_its_place() -> None:
    rows = '{"review": "fine", "stars": 4}\n{"review": "half \\ud83d", "stars": 4}\n'
    (line,) = refused("rows.jsonl", rows)
    assert line.startswith("rows.jsonl:2:review: must hold whole characters, not half of a surr")
