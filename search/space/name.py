"""Parameter names: a config path, with the group options of the arms that have it.

`optimizer.lr[lora]` is the learning rate of the arms with the option `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TAGGED = re.compile(r"(?P<path>[^\[]+)\[(?P<options>[^\]]*)\]")


def tagged(path: str, options: Sequence[str]) -> str:
    """Return a parameter name from a path and its options.

    >>> tagged("optimizer.lr", ["lora"]), tagged("optimizer.lr", [])
    ('optimizer.lr[lora]', 'optimizer.lr')
    """
    return f"{path}[{','.join(options)}]" if options else path


def untagged(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the path and the options of a parameter name.

    >>> untagged("optimizer.lr[lora]"), untagged("optimizer.lr")
    (('optimizer.lr', ('lora',)), ('optimizer.lr', ()))
    """
    match = _TAGGED.fullmatch(name)
    return (match["path"], split_options(match["options"])) if match else (name, ())


def split_options(text: str) -> tuple[str, ...]:
    """Split a text such as `lora, full` into options."""
    return tuple(option.strip() for option in text.split(","))
