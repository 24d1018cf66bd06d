"""Two training examples as the model will read them, with what of them is trained.

They come from the function that makes the training examples, `encode_training` of the task: what
is shown is what is trained. They are the first training row, and the longest of those counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_modules.model.light import NotLight
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.run import Run
from lightning_modules.text.shown import Shown
from search.plan.tokens import light_rows, sampled

CHARACTERS_PER_TOKEN = 10
"""Characters that are read per token of a packed text, of which only the start is needed."""


@dataclass(frozen=True)
class Example:
    """An example.

    Attributes:
        parts: What it consists of.
        num_tokens: Its tokens.
        tokenizer: What spells them.

    """

    parts: tuple[Shown, ...]
    num_tokens: int
    tokenizer: Any

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON: its pieces by part, or a part's text."""
        return {
            part.name: [
                {"text": piece.text, "trained": piece.is_trained, "special": piece.is_special}
                for piece in part.pieces(self.tokenizer)
            ]
            if part.ids
            else part.text
            for part in self.parts
        }


def examples_of(run: Run, corpus: Corpus, labels: Sequence[str]) -> list[Example]:
    """Return two examples; none if the tokenizer is not here, or nothing is trained.

    Raises:
        UserError: The rows do not fit the run.

    """
    if not run.strategy.trains:
        return []
    rows = corpus.splits["train"]
    chosen = _chosen(run, rows)
    found = light_rows(run, corpus, chosen)
    if found is None:
        return []
    tokenizer, prepared = found
    try:
        columns = run.task.encode_training(prepared, tokenizer, run.data.max_length, labels)
    except NotLight:  # `token_lines` says it
        return []
    numbers = columns.get("row", range(len(columns["input_ids"])))
    firsts = [n for n, row in enumerate(numbers) if n == 0 or row != numbers[n - 1]][:2]
    if len(firsts) < 2:
        firsts = list(range(min(2, len(columns["input_ids"]))))
    return [
        Example(
            tuple(run.task.shown(columns, n, prepared[min(numbers[n], len(prepared) - 1)])),
            len(columns["input_ids"][n]),
            tokenizer,
        )
        for n in firsts
    ]


def _chosen(run: Run, rows: Sequence[Row]) -> list[Row]:
    def characters(row: Row) -> int:
        return sum(map(len, run.task.texts(row)))

    if run.task.may_cut(rows[0]):
        longest = max(sampled(rows, characters), key=characters)
        return [rows[0], longest]
    size = 2 * CHARACTERS_PER_TOKEN * run.data.max_length
    kept: list[Row] = []
    for row in rows:
        kept.append({**row, "text": row["text"][:size]})
        if sum(map(characters, kept)) > size:
            break
    return kept
