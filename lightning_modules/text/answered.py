"""The examples of a row with answers: one per conversation that fits, else one per answer."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import Any

from lightning_modules.batch.type import IGNORED
from lightning_modules.model.plain import Reader, unmarked
from lightning_modules.rows.corpus import Row
from lightning_modules.text.causal import Marks
from lightning_modules.text.chat import ASSISTANT, Chat, Exchange, contents
from lightning_modules.text.conversation import Conversation, OnePass
from lightning_modules.text.packing import Document
from lightning_modules.text.shorten import SYSTEM, Parts, parts_of_messages
from lightning_modules.text.template import ASKED, TEXT, written

DOCUMENT = "{text}"
NUM_CHECKED = 100


class Conversations(Enum):
    """How conversations become examples."""

    whole = "whole"
    """One example each, with the loss on all answers. The answers that do not fit into
    `data.max_length`, and those of a template that writes earlier answers in another way than the
    last one, are examples of their own."""
    turns = "turns"
    """One example per answer, with everything before it as the question."""


@dataclass(frozen=True)
class Answered:
    """An example.

    Attributes:
        document: Its tokens; only answers are targets.
        prompt_length: Tokens before its last answer.
        question: The text of these tokens.
        content: The last answer without the template.

    """

    document: Document
    prompt_length: int
    question: str
    content: str


@dataclass(frozen=True)
class Answers:
    """Makes examples of rows with answers.

    Attributes:
        tokenizer: The tokenizer.
        template: The prompt for a question that is a text (`lightning_modules.text.template`).
        chat_template: For tokenizers without one.
        conversations: How conversations become examples.
        system: The system message of conversations that have none, or None.
        max_length: Most tokens of an example; None does not limit them.

    """

    tokenizer: Any
    template: str
    chat_template: str
    conversations: Conversations
    system: str | None
    max_length: int | None

    def of(self, row: Row) -> Iterator[Answered]:
        """Yield the examples of a row; raises like `Chat.exchanges`."""
        row = marked(row, self._marks.reader)
        text, tools = row["text"], row.get("text_pair", ())
        if isinstance(text, str):
            question, parts = asked(row, self.template)
            exchange = Exchange(question, row["label"], row["label"], parts)
            yield self._exchange(exchange, is_plain=True)
        elif "label" in row:
            answered = [*led(text, self._system), {"role": ASSISTANT, "content": row["label"]}]
            yield self._exchange(self._chat.exchange(answered, tools), is_plain=False)
        else:
            yield from self._of_conversation(self._conversation(row))

    def prompt(self, row: Row, *, is_question: bool) -> list[int]:
        """Return the tokens of what is asked, up to where the answer starts, as in training.

        Args:
            row: A row with or without an answer.
            is_question: Whether a text is a question, rather than the start of a document.

        """
        row = marked(row, self._marks.reader)
        text = row["text"]
        if isinstance(text, str):
            question, parts = asked(row, self.template if is_question else DOCUMENT)
            return self._marks.prompt(question, parts, self._most, self._most, is_plain=True)
        messages = led(text[:-1] if text[-1]["role"] == ASSISTANT else text, self._system)
        question = self._chat.question(messages, row.get("text_pair", ()))
        parts = parts_of_messages(question, messages)
        return self._marks.prompt(question, parts, self._most, self._most, is_plain=False)

    def notes(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield a warning if conversations cannot be one example each; looks at the first ones."""
        talks = (row for row in rows if not isinstance(row["text"], str) and "label" not in row)
        some = [self._conversation(row) for row in islice(talks, NUM_CHECKED)]
        if self.conversations is Conversations.turns or not some:
            return
        if not self._can_mark:
            yield "the tokenizer does not say where a token's text is: each answer is an example"
            return
        apart = sum(not each.is_one_pass for each in some)
        if apart:
            yield (
                "the chat template writes earlier answers in another way than the last one: in "
                f"{apart} of the first {len(some)} conversations, answers are examples of their own"
            )

    def _of_conversation(self, conversation: Conversation) -> Iterator[Answered]:
        num_done = 0
        if self.conversations is Conversations.whole and self._can_mark:
            for each in conversation.passes():
                found = self._one_pass(each)
                if len(found.document.inputs) <= self._most:
                    yield found
                    num_done = each.num_messages
                    break
        for exchange in conversation.exchanges(num_done):
            yield self._exchange(exchange, is_plain=False)

    def _exchange(self, exchange: Exchange, *, is_plain: bool) -> Answered:
        # A chat template writes the start token itself.
        document, length = self._marks.answered(exchange, self._most, is_plain=is_plain)
        return Answered(document, length, unmarked(exchange.question), unmarked(exchange.content))

    def _one_pass(self, one: OnePass) -> Answered:
        ids, spans = self._marks.reader.read(one.text)
        assert spans is not None
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        targets = [IGNORED] * len(ids)
        for start, end in one.answers:
            part = slice(bisect_right(ends, start), bisect_left(starts, end))
            targets[part] = ids[part]
        length = bisect_left(starts, one.question_end)
        if self._marks.end not in targets[length:]:
            # Else the network would never learn to stop.
            ids, targets = [*ids, self._marks.end], [*targets, self._marks.end]
        contents = [unmarked(each) for each in one.contents]
        num_characters = sum(map(len, contents))
        num_bytes = sum(len(each.encode()) for each in contents)
        document = Document(ids[:-1], targets[1:], num_characters, num_bytes)
        return Answered(document, length, unmarked(one.text[: one.question_end]), contents[-1])

    def _conversation(self, row: Row) -> Conversation:
        messages = led(row["text"], self._system)
        return Conversation(self._chat, messages, row.get("text_pair", ()))

    @property
    def _can_mark(self) -> bool:
        return bool(self.tokenizer.is_fast)

    @property
    def _most(self) -> int:
        return sys.maxsize if self.max_length is None else self.max_length

    @cached_property
    def _system(self) -> str | None:
        system: str | None = self._marks.reader.mark(self.system)
        return system

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.tokenizer)

    @cached_property
    def _chat(self) -> Chat:
        return self._marks.chat(self.chat_template)


def has_answers(row: Row) -> bool:
    """Return whether a row has something to answer: a question's answer, or a conversation's."""
    return "label" in row or not isinstance(row["text"], str)


def target_text(row: Row) -> str:
    """Return the text of a row that a network learns to write: its answers, or the whole text."""
    if "label" in row or isinstance(row["text"], str):
        return str(row.get("label", row["text"]))
    return contents([message for message in row["text"] if message["role"] == ASSISTANT])


def asked(row: Row, template: str) -> tuple[str, Parts]:
    """Return the prompt of a row whose text is a question, and what of it may be cut.

    Args:
        row: The row; it may have the cells of several columns, with a template of its own.
        template: The template of a question that has only a text.

    """
    given = row.get(ASKED) or {"template": template, "cells": {TEXT: row["text"]}}
    prompt, texts = written(given["template"], given["cells"])
    return prompt, Parts(texts, texts[0][0] if texts else len(prompt))


def marked(row: Row, reader: Reader) -> Row:
    """Return a row whose texts are marked; its template keeps its special tokens."""
    found: Row = reader.mark(row)
    if (given := row.get(ASKED)) is None:
        return found
    return {**found, ASKED: {**given, "cells": found[ASKED]["cells"]}}


def led(messages: Sequence[dict[str, Any]], system: str | None) -> Sequence[dict[str, Any]]:
    """Return messages after a system message, unless they have one of their own."""
    if system is None or (messages and messages[0]["role"] in SYSTEM):
        return messages
    return [{"role": SYSTEM[0], "content": system}, *messages]
