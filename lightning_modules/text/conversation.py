"""A conversation in one pass: one text, of which every answer of the assistant is a target.

A template that marks what the assistant writes (`{% generation %}`) says itself what the targets
are. For any other, an answer is what the text has more than its question, i.e. the same messages up
to the answer with the start of an answer after them:

    answer_k = text(m_1 ... m_k) - question(m_1 ... m_{k-1}),  including the end of the message,

which holds if each text(m_1 ... m_k) is a beginning of the whole text. Templates that write earlier
answers in another way than the last one, e.g. without their thinking, break this: their
conversations cannot be trained in one pass.

With marks the targets are those of TRL's SFTTrainer with assistant_only_loss; without marks those
of the marked template that it takes instead, for a template of which it knows one.
Cost: two renderings per answer, and one text of all tokens in place of one per answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lightning_modules.text.chat import ASSISTANT, Chat, Exchange, Messages, Tools, said

Span = tuple[int, int]
"""Start and end in characters, with the end excluded."""


@dataclass(frozen=True)
class OnePass:
    """A conversation up to one of its answers, as one text.

    Attributes:
        text: The text.
        answers: What of it the assistant wrote.
        question_end: Where the question of the last answer ends, and an answer would start.
        contents: The answers without the template.
        num_messages: How many messages it has.

    """

    text: str
    answers: tuple[Span, ...]
    question_end: int
    contents: tuple[str, ...]
    num_messages: int


class Conversation:
    """A list of messages under a chat template."""

    def __init__(self, chat: Chat, messages: Messages, tools: Tools = ()) -> None:
        self._chat = chat
        self._messages = messages
        self._tools = tools
        self._places = [n for n, each in enumerate(messages) if each["role"] == ASSISTANT]

    @property
    def is_one_pass(self) -> bool:
        """Whether all its answers can be targets of one text."""
        return self._one_pass(self._places) is not None

    def passes(self) -> Iterator[OnePass]:
        """Yield the conversation up to its last answer, up to the one before it, and so on.

        Those that cannot be one pass are left out.
        """
        for number in range(len(self._places), 0, -1):
            found = self._one_pass(self._places[:number])
            if found is not None:
                yield found

    def exchanges(self, start: int = 0) -> Iterator[Exchange]:
        """Yield the answers from message number `start` on, each with everything before it."""
        for place in self._places:
            if place >= start:
                yield self._chat.exchange(self._messages[: place + 1], self._tools)

    def _one_pass(self, places: list[int]) -> OnePass | None:
        last = places[-1]
        text, question = self._texts[last], self._questions[last]
        starts = text.startswith(question)
        spans: list[Span] | None
        if self._chat.has_marks(self._tools):
            spans = self._chat.marked(self._messages[: last + 1], self._tools)[1]
        else:
            spans = self._spans(text, places)
        if not spans:
            return None
        contents = tuple(said(self._messages[place]) for place in places)
        question_end = len(question) if starts else spans[-1][0]
        return OnePass(text, tuple(spans), question_end, contents, last + 1)

    def _spans(self, text: str, places: list[int]) -> list[Span] | None:
        """Return the answers in the text; None if the template writes one in another way in it."""
        spans = []
        for place in places:
            question, until = self._questions[place], self._texts[place]
            if not text.startswith(until):
                # Some templates end only the last message with the end token.
                until = until.removesuffix(self._chat.end)
            if not until.startswith(question) or not text.startswith(until):
                return None
            spans.append((len(question), len(until)))
        return spans

    @cached_property
    def _questions(self) -> dict[int, str]:
        """The text up to each answer, by the place of the answer."""
        return {n: self._chat.question(self._messages[:n], self._tools) for n in self._places}

    @cached_property
    def _texts(self) -> dict[int, str]:
        """The text up to the end of each answer, by its place."""
        return {n: self._chat.text(self._messages[: n + 1], self._tools) for n in self._places}
