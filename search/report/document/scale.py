"""From values to pixels: ranges, ticks and their labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search.report.document.chart import Axis

NUM_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """One axis in pixels.

    Attributes:
        axis: The axis.
        low: The value at `start`.
        high: The value at `end`, > `low`.
        start: A pixel.
        end: Another one.

    """

    axis: Axis
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self._moved(self.low), self._moved(self.high)
        return self.start + (self.end - self.start) * (self._moved(value) - low) / (high - low)

    def value(self, pixel: float) -> float:
        """Return the value at a pixel."""
        low, high = self._moved(self.low), self._moved(self.high)
        moved = low + (high - low) * (pixel - self.start) / (self.end - self.start)
        return 10**moved if self.axis.is_log else moved

    def ticks(self) -> list[tuple[float, str]]:
        """Return the values of ticks with their labels."""
        if self.axis.names:
            return [(float(at), name) for at, name in enumerate(self.axis.names)]
        values = logarithmic(self.low, self.high) if self.axis.is_log else even(self.low, self.high)
        return [(value, f"{value:.6g}") for value in values]

    def _moved(self, value: float) -> float:
        return math.log10(value) if self.axis.is_log else value


def scale_of(axis: Axis, values: Iterable[float | None], start: float, end: float) -> Scale:
    """Return the scale that shows all values, with a margin at both ends."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if axis.names:
        low, high = -0.5, len(axis.names) - 0.5
    elif not known:
        low, high = (1.0, 10.0) if axis.is_log else (0.0, 1.0)
    elif axis.is_log:
        low, high = min(known), max(known)
        margin = (high / low) ** 0.05 if high > low else 2.0
        low, high = low / margin, high * margin
    else:
        low, high = min(known), max(known)
        margin = 0.05 * (high - low) or abs(high) * 0.05 or 0.5
        low, high = low - margin, high + margin
    return Scale(axis, low, high, start, end)


def even(low: float, high: float) -> Sequence[float]:
    """Return round numbers between two numbers, equally spaced.

    >>> even(0.61, 0.79)
    [0.65, 0.7, 0.75]
    """
    rough = (high - low) / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * each, 12) for each in range(first, last + 1)]


def logarithmic(low: float, high: float) -> Sequence[float]:
    """Return powers of ten between two numbers, with 2 and 5 times them if they are few.

    >>> logarithmic(2e-4, 5e-3), logarithmic(1e-6, 1.0)
    ([0.0002, 0.0005, 0.001, 0.002, 0.005], [1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sizes: Sequence[int] = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    values = [float(f"{size}e{power}") for power in powers for size in sizes]
    found = [value for value in values if low <= value <= high]
    return found if len(found) > 1 else even(low, high)
