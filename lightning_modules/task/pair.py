"""The base of tasks that learn from pairs of answers: their rows, their scores, their mistakes.

Shapes: B pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightning_modules.error import DataError, Problem
from lightning_modules.model.dropout import disable_dropout
from lightning_modules.rows import cell
from lightning_modules.rows.cell import Refused
from lightning_modules.rows.corpus import Corpus, Row, normalized
from lightning_modules.task.base import MISTAKES, Baseline, Direction, Examples, Tables, Task
from lightning_modules.task.metric.pairwise import DIRECTIONS, guess, mistakes, pair_scores
from lightning_modules.text.chat import broken_rule, said
from lightning_modules.text.length import MAX_LENGTH, NO_LIMIT, Lengths
from lightning_modules.text.pair import asked, pair_of, refused_pair, text_of
from lightning_modules.text.template import TEXT, columns_in, notes_of
from lightning_modules.text.template import broken_rule as template_rule

if TYPE_CHECKING:
    from typing import Any

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PairTask(Task):
    """A task whose rows are pairs of answers to a prompt.

    Attributes:
        chosen: Column with the better answers.
        rejected: Column with the worse answers.
        template: The prompt for a question, with `{text}` in place of the question.
        system: The system message of conversations that have none, or None.
        chat_template: Jinja template that formats a list of messages, like transformers' chat
            templates; for tokenizers without one.

    """

    chosen: str
    rejected: str
    template: str
    system: str | None
    chat_template: str

    directions: ClassVar[Mapping[str, Direction]] = DIRECTIONS
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.conversation,
        "chosen": cell.spoken,
        "rejected": cell.spoken,
    }
    takes_apart: ClassVar[bool] = True
    writes_specials: ClassVar[bool] = True
    optional: ClassVar[frozenset[str]] = frozenset(("text",))

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from template_problems(self.template, self.chat_template)
        if self.system is not None and not self.system.strip():
            yield Problem("system", "must not be empty", self.system, "Set data.system=null.")

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return none; refuse a system message for rows that are no conversations."""
        for split, rows in corpus.splits.items():
            if self.system is not None and any(pair_of(row).is_plain for row in rows):
                rule = f"must be null for the texts of {split}, which are no conversations"
                fix = "Write it in task.template."
                raise DataError(Problem("data.system", rule, self.system, fix))
        return ()

    def check_row(self, row: Row) -> tuple[str, Refused] | None:
        return refused_pair(row)

    def text_of(self, row: Row) -> str:
        names = (name for name in self.cells if name in row)
        return "\n".join(text_of(row[name]) for name in names)

    def group(self, row: Row) -> str:
        """Return the prompt: all pairs of answers to it go to the same split."""
        return normalized(pair_of(row).texts[0]) or self.identity(row)

    def texts(self, row: Row) -> Iterator[str]:
        pair = pair_of(row)
        if pair.is_plain:
            yield asked(pair, self.template)
            yield from (pair.chosen, pair.rejected)
        else:
            yield self.system or ""
            for message in (*pair.prompt, *pair.chosen, *pair.rejected):
                yield from (message["role"], said(message))
            yield self.chat_template  # a vocabulary of characters must include the template's

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        pairs = [pair_of(row) for row in splits["train"]]
        if any(pair.is_plain and not pair.is_whole for pair in pairs):
            yield from notes_of(self.template)
        if equal := sum(pair.chosen == pair.rejected for pair in pairs):
            found = f"{equal} of {len(pairs)} training pairs"
            yield f"{found} have two equal answers, which teach nothing"
        spaced = sum(pair.is_plain and pair.chosen[:1].isspace() for pair in pairs)
        written = self.template.partition("{text}")[2][-1:].isspace()
        if 2 * spaced > len(pairs) and written and not pairs[0].is_whole:
            found = "answers start with a space, and task.template ends with one"
            yield f"{found}: set 'task.template=\"{{text}}\"' to write one alone"

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        columns = self.encode(rows, tokenizer, NO_LIMIT, labels)
        tokens = [len(ids) // 2 for ids in columns["input_ids"]]  # two texts, padded to one length
        yield Lengths(
            "pairs",
            MAX_LENGTH,
            tokens,
            "lose the middle of the prompt, then the end of the answers",
        )

    def configure_network(self, network: Any) -> None:
        """Turn dropout off: its noise would be in the difference of two rewards (as in TRL)."""
        disable_dropout(network)

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        values = self.values(observed)
        return {name: round(float(each.mean()), 6) for name, each in values.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        values: list[float] = self.values(observed)[self.metric].tolist()
        return values

    def values(self, observed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every metric of each pair."""
        names = ("reward_chosen_B", "reward_rejected_B", "loss_B")
        return pair_scores(*(observed[name] for name in names))

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        return {MISTAKES: mistakes(observed, [pair_of(row) for row in examples.rows])}

    def baseline(self, rows: Sequence[Row]) -> Baseline | None:
        return guess(self.metric, [pair_of(row).texts[1:] for row in rows])

    def constant_guess(self, examples: Examples) -> Baseline | None:
        return guess(self.metric)


def template_problems(template: str, chat_template: str) -> Iterator[Problem]:
    """Yield the rules that the templates of prompts break."""
    rule = template_rule(template)
    if columns_in(template) != (TEXT,):
        rule = "must hold {text} and no other column"
    if rule is not None:
        fix = "Write {text} in place of the question, e.g. 'Question: {text} Answer: '."
        yield Problem("template", rule, template, fix)
    if (rule := broken_rule(chat_template)) is not None:
        yield Problem("chat_template", rule, chat_template)
