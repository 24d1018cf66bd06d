from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_modules.outcome import Point
from search.report.picture import MAX_LABELS, _folded, _shortened, confusion_matrix, learning_curve

ORANGE = (0xD5, 0x5E, 0x00)  # the validation loss
LONG = "a label whose name goes on and on"


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def point(epoch: float, train: float, validation: float, score: float) -> Point:
    return Point(int(epoch * 2), 1, 1, epoch, train, validation, {"macro_f1": score}, 1.0)


def rows_of(picture: np.ndarray, colour: tuple[int, int, int], part: slice) -> np.ndarray:
    """Return the rows where `colour` is drawn in some columns of the picture."""
    return np.flatnonzero((abs(picture[:, part] - colour).sum(axis=2) < 30).any(axis=1))


def test_a_rising_loss_is_drawn_rising() -> None:
    points = [point(n, 1 / n, 0.2 + n / 10, n / 9) for n in range(1, 9)]
    picture = pixels(learning_curve(points, "macro_f1", points[3]))
    assert picture.shape == (480, 640, 3)
    early = rows_of(picture, ORANGE, slice(100, 140))
    late = rows_of(picture, ORANGE, slice(580, 620))
    assert late[late > 50].mean() < early[early > 50].mean() - 50


@pytest.mark.parametrize("num", [1, 2, 31, 400])
def test_different_curves_of_any_length_give_different_pictures(num: int) -> None:
    points = [point(n / 2, 1 / n, 1 / n, 0.5) for n in range(1, num + 1)]
    bare = learning_curve(points, "macro_f1")
    assert learning_curve(points, "macro_f1") == bare
    assert learning_curve(points, "macro_f1", points[-1]) != bare


def matrix_of(picture: np.ndarray) -> np.ndarray:
    """Return the part with the cells: their shades are blue, all type is black, grey or white."""
    places = np.argwhere(picture[:, :, 2] - picture[:, :, 0] >= 8)
    (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
    return picture[top : bottom + 1, left : right + 1]


@pytest.mark.parametrize("num", [2, 3, 8, 10, 16, 30, 77])
def test_names_are_neither_cut_off_nor_drawn_over_the_cells(num: int) -> None:
    labels = [f"{LONG} {number}" for number in range(num)]
    counts = [[1000 if x == y else 0 for x in range(num)] for y in range(num)]
    picture = pixels(confusion_matrix(labels, counts))
    height, width, _ = picture.shape
    assert width * 3 == height * 4
    # A name that does not fit would run over an edge.
    for edge in (picture[:4], picture[-4:], picture[:, :4], picture[:, -4:]):
        assert (edge == 255).all()
    cells = matrix_of(picture)
    assert cells.shape[0] > height / 3 and cells.shape[1] > width / 3
    assert cells.max(axis=2).min() > 60  # no black: the counts are white on dark blue


def test_a_cells_shade_is_its_share_of_the_row() -> None:
    counts = [[90, 10, 0], [3, 3, 0], [0, 0, 0]]
    cells = matrix_of(pixels(confusion_matrix(["a", "b", "never"], counts)))
    height, width, _ = cells.shape

    def shade(y: int, x: int) -> int:
        """Return the brightness at a cell's corner, away from its number."""
        return int(cells[y * height // 3 + 8, x * width // 3 + 8].sum())

    assert shade(0, 0) < shade(1, 0) == shade(1, 1) < shade(0, 1) < shade(0, 2)
    assert shade(0, 2) == shade(1, 2) == shade(2, 0)


def test_a_row_without_rows_and_a_label_without_a_name_are_drawn() -> None:
    assert confusion_matrix(["", "\n"], [[0, 0], [3, 1]])


ODD = ["$x_1$", r"$\frac{$", "a_b^c", "100%", "<b>", "好评", "\x07", "$5 or $6"]


@pytest.mark.parametrize("label", ODD)
def test_labels_are_drawn_as_text_not_formulas(label: str) -> None:
    assert confusion_matrix([label, "other"], [[1, 2], [3, 4]])
    assert learning_curve([Point(1, 1, 1, 1.0, 1.0, 1.0, {label: 0.5}, 1.0)], label)


def test_the_rarest_labels_beyond_the_limit_are_merged() -> None:
    num = MAX_LABELS + 20
    labels = [f"label {number}" for number in range(num)]
    counts = [[number if x == number else 1 for x in range(num)] for number in range(num)]
    names, folded = _folded(labels, counts)
    assert len(names) == len(folded) == MAX_LABELS
    assert names[-1] == "21 others"
    assert names[0] == "label 21"
    assert sum(map(sum, folded)) == sum(map(sum, counts))
    assert folded[-1][-1] == sum(range(21)) + 21 * 20


def test_names_that_shorten_to_the_same_are_numbered() -> None:
    labels = [f"a topic of group {letter} and its further descriptions" for letter in "xy"]
    assert len(set(map(_shortened, labels))) == 1
    names, _ = _folded(labels, [[1, 0], [0, 1]])
    assert len(set(names)) == 2


CODE = """
import sys
import search.report.picture
assert "matplotlib" not in sys.modules
search.report.picture.confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
assert "matplotlib.pyplot" not in sys.modules
"""


def test_pictures_need_no_window_and_ignore_user_settings(here: Path) -> None:
    settings = here / "matplotlibrc"
    settings.write_text("text.usetex: True\nbackend: TkAgg\nfont.family: no such font\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        env={**os.environ, "MATPLOTLIBRC": str(settings), "DISPLAY": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
