from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.cache import Cache


def test_a_value_is_made_once_per_key() -> None:
    cache = Cache()
    made: list[int] = []

    def make() -> list[int]:
        made.append(len(made))
        return [made[-1]]

    first = cache.get_or_make("a", make)
    assert cache.get_or_make("a", make) is first
    assert cache.get_or_make("b", make) == [1]
    assert made == [0, 1]


@pytest.mark.parametrize("value", [None, 0, ()])
def test_an_empty_value_is_cached_too(value: Any) -> None:
    cache = Cache()
    assert cache.get_or_make("a", lambda: value) == value
    assert cache.get_or_make("a", lambda: "made again") == value


def test_a_failed_value_is_made_again() -> None:
    cache = Cache()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", lambda: 1 // 0)
    assert cache.get_or_make("a", lambda: 1) == 1
