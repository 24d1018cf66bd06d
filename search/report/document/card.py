"""The verdict as a picture of 1200 by 630 pixels, the size that messages and web pages preview.

It is drawn with Pillow, which takes 0.1 s; importing matplotlib alone would take 0.6 s.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from search.report.document.section.verdict import headline
from search.report.overview import Overview
from search.report.text import duration, score, setting, whole

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH, HEIGHT = 1200, 630
MAX_SETTINGS = 6
_LEFT, _RIGHT = 64, WIDTH - 64
_INK, _SOFT, _LINE = "#1b1f24", "#555e68", "#d5d9de"
_TONES = {"better": "#00664a", "worse": "#a8201a", "unsure": "#7a5200"}


def card(overview: Overview, tone: str) -> bytes:
    """Return the picture as PNG.

    Args:
        overview: The study.
        tone: `better`, `worse` or `unsure`.

    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 20, HEIGHT), fill=_TONES[tone])
    _write(draw, 48, f"Study {overview.name}", 34, _SOFT)
    y = 108
    for line in _wrapped(draw, whole(headline(overview)), 46, most=3):
        _write(draw, y, line, 46, _INK)
        y += 60
    interval = _interval(overview)
    if interval is not None:
        _draw_interval(draw, 350, interval, _TONES[tone])
    y = 430
    for line in _wrapped(draw, whole(", ".join(_facts(overview))), 28, most=3):
        _write(draw, y, line, 28, _INK)
        y += 40
    now = overview.now
    trials = f"{now.num_ended} of {now.num_trials} trials, {duration(overview.seconds)} of training"
    _write(draw, HEIGHT - 64, f"finesweep: {trials}", 26, _SOFT)
    content = io.BytesIO()
    image.save(content, format="png")
    return content.getvalue()


def _facts(overview: Overview) -> Iterator[str]:
    winner = overview.winner
    if winner is None:
        return
    yield f"Trial {winner.number}: {overview.metric} {score(overview.score(winner))}"
    for path in list(winner.values)[:MAX_SETTINGS]:
        yield f"{path.rpartition('.')[2]} {setting(winner.values, path)}"


def _interval(overview: Overview) -> tuple[float, float, float] | None:
    """Return the gain over the default and the ends of its interval, if there is one."""
    certificate, gain = overview.certificate, overview.gain
    if certificate is not None:
        return (certificate.difference.value, *certificate.interval)
    if overview.best == overview.default or gain is None:
        return None
    return None if gain.low is None or gain.high is None else (gain.value, gain.low, gain.high)


def _draw_interval(
    draw: ImageDraw, y: int, interval: tuple[float, float, float], colour: str
) -> None:
    value, low, high = interval
    reach = 1.15 * max(abs(low), abs(high)) or 1.0

    def at(number: float) -> float:
        return (_LEFT + _RIGHT) / 2 + number / reach * (_RIGHT - _LEFT) / 2

    draw.line((_LEFT, y, _RIGHT, y), fill=_LINE, width=3)
    draw.line((at(0), y - 26, at(0), y + 26), fill=_SOFT, width=3)
    draw.line((at(low), y, at(high), y), fill=colour, width=12)
    draw.ellipse((at(value) - 15, y - 15, at(value) + 15, y + 15), fill=colour)
    _write(draw, y + 28, "worse than the default", 22, _SOFT)
    width = draw.textlength("better than the default", font=_font(22))
    draw.text((_RIGHT - width, y + 28), "better than the default", font=_font(22), fill=_SOFT)


def _write(draw: ImageDraw, y: int, text: str, size: int, colour: str) -> None:
    draw.text((_LEFT, y), text, font=_font(size), fill=colour)


def _wrapped(draw: ImageDraw, text: str, size: int, most: int) -> Sequence[str]:
    """Return a text in lines that fit, at most `most`, the last one cut."""
    lines, line = list[str](), ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font=_font(size)) > _RIGHT - _LEFT:
            lines.append(line)
            longer = word
        line = longer
    lines.append(line)
    if len(lines) > most:
        lines[most - 1] = f"{lines[most - 1]} …"
    return lines[:most]


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
