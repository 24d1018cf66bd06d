"""The names of parameters: a config path, with the group options of the arms that have it.

`optimizer.lr[lora]` is the learning rate of the arms that have chosen the option `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TAGGED = re.compile(r"(?P<path>[^\[]+)\[(?P<options>[^\]]*)\]")


def tagged(path: str, options: Sequence[str]) -> str:
    """Return a path with the options it is for.

    >>> tagged("optimizer.lr", ["lora"]), tagged("optimizer.lr", [])
    ('optimizer.lr[lora]', 'optimizer.lr')
    """
    return f"{path}[{','.join(options)}]" if options else path


def untagged(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a path and its options, as `tagged` joined them.

    >>> untagged("optimizer.lr[lora]"), untagged("optimizer.lr")
    (('optimizer.lr', ('lora',)), ('optimizer.lr', ()))
    """
    found = _TAGGED.fullmatch(name)
    return (found["path"], split_options(found["options"])) if found else (name, ())


def split_options(text: str) -> tuple[str, ...]:
    """Return the options of a text such as `lora, full`."""
    return tuple(option.strip() for option in text.split(","))
