from __future__ import annotations

from functools import partial
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


def test_large_values_that_were_not_used_lately_are_dropped() -> None:
    cache, made = Cache(), []

    def use(key: str, num_bytes: int) -> None:
        def make() -> int:
            made.append(key)
            return num_bytes

        value = cache.get_or_make_large("pool", key, make, lambda value: value, max_bytes=100)
        assert value == num_bytes

    for key, num_bytes in {"a": 40, "b": 40, "huge": 1000}.items():
        use(key, num_bytes)
    use("a", 40)
    use("b", 40)
    assert made == ["a", "b", "huge"]  # each was made while the others took at most 100
    use("c", 40)  # huge is dropped, because it was used before a and b
    use("a", 40)
    use("b", 40)
    assert made == ["a", "b", "huge", "c"]
    use("d", 40)  # a, b and c take 120, and c was not used for longest
    use("a", 40)
    use("b", 40)
    assert made == ["a", "b", "huge", "c", "d"]
    use("c", 40)
    assert made[5:] == ["c"]


def test_a_value_that_is_too_large_is_dropped_before_another_is_made() -> None:
    cache = Cache()
    alive: set[str] = set()

    class Huge:
        def __init__(self, name: str) -> None:
            self.name = name
            assert not alive
            alive.add(name)

        def __del__(self) -> None:
            alive.remove(self.name)

    for name in "abab":
        make = partial(Huge, name)
        cache.get_or_make_large("pool", name, make, lambda value: 1000, max_bytes=100)
