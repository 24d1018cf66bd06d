"""Messages of a conversation, as OpenAI's and ShareGPT's formats write them."""

from __future__ import annotations

from typing import Any

TOOL = "tool"
"""Role of the messages that hold what a tool returned, which may be nothing."""
_SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "observation": TOOL,
    "function_response": TOOL,
    "function_call": "assistant",
}
"""Role of a speaker in ShareGPT's conversations; others have the role's name."""


def message(given: Any) -> dict[str, Any] | None:
    """Return the fields of a message that templates write; None if it says nothing."""
    if not isinstance(given, dict):
        return None
    found = _as_role(without_nulls(given))
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


def _as_role(found: dict[str, Any]) -> dict[str, Any]:
    """Return a message of ShareGPT's form (from, value) with a role and a content."""
    if "role" in found or "from" not in found:
        return found
    speaker = found["from"]
    role = _SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker
    return {**found, "role": role, "content": found.get("value")}
