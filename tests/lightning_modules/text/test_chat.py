from __future__ import annotations

import pytest

from lightning_modules.error import DataError
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.text.chat import Chat, Exchange
from lightning_modules.text.shorten import Parts
from search.config import build_run, compose

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye."},
    {"role": "assistant", "content": "So long."},
]


def chat(template: str) -> Chat:
    tokenizer = Tiny(kind=Kind.decoder, width=8, num_layers=1, num_heads=1).load_tokenizer()
    return Chat(tokenizer, template, "[SEP]")


def ours() -> Chat:
    task = build_run(compose("train", ["task=generation"]).tree).task
    return chat(task.chat_template)  # type: ignore[attr-defined]


def test_each_answer_has_all_earlier_messages_as_its_question() -> None:
    opening = "<|system|>\nBe kind.[SEP]\n<|user|>\nHi.[SEP]\n<|assistant|>\n"
    between = "Hello![SEP]\n<|user|>\nBye.[SEP]\n<|assistant|>\n"
    system, asked = "<|system|>\nBe kind.", opening + between
    starts = {text: asked.index(text) for text in ("Hi.", "Hello!", "Bye.")}
    spans = tuple((start, start + len(text)) for text, start in starts.items())
    assert list(ours().exchanges(TALK)) == [
        Exchange(opening, "Hello![SEP]\n", "Hello!", Parts(spans[:1], len(system))),
        Exchange(opening + between, "So long.[SEP]\n", "So long.", Parts(spans, len(system))),
    ]


def test_a_question_ends_where_the_answer_starts() -> None:
    assert ours().question(TALK[:2]).endswith("<|user|>\nHi.[SEP]\n<|assistant|>\n")


def test_a_template_that_rewrites_the_question_is_refused() -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(DataError, match=r"task.chat_template: must write a question the same way"):
        list(chat(template).exchanges(TALK))


def test_the_tokenizers_own_template_takes_precedence() -> None:
    found = chat("{{ 'default' }}")
    found._tokenizer.chat_template = "{{ 'own' }}"
    again = Chat(found._tokenizer, "{{ 'default' }}", "[SEP]")
    assert again.question(TALK[:2]) == "own"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "{{ raise_exception('System role not supported') }}",
            "System role not supported (roles: ",
        ),
        ("{% for", "(roles: system, user)"),
    ],
)
def test_a_template_error_is_reported_in_one_line(template: str, reason: str) -> None:
    with pytest.raises(DataError) as raised:
        list(chat(template).exchanges(TALK))
    (line,) = str(raised.value).splitlines()
    assert line.startswith("task.chat_template: the model's chat template must accept every ")
    assert reason in line
