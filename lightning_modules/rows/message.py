"""Messages of a conversation, as programs write them."""

from __future__ import annotations

from typing import Any

TOOL = "tool"
"""Role of the messages that hold what a tool returned, which may be nothing."""


def message(given: Any) -> dict[str, Any] | None:
    """Return the fields of a message that templates write; None if it says nothing."""
    if not isinstance(given, dict):
        return None
    found = without_nulls(given)
    role, content, calls = (found.get(name) for name in ("role", "content", "tool_calls"))
    if not isinstance(role, str) or not role.strip():
        return None
    said: dict[str, Any] = {"role": role}
    if isinstance(content, str) and (content.strip() or calls or role == TOOL):
        said["content"] = content
    elif not calls or content is not None:
        return None
    if calls:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            return None
        said["tool_calls"] = calls
    names = ["reasoning_content", *(["name", "tool_call_id"] if role == TOOL else [])]
    return said | {name: found[name] for name in names if name in found}


def without_nulls(value: Any) -> Any:
    """Return a value without the null fields of the objects in it, at any depth.

    >>> without_nulls({"a": None, "b": [{"c": None}]})
    {'b': [{}]}
    """
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return list(map(without_nulls, value)) if isinstance(value, list) else value
