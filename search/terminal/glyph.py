"""The characters that draw bars and curves in tables, in Unicode and in ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size


@dataclass(frozen=True)
class Glyphs:
    """One set of characters.

    Attributes:
        best: Marks the winner, or the Pareto front.
        ellipsis: Ends a name that was cut.
        done: The filled part of a bar.
        rest: The empty part of a bar.
        heights: The points of a curve, from low to high.

    """

    best: str
    ellipsis: str
    done: str
    rest: str
    heights: str

    def cut(self, text: str, width: int) -> str:
        """Return a text, cut to at most `width` characters.

        >>> ASCII.cut("feature_extraction", 10)
        'feature_e~'
        """
        return text if cell_len(text) <= width else set_cell_size(text, width - 1) + self.ellipsis

    def bar(self, fraction: float, width: int) -> str:
        """Draw a progress bar.

        >>> ASCII.bar(0.6, 8)
        '####....'
        """
        num_done = int(fraction * width)
        return self.done * num_done + self.rest * (width - num_done)

    def curve(self, points: Sequence[float], width: int, limits: tuple[float, float]) -> str:
        """Draw a curve in at most `width` > 1 characters; keep its first and last point.

        >>> ASCII.curve([0.5, 0.7, 0.9], 8, (0.5, 0.9))
        '_-^'
        >>> ASCII.curve([0.5, 0.6, 0.7, 0.8, 0.9], 3, (0.5, 0.9))
        '_-^'
        """
        if len(points) > width:
            last = len(points) - 1
            points = [points[round(at * last / (width - 1))] for at in range(width)]
        return "".join(self._height(point, limits) for point in points)

    def _height(self, point: float, limits: tuple[float, float]) -> str:
        low, high = limits
        if not math.isfinite(point):
            return " "
        share = (point - low) / (high - low) if high > low else 0.5
        return self.heights[min(len(self.heights) - 1, int(share * len(self.heights)))]


UNICODE = Glyphs(best="★", ellipsis="…", done="━", rest="─", heights="▁▂▃▄▅▆▇█")
ASCII = Glyphs(best="*", ellipsis="~", done="#", rest=".", heights="_.-=^")


def printable(text: str) -> str:
    """Return a text on one line, without characters that would move the cursor."""
    return "".join(char if char.isprintable() else " " for char in text)
