"""The names of parameters: a config path, with the group members of the arms that have it.

`optimizer.lr[lora]` is the learning rate of the arms that have chosen the member `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TAGGED = re.compile(r"(?P<path>[^\[]+)\[(?P<members>[^\]]*)\]")


def tagged(path: str, members: Sequence[str]) -> str:
    """Return a path with the members it is for.

    >>> tagged("optimizer.lr", ["lora"]), tagged("optimizer.lr", [])
    ('optimizer.lr[lora]', 'optimizer.lr')
    """
    return f"{path}[{','.join(members)}]" if members else path


def untagged(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a path and its members, as `tagged` joined them.

    >>> untagged("optimizer.lr[lora]"), untagged("optimizer.lr")
    (('optimizer.lr', ('lora',)), ('optimizer.lr', ()))
    """
    found = _TAGGED.fullmatch(name)
    return (found["path"], split_members(found["members"])) if found else (name, ())


def split_members(text: str) -> tuple[str, ...]:
    """Return the members of a text such as `lora, full`."""
    return tuple(member.strip() for member in text.split(","))
