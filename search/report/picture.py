"""Pictures of one training, as PNG: its learning curve and its confusion matrix.

The dashboard shows them as cards of 200 by 150 pixels and, in a trial's note, at the width of the
column, so they are 4 to 3 with large type. Colours are Okabe and Ito's, which are distinct for any
colour vision, and lines also differ in stroke and marker; the matrix has one hue and numbers.

They are drawn without pyplot: no window, no global figure. Cost on one core: 0.1 s per curve, 0.05
to 0.1 s per matrix of up to 8 labels, 0.4 s for 30 labels; importing matplotlib takes 0.6 s once.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELS = 30
"""Maximum rows of a matrix; if there are more labels, the rarest are merged into one."""
MAX_CHARACTERS = 20
"""Maximum length of a label's name."""

_DPI = 100
_WIDTH, _HEIGHT = 640, 480
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#007A5A", "#6B6B6B"

# matplotlib's own font has no Chinese, Japanese or Korean; the others are common fonts that do.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
)

# Overrides the user's matplotlibrc.
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.labelsize": 13,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.5,
    # A label such as "$5" is not a formula.
    "text.parse_math": False,
    "text.usetex": False,
}


def learning_curve(points: Sequence[Point], metric: str, best: Point | None = None) -> bytes:
    """Return a picture of the losses and `metric` over epochs, with `best` marked.

    >>> point = Point(1, 5, 40, 0.5, 0.7, 0.6, {"accuracy": 0.8}, 1.0)
    >>> learning_curve([point], "accuracy")[1:4]
    b'PNG'
    """
    import matplotlib
    from matplotlib.figure import Figure

    assert points, "a curve has points"
    with matplotlib.rc_context(_style()):
        figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI)
        losses = figure.add_axes((0.16, 0.54, 0.81, 0.37))
        scores = figure.add_axes((0.16, 0.135, 0.81, 0.37))
        epochs = [point.epoch for point in points]
        # More markers than this would hide the line.
        marked = len(points) <= 30
        if points[-1].step:  # else nothing was trained
            _line(losses, epochs, [point.train_loss for point in points], "training", marked=marked)
        _line(
            losses, epochs, [point.validation_loss for point in points], "validation", marked=marked
        )
        _line(scores, epochs, [point.metrics[metric] for point in points], "metric", marked=marked)
        losses.legend(loc="lower center", bbox_to_anchor=(0.5, 0.97), ncols=2)
        losses.set_ylabel("loss")
        losses.tick_params(labelbottom=False)
        scores.set_ylabel(metric)
        scores.set_xlabel("epoch")
        _same_epochs((losses, scores), epochs)
        if best is not None:
            _mark(losses, scores, best, best.metrics[metric])
        return _png(figure)


def confusion_matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Return a picture of how often each true label (row) was predicted as each label (column).

    Args:
        labels: The labels, in the order of rows and columns.
        counts: One row per true label.

    """
    import matplotlib
    from matplotlib.figure import Figure

    names, counts = _folded(labels, counts)
    num = len(names)
    # With more labels, the picture grows instead of the type shrinking.
    scale = 1.0 if num <= 10 else 1.5 if num <= 20 else 2.0
    with matplotlib.rc_context(_style()):
        figure = Figure(figsize=(_WIDTH * scale / _DPI, _HEIGHT * scale / _DPI), dpi=_DPI)
        _draw_matrix(figure, names, counts, size=13 if num <= 4 else 12 if num <= 10 else 11)
        return _png(figure)


def _style() -> dict[Any, Any]:
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return {**_STYLE, "font.family": [name for name in _FONTS if name in installed]}


_STROKES: dict[str, dict[str, Any]] = {
    "training": {"color": _BLUE, "linestyle": "-", "marker": "o"},
    "validation": {"color": _ORANGE, "linestyle": "--", "marker": "s"},
    "metric": {"color": _GREEN, "linestyle": "-", "marker": "D"},
}


def _line(
    axes: Axes, epochs: Sequence[float], values: Sequence[float], name: str, *, marked: bool
) -> None:
    stroke = _STROKES[name] if marked else {**_STROKES[name], "marker": ""}
    axes.plot(epochs, values, label=name, markersize=7, **stroke)
    axes.grid(axis="y", color="#DDDDDD")
    axes.locator_params(axis="y", nbins=4)


def _same_epochs(every: Sequence[Axes], epochs: Sequence[float]) -> None:
    margin = 0.04 * (epochs[-1] - epochs[0]) or 0.5
    for axes in every:
        axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
        axes.locator_params(axis="x", nbins=6)


def _mark(losses: Axes, scores: Axes, best: Point, score: float) -> None:
    for axes in (losses, scores):
        axes.axvline(best.epoch, color=_GREY, linestyle=":", linewidth=1.5, zorder=1)
    low, high = scores.get_xlim()
    is_left = best.epoch < (low + high) / 2
    scores.annotate(
        f"best {score:.4g}",
        (best.epoch, scores.get_ylim()[0]),
        xytext=(6 if is_left else -6, 6),
        textcoords="offset points",
        ha="left" if is_left else "right",
        color=_GREY,
    )


def _draw_matrix(
    figure: Figure, names: Sequence[str], counts: Sequence[Sequence[int]], size: float
) -> None:
    num, longest = len(names), max(map(len, names))
    totals = [sum(row) for row in counts]
    rows = [f"{name} ({total})" for name, total in zip(names, totals, strict=True)]
    # All in points, like type; the longest name decides the space for names.
    width, height = figure.get_size_inches() * 72
    character = 0.62 * size
    left = 34 + max(map(len, rows)) * character
    right, top = width - 8, height - 8
    fits = longest * character < 0.95 * (right - left) / num
    tilt = 0 if fits else 45 if num <= 10 else 90
    bottom = 38 + {0: size, 45: 0.75 * longest * character, 90: longest * character}[tilt]
    axes = figure.add_axes(
        (left / width, bottom / height, (right - left) / width, (top - bottom) / height)
    )
    shares = [
        [count / total if total else 0.0 for count in row]
        for row, total in zip(counts, totals, strict=True)
    ]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_axis_off()
    cell_width, cell_height = (right - left) / num, (top - bottom) / num
    # Plain texts, because ticks would take three times as long.
    style: dict[str, Any] = {"size": size, "rotation_mode": "anchor"}
    ha, va = {0: ("center", "top"), 45: ("right", "top"), 90: ("right", "center")}[tilt]
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        axes.text(-0.5 - 5 / cell_width, at, row, ha="right", va="center", **style)
        y = num - 0.5 + 5 / cell_height
        axes.text(at, y, name, ha=ha, va=va, rotation=tilt, **style)
    figure.text((left + right) / 2 / width, 9 / height, "predicted label", ha="center")
    figure.text(
        8 / width, (top + bottom) / 2 / height, "true label (rows)", rotation=90, va="center"
    )
    num_digits = max(len(str(count)) for row in counts for count in row)
    digits = size + 5 if num <= 4 else size
    _write_counts(axes, counts, shares, min(digits, cell_width / (0.7 * num_digits)))


def _write_counts(
    axes: Axes, counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]], size: float
) -> None:
    """Write the counts above 0; each distinct count is one collection of outlines.

    Drawing them as texts would take half a second for 30 labels.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    places: dict[int, list[tuple[int, int]]] = {}
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            if count:
                places.setdefault(count, []).append((x, y))
    for count, cells in places.items():
        outline = TextPath((0, 0), str(count), size=size)
        middle = (outline.vertices.min(axis=0) + outline.vertices.max(axis=0)) / 2
        axes.add_collection(
            PathCollection(
                [outline],
                offsets=cells,
                offset_transform=axes.transData,
                transform=Affine2D().translate(*-middle).scale(_DPI / 72),
                facecolors=["white" if shares[y][x] > 0.65 else "black" for x, y in cells],
                linewidths=0,
            ),
            autolim=False,
        )


def _folded(
    labels: Sequence[str], counts: Sequence[Sequence[int]]
) -> tuple[list[str], list[list[int]]]:
    """Return the names to show and their counts; merge the rarest labels beyond `MAX_LABELS`."""
    order = range(len(labels))
    kept = list(order)
    if len(labels) > MAX_LABELS:
        common = sorted(order, key=lambda at: -sum(counts[at]))
        kept = sorted(common[: MAX_LABELS - 1])
    names = [_shortened(labels[at]) for at in kept]
    if len(set(names)) < len(names):
        names = [f"{at + 1} {name}" for at, name in zip(kept, names, strict=True)]
    rest = [at for at in order if at not in set(kept)]
    names += [f"{len(rest)} others"] if rest else []
    groups = [[at] for at in kept] + ([rest] if rest else [])
    folded = [[sum(counts[y][x] for y in ys for x in xs) for xs in groups] for ys in groups]
    return names, folded


def _shortened(label: str) -> str:
    """Return a label's name in one line of at most `MAX_CHARACTERS`, with its beginning and end.

    >>> _shortened("a complaint about deliveries"), _shortened("short")
    ('a complaint…liveries', 'short')
    """
    line = " ".join(label.split()) or repr(label)
    if len(line) <= MAX_CHARACTERS:
        return line
    return f"{line[: MAX_CHARACTERS - 9]}…{line[-8:]}"


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    # Level 6 would take three times as long for a file 10 % smaller.
    figure.savefig(content, format="png", pil_kwargs={"compress_level": 3})
    return content.getvalue()
