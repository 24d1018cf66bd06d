from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.machine.card import SHARE, Taken, take
from search.machine.gpu import NVIDIA, Gpu

TWO = [Gpu(NVIDIA, "0", "GPU-a"), Gpu(NVIDIA, "1", "GPU-b")]
FOUR = [*TWO, Gpu(NVIDIA, "2", "GPU-c"), Gpu(NVIDIA, "3", "GPU-d")]


def taken(folder: Path, per_device: int | None = None, num: int = 1) -> Taken:
    cards = take(TWO, num, per_device, folder)
    assert cards is not None
    return cards


def names(cards: Taken) -> str:
    return cards.environment[NVIDIA]


def test_each_worker_gets_a_card_of_its_own_while_there_are_free_ones(here: Path) -> None:
    first, second, third = taken(here), taken(here), taken(here)
    assert [names(each) for each in (first, second, third)] == ["0", "1", "0"]
    assert [each.place for each in (first, second, third)] == [0, 0, 1]
    second.release()
    assert names(taken(here)) == "1"


def test_the_same_card_under_another_name_is_taken(here: Path) -> None:
    taken(here)
    other = take([Gpu(NVIDIA, "GPU-a", "GPU-a"), TWO[1]], 1, None, here)
    assert other is not None and names(other) == "1"


def test_workers_share_a_card_as_far_as_the_setting_allows(here: Path) -> None:
    all_ = [taken(here, per_device=2) for _ in range(4)]
    assert [names(each) for each in all_] == ["0", "1", "0", "1"]
    assert {each.environment[SHARE] for each in all_} == {"0.5"}
    assert take(TWO, 1, 2, here) is None
    all_[2].release()
    assert names(taken(here, per_device=2)) == "0"


def test_without_a_setting_no_worker_is_limited(here: Path) -> None:
    assert SHARE not in taken(here).environment


def test_a_worker_with_several_devices_takes_free_ones(here: Path) -> None:
    one = take(FOUR, 1, 1, here)
    pair = take(FOUR, 2, 1, here)
    assert one is not None and pair is not None
    assert names(pair) == "1,2"
    assert take(FOUR, 2, 1, here) is None
    last = take(FOUR, 1, 1, here)  # what did not suffice for two was not kept
    assert last is not None and names(last) == "3"


@pytest.mark.parametrize("found", [[], TWO[:1]])
def test_with_fewer_cards_than_it_needs_a_worker_gets_none(here: Path, found: list[Gpu]) -> None:
    cards = take(found, 2, None, here)
    assert cards == Taken()
    assert cards.environment == {}


def test_a_card_is_free_once_the_worker_that_inherited_it_is_dead(here: Path) -> None:
    cards = taken(here, per_device=1)
    worker = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=cards.descriptors
    )
    cards.release()
    assert names(taken(here, per_device=1)) == "1"
    assert take(TWO, 1, 1, here) is None
    worker.kill()
    worker.wait()
    again = take(TWO, 1, 1, here)
    assert again is not None and names(again) == "0"
