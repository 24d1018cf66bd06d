"""Column files of tagged words, in the format of the CoNLL shared tasks.

One word per line and a blank line between sentences. Columns are separated by spaces or tabs; the
first holds the word, the last its tag:

    EU NNP B-ORG
    rejects VBZ O

`-DOCSTART-` lines, which separate documents, are skipped (Tjong Kim Sang and De Meulder 2003), and
comments: lines that begin with # and are no row of the columns. Columns between the two have their
number as name, counted from 1, unless `columns` names all. Files of Universal Dependencies
(CoNLL-U) are known by their ten columns; ranges of words and empty nodes are skipped. Files of
GermEval 2014 are known by the number, the word and two tags, of outer and inner entities, in each
line (Benikova et al. 2014):

    1 Universität B-ORG O
    2 Rostock I-ORG B-LOC
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from lightning_modules.data.file.form import Form
from lightning_modules.data.table import Table, raise_first
from lightning_modules.error import ConfigError, Problem, Verbatim

WORDS, TAGS = "tokens", "ner_tags"
UNIVERSAL = (
    *("id", WORDS, "lemmas", "upos_tags", "xpos_tags", "feats", "heads", "deprels", "deps", "misc"),
)
NESTED = ("id", WORDS, TAGS, "inner_tags")
_FIX = "Write each line as a word, spaces or tabs, and a tag; a blank line ends a sentence."
# Other Unicode spaces may be part of a word.
_SPACE = re.compile(r"[ \t]+")
_TAG = re.compile(r"[A-Z]-\S+")  # of an entity, e.g. B-hashtag
_IOB = re.compile(r"O|[BI]-\S+")
_ID, _NO_WORD = re.compile(r"\d+"), re.compile(r"\d+[-.]\d+")

Line = tuple[int, list[str]]
"""A line's number and cells; a line between sentences or documents has none."""


def read_conll(path: Path, text: str, form: Form) -> Table:
    """Return the sentences: a list for each column.

    Raises:
        ConfigError: `columns` does not fit the file.
        DataError: A line has a different number of columns than the first.

    """
    found, num_comments = _without_comments(list(_lines(text, _SPACE.split)))
    if len(_widths(found)) > 1:
        # Words may hold spaces if all columns are separated by tabs.
        by_tabs = _without_comments(list(_lines(text, _at_tabs)))
        if len(_widths(by_tabs[0])) == 1 and max(_widths(by_tabs[0])) > 1:
            found, num_comments = by_tabs
    num_columns = next((len(cells) for _, cells in found if cells), 1)
    raise_first(
        [
            Problem(
                f"{path}:{line}",
                f"must have {num_columns} columns, like the first line",
                len(cells),
                _FIX,
            )
            for line, cells in found
            if cells and len(cells) != num_columns
        ]
    )
    if _known(found, num_columns) == UNIVERSAL:
        found = [each for each in found if not (each[1] and _NO_WORD.fullmatch(each[1][0]))]
    names = _names(path, num_columns, form, _known(found, num_columns))
    rows, lines = [], []
    for is_sentence, group in groupby(found, key=lambda each: bool(each[1])):
        if is_sentence:
            members = list(group)
            lines.append(members[0][0])
            columns = zip(*(cells for _, cells in members), strict=True)
            rows.append({name: list(cells) for name, cells in zip(names, columns, strict=True)})
    notes = []
    if num_comments:
        are = "line that begins with # was" if num_comments == 1 else "lines that begin with # were"
        notes.append(f"{path}: {num_comments} {are} skipped as comments")
    return Table(path, names, rows, lines, notes=tuple(notes))


def _known(lines: Sequence[Line], num_columns: int) -> Sequence[str] | None:
    """Return the names of the columns of a format whose lines begin with the number of the word."""
    rows = [cells for _, cells in lines if cells]
    if not all(_ID.match(cells[0]) for cells in rows):
        return None
    if num_columns == len(UNIVERSAL):
        return UNIVERSAL
    is_nested = num_columns == len(NESTED) and all(
        _IOB.fullmatch(tag) for cells in rows for tag in cells[2:]
    )
    return NESTED if is_nested else None


def _names(path: Path, num_columns: int, form: Form, known: Sequence[str] | None) -> list[str]:
    if form.columns is not None:
        if len(form.columns) != num_columns:
            rule = f"must name each of the {num_columns} columns of {path}"
            got = Verbatim(f"{len(form.columns)}: {', '.join(form.columns)}")
            raise ConfigError(Problem(f"{form.prefix}columns", rule, got))
        return list(form.columns)
    if known is not None:
        return list(known)
    between = [str(number) for number in range(2, num_columns)]
    return [WORDS, *between, TAGS] if num_columns > 1 else [WORDS]


def _lines(text: str, split: Callable[[str], list[str]]) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.rstrip("\r").strip(" \t")
        is_apart = not content or content.startswith("-DOCSTART-")
        yield number, [] if is_apart else split(content)


def _at_tabs(line: str) -> list[str]:
    return [cell.strip(" ") for cell in line.split("\t")]


def _without_comments(lines: Sequence[Line]) -> tuple[list[Line], int]:
    """Return the lines without comments, and the number of those.

    A word may begin with # too: then its line has the columns of the others, and a tag of theirs
    or one of an entity.
    """
    others = [cells for _, cells in lines if cells and not cells[0].startswith("#")]
    usual = Counter(map(len, others)).most_common(1)
    if not usual:
        return list(lines), 0
    num_columns = usual[0][0]
    tags = {cells[-1] for cells in others}
    kept: list[Line] = []
    num_comments = 0
    for number, cells in lines:
        is_alike = len(cells) == num_columns
        is_row = is_alike and (num_columns == 1 or cells[-1] in tags or _is_tagged(cells))
        if cells and cells[0].startswith("#") and not is_row:
            num_comments += 1
        else:
            kept.append((number, cells))
    return kept, num_comments


def _is_tagged(cells: Sequence[str]) -> bool:
    """Return whether a line is a word with a tag, e.g. "#oslo B-hashtag"."""
    return cells[0] != "#" and _TAG.fullmatch(cells[-1]) is not None


def _widths(lines: Sequence[Line]) -> set[int]:
    return {len(cells) for _, cells in lines if cells}
