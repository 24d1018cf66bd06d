"""How many tokens a part of every row takes, and the setting that cuts what is longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_modules.schema import MAX_TOKENS

NO_LIMIT = MAX_TOKENS + 1
"""A length that cuts nothing, for `encode`."""
MAX_LENGTH = "data.max_length"


@dataclass(frozen=True)
class Lengths:
    """The lengths of the same part of rows.

    Attributes:
        what: Its name in the plural, e.g. `texts`.
        key: The config path of the setting that limits it.
        tokens: Its tokens in each row, the special ones included: the setting that holds it.
        effect: What happens to a longer one, e.g. `are cut off`.
        inner: If its pieces are lost one by one, e.g. the words of a text, the setting that holds
            each of them.
        lost: What is lost of them, e.g. `words count as O`.

    """

    what: str
    key: str
    tokens: Sequence[int]
    effect: str
    inner: Sequence[int] = ()
    lost: str = ""

    def holding(self, share: float) -> int:
        """Return the length that holds a share of them, in tokens.

        >>> Lengths("texts", "data.max_length", [3, 1, 2, 4], "").holding(0.75)
        3
        """
        ordered = sorted(self.tokens)
        return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

    def longer(self, limit: int) -> float:
        """Return the share of them that is longer than a limit."""
        return sum(each > limit for each in self.tokens) / len(self.tokens)

    def line(self, limit: int, how: str = "") -> str:
        """Return what a limit cuts, in one line; `how` says in brackets where the limit is from.

        >>> Lengths("texts", "task.limit", [3, 1, 2, 4], "lose their end").line(3)
        '25% of texts are longer than task.limit=3 and lose their end; 4 holds 95%, 4 holds 99%'
        """
        setting = f"{self.key}={limit}" + (f" ({how})" if how else "")
        line = f"{percent(self.longer(limit))} of {self.what} are longer than {setting}"
        if self.longer(limit):
            line += f" and {self.effect}"
            if self.inner:
                share = sum(each > limit for each in self.inner) / len(self.inner)
                line += f": {percent(share)} of all {self.lost}"
        return f"{line}; {self.holding(0.95)} holds 95%, {self.holding(0.99)} holds 99%"


def percent(share: float) -> str:
    """Return a share in per cent, never rounded to none or to all.

    >>> [percent(share) for share in (0, 0.0002, 0.123, 0.998, 1)]
    ['0%', 'less than 0.1%', '12%', '99.8%', '100%']
    """
    if 0 < share < 0.001:
        return "less than 0.1%"
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{min(share, 0.999):.1%}"
    return f"{share:.0%}"
