from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.rows.cell import Refused, conversation, tools

CALL = {"type": "function", "function": {"name": "now", "arguments": {"zone": "UTC"}}}


def test_fields_that_a_table_fills_with_nulls_are_left_out() -> None:
    arguments = {"zone": "UTC", "city": None}
    call = {"type": "function", "function": {"name": "now", "arguments": arguments}}
    asked = {"role": "user", "content": "Hi.", "tool_calls": None, "name": None}
    called = {"role": "assistant", "content": None, "tool_calls": [call], "weight": 1}
    returned = {"role": "tool", "content": "", "name": "now", "tool_call_id": None}
    assert conversation([asked, called, returned]) == [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "", "name": "now"},
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "tool_calls": ["now"]},
        {"role": "user", "content": " "},
        {"role": "", "content": "Hi."},
        {"content": "Hi."},
        {"role": "user", "content": ["Hi."]},
        "Hi.",
    ],
)
def test_a_message_that_says_nothing_is_refused(message: Any) -> None:
    found = conversation([{"role": "user", "content": "Hi."}, message])
    assert isinstance(found, Refused)
    assert found.rule == "must be text, or messages that each have a role and a content"


def test_tools_keep_their_nulls_in_json_alone() -> None:
    assert tools('[{"default": null}]') == [{"default": None}]
    assert tools([{"default": None}]) == [{}]
    for wrong in ("now", ["now"], {"name": "now"}):
        assert isinstance(tools(wrong), Refused)
