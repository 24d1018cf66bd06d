"""A tokenizer's chat template: lists of messages as text.

Example: `[{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.text.shorten import NOTHING, Parts, parts_of_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, Any]
Messages = Sequence[Message]
Tools = Sequence[Mapping[str, Any]]
ASSISTANT = "assistant"
NUM_SHOWN = 4
MARK = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
"""Around what the assistant writes, in templates that mark it; transformers' extension of Jinja."""


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        question: The full prompt.
        answer: The text to generate, including what the template adds at its end.
        content: The answer without the template.
        parts: What of the question may be cut if it is too long.

    """

    question: str
    answer: str
    content: str
    parts: Parts = NOTHING


class Chat:
    """A tokenizer's chat template, or `default` if it has none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, default: str, end: str) -> None:
        self._tokenizer = tokenizer
        self._default = default
        # Templates end a message with eos_token; some tokenizers define only sep_token.
        self.end = end

    def question(self, messages: Messages, tools: Tools = ()) -> str:
        """Return the text of the messages up to where the assistant's answer starts."""
        return self._render(messages, tools, add_generation_prompt=True)[0]

    def text(self, messages: Messages, tools: Tools = ()) -> str:
        """Return the text of all messages."""
        return self._render(messages, tools, add_generation_prompt=False)[0]

    def marked(self, messages: Messages, tools: Tools = ()) -> tuple[str, list[tuple[int, int]]]:
        """Return the text, and the starts and ends of what the template marks as written by it."""
        return self._render(messages, tools, add_generation_prompt=False)

    def has_marks(self, tools: Tools = ()) -> bool:
        """Return whether the template marks what the assistant writes."""
        return MARK.search(self._template(tools)) is not None

    def exchanges(self, messages: Messages, tools: Tools = ()) -> Iterator[Exchange]:
        """Yield each message of the assistant with everything before it.

        Raises:
            DataError: The template writes a question differently once it is answered.

        """
        for place, message in enumerate(messages):
            if message["role"] == ASSISTANT:
                yield self.exchange(messages[: place + 1], tools)

    def exchange(self, messages: Messages, tools: Tools = (), start: int = -1) -> Exchange:
        """Return the messages from `start` on with those before them; raises like `exchanges`."""
        question, whole = self.question(messages[:start], tools), self.text(messages, tools)
        if not whole.startswith(question):
            rule = "must write a question the same way with and without its answer"
            got = Verbatim("a template that does not")
            fix = "Save the tokenizer with another chat_template."
            raise DataError(Problem("task.chat_template", rule, got, fix))
        parts = parts_of_messages(question, messages[:start])
        return Exchange(question, whole[len(question) :], contents(messages[start:]), parts)

    def _template(self, tools: Tools) -> str:
        if not self._tokenizer.chat_template:
            return self._default
        # Some tokenizers have several, one of them for conversations with tools.
        template: str = self._tokenizer.get_chat_template(None, list(tools) or None)
        return template

    def _render(
        self, messages: Messages, tools: Tools, *, add_generation_prompt: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        plain: Any = [dict(message) for message in messages]
        template = self._template(tools)
        special = {**self._tokenizer.special_tokens_map, "eos_token": self.end}
        try:
            (rendered,), marks = render_jinja_template(
                conversations=[plain],
                tools=list(tools) or None,
                chat_template=template,
                add_generation_prompt=add_generation_prompt,
                return_assistant_tokens_mask=MARK.search(template) is not None,
                **special,
            )
        except (TemplateError, ValueError, TypeError) as error:
            rule = "the model's chat template must accept every conversation"
            roles = ", ".join(message["role"] for message in messages[:NUM_SHOWN])
            got = Verbatim(f"{str(error).rstrip('.') or type(error).__name__} (roles: {roles})")
            fix = "Correct the rows, or save the tokenizer with another chat_template."
            raise DataError(Problem("task.chat_template", rule, got, fix)) from error
        return rendered, marks[0] if marks else []


def broken_rule(template: str) -> str | None:
    """Return why a chat template cannot be read, or None.

    >>> broken_rule("{% for message in messages %}")[:36]
    'must be Jinja (Unexpected end of tem'
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import SandboxedEnvironment

    try:
        SandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(MARK.sub("", template))
    except TemplateSyntaxError as error:
        return f"must be Jinja ({error})"
    return None


def said(message: Message) -> str:
    """Return what a message says: its content and, as JSON, the tools that it calls.

    >>> said({"role": "assistant", "tool_calls": [{"function": {"name": "now"}}]})
    '[{"function": {"name": "now"}}]'
    """
    calls = message.get("tool_calls")
    called = json.dumps(calls, ensure_ascii=False) if calls else ""
    return "\n".join(part for part in (message.get("content", ""), called) if part)


def contents(messages: Messages) -> str:
    r"""Return what the messages say, one per line.

    >>> contents([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}])
    'Hi.\nHello!'
    """
    return "\n".join(map(said, messages))
