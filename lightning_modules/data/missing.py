"""Words that programs write for a missing value, and that are read as any other word.

R writes `NA`, pandas `nan`, SQL `NULL` or a backslash and N, Excel `#N/A`. A label may be called so
too: only a person can tell. So they stay, and this is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from lightning_modules.data.table import Table

WORDS = frozenset(
    ("NA", "N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "\\N", "#N/A", "#NV", "#NAME?")
)


def missing_notes(tables: Sequence[Table], columns: Mapping[str, str]) -> Iterator[str]:
    """Yield what to say of cells that are such a word.

    Args:
        tables: The tables.
        columns: Column name by field.

    """
    names = list(dict.fromkeys(columns.values()))
    for table in tables:
        found: dict[str, Counter[str]] = {name: Counter() for name in names}
        for row in table.rows:
            for name in names:
                cell = row.get(name)
                if isinstance(cell, str) and cell in WORDS:
                    found[name][cell] += 1
        for column in names:
            for word, num in found[column].items():
                are, them = ("row has", "it") if num == 1 else ("rows have", "them")
                yield (
                    f"{table.path}: {num:,} {are} {word!r} as {column}, which is read as it is; "
                    f"if it says that a value is missing, remove {them}"
                )
