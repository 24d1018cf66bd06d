"""Find the dialect of a delimited file, and say how sure that is.

A dialect fits if it gives each row the same number of cells. Often two fit: a text that begins with
a quote can be a quoted cell with line breaks, which takes the rows after it into itself, or a row
like all others of a file without quoting (GLUE, UCI). Then the values decide: lines within the cell
that have, in a column with few values, one that other rows have too, are rows. What stays in doubt
is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lightning_modules.data.file import backslash
from lightning_modules.data.file.dialect import (
    DOUBLE,
    SINGLE,
    Cut,
    Dialect,
    cut,
    used_length,
)
from lightning_modules.data.file.form import AUTO, NO_NAMES, Form
from lightning_modules.error import DataError, Problem, Verbatim

COMMA, TAB, SPACE = ",", "\t", " "
SAMPLE_SIZE = 250_000
"""Characters that the delimiter is looked for in; quotes are looked at in the whole text."""
ROW_LIKE = 0.5
"""Share of a quoted cell's lines that may look like rows, if it is one cell."""
MIN_SHARE = 0.9
SURE = "sure"
SEVERAL = "likely: other delimiters fit too"
WITHIN_QUOTES = "likely: cells are within quotes, which are taken off"
_QUOTES = {"none": None, "double": DOUBLE, "single": SINGLE, "escaped": DOUBLE, "backslash": None}
_USUAL = {".csv": COMMA, ".tsv": TAB, ".tab": TAB}


@dataclass(frozen=True)
class Found:
    """The rows of a text, and how sure their dialect is, in words."""

    cut: Cut
    sure: str


def find_rows(text: str, form: Form, name: str, ending: str, wanted: Sequence[str] = ()) -> Found:
    """Return the rows of a text in the dialect that is given or found.

    Args:
        text: The text.
        form: What the user says of it.
        name: What messages call the file.
        ending: The file's ending, e.g. ".csv"; decides if several delimiters fit.
        wanted: Names that one of the columns should have.

    Raises:
        DataError: Two readings fit, and nothing tells which one is meant.

    """
    finder = _finder(text, form, name, ending, wanted)
    delimiter, is_alone = finder.delimiter()
    found = finder.quoting(delimiter)
    return found if is_alone or found.sure != SURE else replace(found, sure=SEVERAL)


def find_delimiter(
    text: str, form: Form, name: str, ending: str, wanted: Sequence[str] = ()
) -> tuple[str, bool]:
    """Return the delimiter of a text, and whether no other one fits; arguments like `find_rows`.

    Only the first `SAMPLE_SIZE` characters are looked at, so the rest of the text may be missing.
    """
    return _finder(text, form, name, ending, wanted).delimiter()


def _finder(text: str, form: Form, name: str, ending: str, wanted: Sequence[str]) -> _Finder:
    return _Finder(text, form, name, _USUAL.get(ending, TAB), tuple(wanted))


@dataclass(frozen=True)
class _Finder:
    text: str
    form: Form
    name: str
    usual: str
    wanted: tuple[str, ...]

    @property
    def num_named(self) -> int | None:
        return None if self.form.columns is None else len(self.form.columns)

    @property
    def _num_head(self) -> int:
        return int(self.form.header != NO_NAMES and self.form.columns is None)

    def delimiter(self) -> tuple[str, bool]:
        """Return the delimiter, and whether no other one fits."""
        given = self.form.delimiter_character
        if given is not None:
            return given, True
        if self.form.delimiter != AUTO:
            return self.usual, True
        sample = self.text[:SAMPLE_SIZE]
        if len(sample) < len(self.text):
            sample = sample[: sample.rfind("\n") + 1] or sample
        others = [each for each in (TAB, COMMA, ";", "|") if each != self.usual]
        scores = {each: self._score(sample, each) for each in (self.usual, *others)}
        best = max(scores, key=lambda each: scores[each])  # the first of equal ones
        if scores[best][1] < MIN_SHARE and self._fits_spaces(sample):
            return SPACE, True
        if not scores[best][2]:  # one cell a row
            return self.usual, True
        return best, sum(score[1] == 1 and score[2] for score in scores.values()) == 1

    def _score(self, sample: str, delimiter: str) -> tuple[bool, float, bool]:
        """Return whether the wanted names are there, the share of rows that fit, and if cut."""
        best = (False, 0.0, False)
        for quote in (DOUBLE, None, SINGLE):
            found = cut(sample, Dialect(delimiter, quote))
            if not found.rows:
                continue
            if len(sample) < len(self.text) and found.error is not None:
                found = replace(found, error=None)
            names = {cell.strip() for cell in found.rows[0]}
            is_cut = max(found.lengths) > 1 and used_length(found.rows[0]) > 1
            has_names = bool(self.wanted) and is_cut and names >= set(self.wanted)
            best = max(best, (has_names, found.share(self.num_named) if is_cut else 0.0, is_cut))
        return best

    def _fits_spaces(self, sample: str) -> bool:
        if self.num_named is None and self.form.quoting == AUTO:
            return sample.startswith(DOUBLE) and any(
                max(found.lengths, default=0) > 1 and self._fits(found)
                for found in self._quoted_at_spaces(sample)
            )
        if self.num_named is None or self.num_named < 2 or self.form.quoting not in (AUTO, "none"):
            return False
        return cut(sample, self._dialect(SPACE, None)).share(self.num_named) >= MIN_SHARE

    def _quoted_at_spaces(self, text: str) -> Iterator[Cut]:
        """Yield the readings of R's `write.table`: with a backslash or a quote before quotes."""
        for is_escaped in (True, False):
            yield cut(text, Dialect(SPACE, DOUBLE, is_escaped=is_escaped))

    def _dialect(self, delimiter: str, quote: str | None, *, is_escaped: bool = False) -> Dialect:
        """Return a dialect; after a space, the last column takes the rest of the line."""
        num_cells = self.num_named if delimiter == SPACE and quote is None else None
        return Dialect(delimiter, quote, is_escaped, num_cells)

    def quoting(self, delimiter: str) -> Found:
        """Return the rows in the quoting that is given or found."""
        given = self.form.quoting
        if given != AUTO:
            is_escaped = given in ("escaped", "backslash")
            dialect = self._dialect(delimiter, _QUOTES[given], is_escaped=is_escaped)
            return Found(cut(self.text, dialect), SURE)
        none = self._cut(delimiter, None)
        return self._backslash(delimiter, none) or self._found_quoting(delimiter, none)

    def _found_quoting(self, delimiter: str, none: Cut) -> Found:
        if delimiter == SPACE:
            quoted = () if self.num_named is not None else self._quoted_at_spaces(self.text)
            return Found(next(filter(self._fits, quoted), none), SURE)
        if SINGLE in self.text:
            single = self._cut(delimiter, SINGLE)
            if self._fits(single) and (not self._fits(none) or _quotes_columns(none, SINGLE)):
                return Found(single, "likely")
        double = self._cut(delimiter, DOUBLE)
        if DOUBLE in self.text and self._fits(none) and self._fits(double):
            return self._either(double, none, is_tab=delimiter == TAB)
        if DOUBLE not in self.text or self._fits(double):
            return Found(double, SURE)
        return (
            self._without_quotes(delimiter, none) or self._escaped(delimiter) or Found(double, SURE)
        )

    def _without_quotes(self, delimiter: str, none: Cut) -> Found | None:
        """Return the rows if only a file without quoting can have them."""
        is_usual = delimiter == TAB and self._fits(none)
        return Found(none, "sure: its quotes are in no pairs") if is_usual else None

    def _backslash(self, delimiter: str, none: Cut) -> Found | None:
        """Return the rows if they are written as by PostgreSQL."""
        if delimiter != TAB or not backslash.is_escaped(none.rows):
            return None
        escaped = cut(self.text, self._dialect(delimiter, None, is_escaped=True))
        return (
            Found(escaped, f"likely: cells are {backslash.NONE}") if self._fits(escaped) else None
        )

    def _escaped(self, delimiter: str) -> Found | None:
        if "\\" not in self.text:
            return None
        escaped = cut(self.text, Dialect(delimiter, DOUBLE, is_escaped=True))
        return Found(escaped, "likely") if self._fits(escaped) else None

    def _cut(self, delimiter: str, quote: str | None) -> Cut:
        return cut(self.text, self._dialect(delimiter, quote))

    def _fits(self, found: Cut) -> bool:
        return found.error is None and found.share(self.num_named) == 1

    def _either(self, double: Cut, none: Cut, *, is_tab: bool) -> Found:
        """Choose between two readings that both fit."""
        if double.rows == none.rows:
            return Found(double, SURE)
        if len(double.rows) == len(none.rows):
            if not is_tab or _needs_quotes(none) or _quotes_columns(none, DOUBLE):
                return Found(double, WITHIN_QUOTES if is_tab else SURE)
            return Found(none, "likely: few cells are within quotes, which stay")
        head = self._num_head
        counts = f"{len(double.rows) - head:,} rows with quotes, {len(none.rows) - head:,} without"
        alike = self._row_like(double, none)
        if alike == 1:
            return Found(none, f"likely: {counts}")
        if alike is not None and alike <= ROW_LIKE:
            return Found(double, f"likely: {counts}")
        if alike is None and not is_tab:
            return Found(double, f"likely: {counts}")
        fix = f"Set {self.form.prefix}quoting=none or {self.form.prefix}quoting=double."
        rule = "must be quoted in one way only"
        raise DataError(Problem(self.name, rule, Verbatim(counts), fix))

    def _row_like(self, double: Cut, none: Cut) -> float | None:
        """Return the share of the lines in quoted cells that have a value of the other rows.

        None if no column has few values.
        """
        within = {
            line
            for start, end in zip(double.lines, double.ends, strict=True)
            if end > start
            for line in range(start, end + 1)
        }
        numbered = list(zip(none.lines, none.rows, strict=True))
        numbered = numbered[self._num_head :]
        outside = [row for line, row in numbered if line not in within]
        inside = [row for line, row in numbered if line in within]
        few = list(_few_values(outside))
        if not few or not inside:
            return None
        alike = sum(any(row[n : n + 1] and row[n] in values for n, values in few) for row in inside)
        return alike / len(inside)


def _few_values(rows: Sequence[Sequence[str]]) -> Iterator[tuple[int, set[str]]]:
    """Yield each column that has few values, with them."""
    for number in range(min(map(len, rows), default=0)):
        values = {row[number] for row in rows}
        filled = {value for value in values if value.strip()}
        if filled and len(values) <= max(2, len(rows) // 3) and len(values) < len(rows):
            yield number, filled


def _needs_quotes(none: Cut) -> bool:
    """Return whether cells are written as by a program that quotes where it must."""
    inner = list(_within(_cells(none), DOUBLE))
    others = (cell for cell in _cells(none) if DOUBLE in cell and not _is_within(cell, DOUBLE))
    has_doubled = any(DOUBLE * 2 in cell or not cell for cell in inner)
    is_proper = all(DOUBLE not in cell.replace(DOUBLE * 2, "") for cell in inner)
    return has_doubled and is_proper and next(others, None) is None


def _quotes_columns(none: Cut, quote: str) -> bool:
    """Return whether a column is within quotes in all rows, except for empty cells."""
    rows = none.rows
    if len(rows) < 2:
        return False
    for number in range(min(none.lengths)):
        column = [row[number] for row in rows[1:] if row[number]]
        if len(column) >= 2 and all(_is_within(cell, quote) for cell in column):
            return True
    return False


def _cells(found: Cut) -> Iterator[str]:
    return (cell for row in found.rows for cell in row)


def _within(cells: Iterable[str], quote: str) -> Iterator[str]:
    return (cell[1:-1] for cell in cells if _is_within(cell, quote))


def _is_within(cell: str, quote: str) -> bool:
    return len(cell) >= 2 and cell[0] == quote == cell[-1]
