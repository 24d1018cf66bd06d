"""Column files of tagged words, in the format of the CoNLL shared tasks.

One word per line and a blank line between sentences. Columns are separated by spaces or tabs; the
first holds the word, the last its tag:

    EU NNP B-ORG
    rejects VBZ O

`-DOCSTART-` lines, which separate documents, are skipped (Tjong Kim Sang and De Meulder 2003).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from lightning_modules.error import DataError, Problem

WORDS, TAGS = "tokens", "ner_tags"
NUM_PROBLEMS_SHOWN = 10
# Other Unicode spaces may be part of a word.
_SPACE = re.compile(r"[ \t]+")


def read_sentences(path: Path) -> tuple[list[str], list[dict[str, Any]], list[int]]:
    """Return columns, rows and the line on which each row starts, counted from 1.

    A row has a list of words and, if the file has more than one column, a list of tags.

    Raises:
        DataError: A line has a different number of columns than the first.

    """
    found = list(_lines(path))
    num_columns = next((len(cells) for _, cells in found if cells), 1)
    problems = [
        Problem(
            f"{path}:{line}",
            f"must have {num_columns} columns, like the first line",
            len(cells),
            "Write each line as a word, spaces or tabs, and a tag; a blank line ends a sentence.",
        )
        for line, cells in found
        if cells and len(cells) != num_columns
    ]
    if problems:
        raise DataError(problems[:NUM_PROBLEMS_SHOWN])
    rows, lines = [], []
    for is_sentence, group in groupby(found, key=lambda each: bool(each[1])):
        if is_sentence:
            members = list(group)
            lines.append(members[0][0])
            rows.append(_row([cells for _, cells in members], num_columns))
    return [WORDS, TAGS][:num_columns], rows, lines


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each line's number and cells; a line between sentences or documents has no cells."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        content = line.rstrip("\r").strip(" \t")
        is_apart = not content or content.startswith("-DOCSTART-")
        yield number, [] if is_apart else _SPACE.split(content)


def _row(cells: list[list[str]], num_columns: int) -> dict[str, Any]:
    words = {WORDS: [each[0] for each in cells]}
    return words if num_columns == 1 else {**words, TAGS: [each[-1] for each in cells]}
