"""A trial that ran out of memory beside others has the memory for itself."""

from __future__ import annotations

import pytest

from search.storage.place import Active, may_start

WAITING = Active(1, area="node/0", place="node/0")
WHOLE_HOST = Active(1, area="node", place="node/0")


def running(place: str | None, area: str | None = None, trial_id: int = 2) -> Active:
    return Active(trial_id, is_running=True, place=place, area=area)


@pytest.mark.parametrize(
    ("trial", "place", "others", "may"),
    [
        (WAITING, "node/0", [], True),
        (WAITING, "node/0", [running("node/0")], False),
        (WAITING, "node/0", [running("node/1"), running("other/0")], True),
        (WAITING, "node/0", [running(None)], False),  # of an earlier version, which does not say
        # At another place it needs as much.
        (WAITING, "node/1", [running("node/0")], True),
        (WAITING, "other/0", [running("other/0")], False),
        (WHOLE_HOST, "node/0", [running("node/1")], False),
        (WHOLE_HOST, "other/0", [running("node/0")], True),
        (WHOLE_HOST, "other/0", [running("other/3")], False),
        (Active(1, area="node", place="node"), "node", [running("node")], False),
        # Two of them take turns.
        (WAITING, "node/0", [running("node/0", "node/0")], False),
        (WAITING, "node/0", [Active(2, area="node/0", place="node/0")], True),
    ],
)
def test_it_waits_until_its_area_is_free(
    trial: Active, place: str, others: list[Active], *, may: bool
) -> None:
    assert may_start(1, place, [trial, *others]) == may


@pytest.mark.parametrize(
    ("place", "active", "may"),
    [
        ("node/0", [WAITING], False),  # until that one has run
        ("node/1", [WAITING], True),
        ("node/1", [WHOLE_HOST], False),
        ("other/1", [WHOLE_HOST], True),
        ("node/0", [running("node/0", "node/0")], False),
        ("node/1", [running("node/0", "node/0")], True),
        ("node/0", [running("other/0", "node/0")], True),  # it runs elsewhere
        ("other/0", [running("other/0", "node/0")], False),
        ("node", [running("node")], True),
    ],
)
def test_others_neither_start_beside_it_nor_before_it(
    place: str, active: list[Active], *, may: bool
) -> None:
    assert may_start(None, place, active) == may
    assert may_start(9, place, [*active, Active(9)]) == may
