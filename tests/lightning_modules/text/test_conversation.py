from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lightning_modules.model.kind import Kind
from lightning_modules.text.chat import Chat
from lightning_modules.text.conversation import Conversation
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer

TOKENIZER = train_tokenizer(["a"], Vocabulary.characters, 0, Kind.decoder)
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye."},
    {"role": "assistant", "content": "So long."},
]
PLAIN = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
MARKED = (
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}"
    "{{ m.content }}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
# The end token once, after the last message.
ENDED_ONCE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% else %}{{ eos_token }}{% endif %}"
)
# Like Qwen3's: thinking, even if it is empty, in the last answer alone.
THINKING = (
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def conversation(template: str, messages: Sequence[Any] = TALK) -> Conversation:
    return Conversation(Chat(TOKENIZER, template, "$"), messages)


@pytest.mark.parametrize(
    ("template", "answers"),
    [
        (PLAIN, ["Hello!$\n", "So long.$\n"]),
        (MARKED, ["Hello!$", "So long.$"]),
        (ENDED_ONCE, ["Hello!;", "So long.;$"]),
    ],
)
def test_the_answers_of_one_text_are_found(template: str, answers: list[str]) -> None:
    one = next(conversation(template).passes())
    assert [one.text[start:end] for start, end in one.answers] == answers
    end = ";" if template == ENDED_ONCE else "$\n"
    assert one.text[: one.question_end].endswith(f"<user>Bye.{end}<assistant>")
    assert one.contents == ("Hello!", "So long.")


def test_shorter_ones_follow_the_whole_conversation() -> None:
    assert [one.num_messages for one in conversation(PLAIN).passes()] == [5, 3]
    assert [one.contents for one in conversation(MARKED).passes()][1] == ("Hello!",)


def test_what_follows_the_last_answer_is_left_out() -> None:
    again = conversation(PLAIN, [*TALK, {"role": "user", "content": "And?"}])
    assert next(again.passes()) == next(conversation(PLAIN).passes())


def test_a_template_that_drops_earlier_thinking_is_no_single_pass() -> None:
    found = conversation(THINKING)
    assert not found.is_one_pass
    (one,) = found.passes()  # up to the first answer, which is then the last
    assert one.contents == ("Hello!",)
    assert [each.content for each in found.exchanges(one.num_messages)] == ["So long."]


def test_a_conversation_with_one_answer_is_always_one_pass() -> None:
    found = conversation(THINKING, TALK[:3])
    one = next(found.passes())
    ((start, end),) = one.answers
    assert one.text[start:end] == "<think></think>Hello!$"
    assert found.is_one_pass
