"""Texts as the inputs and targets of a causal language model.

A document of tokens t_1 ... t_n has the inputs begin, t_1, ..., t_n and the targets t_1, ..., t_n,
end. For a question with its answer, only the answer's tokens and the end are targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lightning_modules.batch.type import IGNORED
from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.model.plain import Reader, unmarked
from lightning_modules.text.chat import Chat, Exchange
from lightning_modules.text.packing import Document
from lightning_modules.text.shorten import Parts, shortened


class Marks:
    """A tokenizer, with the tokens that start and end a text.

    A text starts with the tokenizer's start token, or with its end token if it has none, so that
    the text's own first token is predicted, too.

    Attributes:
        end: The token that ends a text.
        begin: The token that starts one.
        reader: Reads what templates made of texts.

    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.reader = Reader(tokenizer)
        ends = (tokenizer.eos_token_id, tokenizer.sep_token_id)
        self.end: int = next((end for end in ends if end is not None), -1)
        if self.end < 0:
            rule = "the tokenizer must have an end token"
            fix = "Save the tokenizer with an eos_token."
            raise DataError(Problem("model", rule, Verbatim("none"), fix))
        begins = (tokenizer.bos_token_id, tokenizer.cls_token_id, self.end)
        self.begin: int = next(begin for begin in begins if begin is not None)

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text; special ones are read where a template wrote them.

        Users' texts are marked before (`lightning_modules.model.plain`).
        """
        return self.reader.read(text)[0]

    def ended(self, ids: list[int]) -> list[int]:
        """Return the tokens of an answer up to its end token, which is added if it is missing.

        Those of a chat template's answer end with the last one that the template writes.
        """
        if self.end not in ids:
            return [*ids, self.end]
        return ids[: len(ids) - ids[::-1].index(self.end)]

    def document(self, text: str, marked: str | None = None) -> Document:
        """Return a text whose tokens are all targets; `marked` is what a template made of it."""
        ids = self.ids(self.reader.mark(text) if marked is None else marked)
        inputs, targets = [self.begin, *ids], [*ids, self.end]
        return Document(inputs, targets, len(text), len(text.encode()))

    def answered(
        self, exchange: Exchange, max_length: int, *, is_plain: bool
    ) -> tuple[Document, int]:
        """Return a question with its answer as targets, and the number of tokens of the question.

        If both are too long, each keeps at least half of `max_length`: the question loses the
        middle of its texts (`lightning_modules.text.shorten`), the answer its end.

        Args:
            exchange: The question and the answer.
            max_length: Most tokens of both.
            is_plain: Whether they come without a chat template, and need the start token.

        """
        # A chat template may write more after the end token.
        ids = self.ids(exchange.answer)
        answer = self.ended(ids)
        size = max(max_length + 1 - len(answer), max_length // 2)
        prompt = self.prompt(exchange.question, exchange.parts, size, max_length, is_plain=is_plain)
        targets = answer[: max_length + 1 - len(prompt)]
        inputs = [*prompt, *targets][:-1]
        masked = [IGNORED] * (len(prompt) - 1) + targets
        content = unmarked(exchange.content)
        if len(targets) < len(answer):
            content = self._tokenizer.decode(
                targets, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return Document(inputs, masked, len(content), len(content.encode())), len(prompt)

    def prompt(self, text: str, parts: Parts, size: int, most: int, *, is_plain: bool) -> list[int]:
        """Return the tokens of a prompt, at most `size` unless its frame alone has more.

        Args:
            text: The prompt.
            parts: What of it may be cut.
            size: Most tokens.
            most: Most tokens of its template and its system prompt.
            is_plain: Whether it comes without a chat template, and needs the start token.

        Raises:
            DataError: Its template and its system prompt alone are longer.

        """
        begin = [self.begin] if is_plain else []
        sizes = size - len(begin), most - len(begin)
        return [*begin, *shortened(self.reader, text, parts, *sizes)]

    def cut(self, document: Document, length: int) -> Document:
        """Return the document's first `length` pairs of input and target."""
        if len(document.inputs) <= length:
            return document
        inputs, targets = document.inputs[:length], document.targets[:length]
        text = self._tokenizer.decode(targets, clean_up_tokenization_spaces=False)
        return Document(inputs, targets, len(text), len(text.encode()))

    def chat(self, default: str) -> Chat:
        """Return the tokenizer's chat template, or `default` if it has none."""
        end = self._tokenizer.convert_ids_to_tokens(self.end)
        return Chat(self._tokenizer, default, end)


def columns_of(
    documents: Sequence[Document], rows: Sequence[int], prompt_lengths: Sequence[int]
) -> dict[str, list[Any]]:
    """Return the documents as columns of examples, one example per document."""
    return {
        "input_ids": [list(document.inputs) for document in documents],
        "labels": [list(document.targets) for document in documents],
        "num_characters": [document.num_characters for document in documents],
        "num_bytes": [document.num_bytes for document in documents],
        "prompt_length": list(prompt_lengths),
        "row": list(rows),
    }


def runs_of_targets(targets: Sequence[int]) -> list[int]:
    """Return the number of tokens of each answer in an example.

    >>> runs_of_targets([IGNORED, 5, 6, IGNORED, 7])
    [2, 1]
    """
    groups = groupby(targets, key=lambda target: target != IGNORED)
    return [len(list(group)) for is_answer, group in groups if is_answer]
