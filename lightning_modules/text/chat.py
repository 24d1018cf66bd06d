"""Conversations as questions and answers: apply a chat template to lists of messages.

Each message of the assistant answers all messages before it, so a conversation of several turns is
several examples, each formatted exactly as the model will be prompted.
Example: `[{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from lightning_modules.error import DataError, Problem, Verbatim

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
ASSISTANT = "assistant"
NUM_SHOWN = 4


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        question: The full prompt.
        answer: The text to generate, including what the template adds at its end.
        content: The answer without the template.

    """

    question: str
    answer: str
    content: str


class Chat:
    """A tokenizer's chat template, or `default` if it has none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, default: str, end: str) -> None:
        self._tokenizer = tokenizer
        self._template = tokenizer.chat_template or default
        # Templates end a message with eos_token; some tokenizers define only sep_token.
        self._end = end

    def question(self, messages: Messages) -> str:
        """Return the text of the messages up to where the assistant's answer starts."""
        return self._render(messages, add_generation_prompt=True)

    def exchanges(self, messages: Messages) -> Iterator[Exchange]:
        """Yield each message of the assistant with everything before it.

        Raises:
            DataError: The template writes a question differently once it is answered.

        """
        for place, message in enumerate(messages):
            if message["role"] != ASSISTANT:
                continue
            question = self.question(messages[:place])
            whole = self._render(messages[: place + 1], add_generation_prompt=False)
            if not whole.startswith(question):
                rule = "must write a question the same way with and without its answer"
                got = Verbatim("a template that does not")
                fix = "Save the tokenizer with another chat_template."
                raise DataError(Problem("task.chat_template", rule, got, fix))
            yield Exchange(question, whole[len(question) :], message["content"])

    def _render(self, messages: Messages, *, add_generation_prompt: bool) -> str:
        plain: Any = [dict(message) for message in messages]
        try:
            rendered = self._tokenizer.apply_chat_template(
                plain,
                tokenize=False,
                chat_template=self._template,
                add_generation_prompt=add_generation_prompt,
                eos_token=self._end,
            )
        except (TemplateError, ValueError) as error:
            rule = "the model's chat template must accept every conversation"
            roles = ", ".join(message["role"] for message in messages[:NUM_SHOWN])
            got = Verbatim(f"{str(error).rstrip('.') or type(error).__name__} (roles: {roles})")
            fix = "Correct the rows, or save the tokenizer with another chat_template."
            raise DataError(Problem("task.chat_template", rule, got, fix)) from error
        assert isinstance(rendered, str)
        return rendered


def contents(messages: Messages) -> str:
    r"""Return the contents of the messages, one per line.

    >>> contents([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}])
    'Hi.\nHello!'
    """
    return "\n".join(message["content"] for message in messages)
