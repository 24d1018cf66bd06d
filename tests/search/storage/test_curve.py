from __future__ import annotations

import json
import math
from itertools import pairwise

from lightning_modules.outcome import Point
from search.storage.curve import MAX_VALIDATIONS, extended, points_of, stored_point


def point(number: int) -> Point:
    metrics = {f"metric_{each}": number / (7 + each) for each in range(8)}
    epoch, loss = number / 3, 1 / (3 + number)
    return Point(number, 12 * number, 96 * number, epoch, loss, loss + 1 / 9, metrics, 1.0)


def test_a_validation_is_read_as_it_was_stored() -> None:
    curve = json.loads(
        json.dumps(extended(extended([], stored_point(point(1))), stored_point(point(2))))
    )
    first, second = points_of(curve)
    assert (first.step, first.examples, second.step) == (12, 96, 24)
    assert math.isclose(second.epoch, 2 / 3, rel_tol=1e-6)
    assert math.isclose(second.validation_loss, 1 / 5 + 1 / 9, rel_tol=1e-6)
    assert second.metrics.keys() == point(2).metrics.keys()


def test_a_long_curve_stays_short_and_reaches_from_the_start_to_the_end() -> None:
    curve: list[object] = []
    for number in range(1, 1001):
        curve = extended(curve, stored_point(point(number)))  # type: ignore[arg-type]
        assert curve[-1] == list(stored_point(point(number)))
    steps = [each.step for each in points_of(curve)]  # type: ignore[arg-type]
    assert len(steps) <= MAX_VALIDATIONS
    assert steps == sorted(set(steps)) and (steps[0], steps[-1]) == (12, 12_000)
    assert max(late - early for early, late in pairwise(steps)) <= 12 * 30
    assert len(json.dumps(curve)) < 25_000
