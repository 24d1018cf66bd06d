"""How a file is written: what the user says of it, and `auto` for what is found out."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem

AUTO = "auto"
BY_ENDING = "ending"
"""A comma in .csv, a tab in .tsv: what studies of earlier versions read."""

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}
"""Delimiter by its name; `data.delimiter` takes both."""
QUOTINGS = ("none", "double", "single", "escaped", "backslash")
r"""No quotes; `"` with `""` for a quote in a cell; `'` likewise; `"` with a backslash before it; no
quotes, and `\t`, `\n`, `\\` and `\N` as PostgreSQL and MySQL write them."""
NAMES, NO_NAMES = "names", "none"


@dataclass(frozen=True)
class Form:
    """How files are written.

    Attributes:
        delimiter: `auto`, `ending`, or a delimiter by name or as it is.
        quoting: `auto` or one of `QUOTINGS`.
        header: `auto`; `names` if the first row has the columns' names; `none` if it is a row.
        encoding: `auto`, or an encoding that Python knows.
        columns: The columns' names in the order of the file; None takes those of the file.
        prefix: What stands before these keys in messages.

    """

    delimiter: str = AUTO
    quoting: str = AUTO
    header: str = AUTO
    encoding: str = AUTO
    columns: Sequence[str] | None = None
    prefix: str = "data."

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the settings; `where` is the name of one."""
        known = (AUTO, BY_ENDING, *DELIMITERS, *DELIMITERS.values(), "\\t")
        if self.delimiter not in known:
            rule = f"must be auto, {', '.join(DELIMITERS)}, or the character"
            yield Problem("delimiter", rule, self.delimiter)
        if self.quoting not in (AUTO, *QUOTINGS):
            yield Problem("quoting", f"must be auto, {', '.join(QUOTINGS)}", self.quoting)
        if self.header not in (AUTO, NAMES, NO_NAMES):
            rule = "must be auto, names (the first row has them) or none"
            yield Problem("header", rule, self.header)
        if self.encoding != AUTO and not _is_encoding(self.encoding):
            fix = f"E.g. {self.prefix}encoding=cp1252."
            yield Problem("encoding", "must be an encoding that Python knows", self.encoding, fix)
        names = self.columns
        if names is not None and (not names or len(set(names)) < len(names) or "" in names):
            rule = "must be different names, in the order of the file"
            yield Problem("columns", rule, list(names), f"E.g. {self.prefix}columns=[label,text].")

    @property
    def delimiter_character(self) -> str | None:
        """The delimiter; None if it is to be found, or follows from the file's ending."""
        if self.delimiter in (AUTO, BY_ENDING):
            return None
        return "\t" if self.delimiter == "\\t" else DELIMITERS.get(self.delimiter, self.delimiter)


def _is_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False
