from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError, SpaceError
from search.config import compose

DEFAULT_SPACE = {"optimizer.lr", "data.batch_size", "trainer.epochs"}


def test_default_space_is_searched_if_no_range_is_given() -> None:
    composition = compose("sweep", [])
    assert composition.space.keys() == DEFAULT_SPACE
    assert composition.tree["search"]["space"] == composition.space
    assert composition.fixed == ()


def test_learning_rate_range_comes_from_the_strategy() -> None:
    composition = compose("sweep", ["strategy.lr_min=1e-6"])
    assert composition.space["optimizer.lr"] == "tag(log, interval(1e-06, 0.005))"


def test_inline_range_overrides_the_default_space() -> None:
    space = compose("sweep", ["trainer.epochs=range(2,9)"]).space
    assert space.keys() == DEFAULT_SPACE
    assert space["trainer.epochs"] == "range(2,9)"


def test_inline_range_joins_the_default_space() -> None:
    assert compose("sweep", ["strategy.rank=choice(4,8)"]).space.keys() == {
        *DEFAULT_SPACE,
        "strategy.rank",
    }


def test_inline_range_keeps_the_default_value() -> None:
    assert compose("sweep", ["trainer.epochs=range(3,9)"]).tree["trainer"]["epochs"] == 2


def test_fixed_value_removes_its_path_from_the_space() -> None:
    composition = compose("sweep", ["data.batch_size=8", "seed=3"])
    assert composition.space.keys() == DEFAULT_SPACE - {"data.batch_size"}
    assert composition.fixed == ("data.batch_size=8",)
    assert composition.tree["data"]["batch_size"] == 8


def test_fixed_values_of_arms_are_shown_as_given() -> None:
    words = ["strategy=choice(lora,full)", "optimizer.lr[full]=1e-5", "data.batch_size=8"]
    assert compose("sweep", words).fixed == ("data.batch_size=8", "optimizer.lr[full]=1e-5")
    words = ["experiment=compare_strategies", "strategy.num_shots=8"]
    assert compose("sweep", words).fixed == ("strategy.num_shots=8",)


def test_key_is_never_both_fixed_and_searched() -> None:
    try:
        composition = compose("sweep", ["data.batch_size=choice(8,16)", "data.batch_size=8"])
    except ConfigError:
        return
    assert not composition.space.keys() & {word.split("=")[0] for word in composition.fixed}


def test_space_none_searches_only_given_ranges() -> None:
    words = ["search/space=none", "strategy.rank=choice(4,8)"]
    assert compose("sweep", words).space == {"strategy.rank": "choice(4,8)"}


def test_a_strategy_searches_only_keys_that_it_uses() -> None:
    arms = compose("sweep", ["strategy=choice(prompting,lora)"]).arms
    spaces = {arm.choice["strategy"]: set(arm.space) for arm in arms}
    assert spaces == {"prompting": set(), "lora": DEFAULT_SPACE}
    words = ["strategy=choice(prompting,lora)", "optimizer.weight_decay=interval(0,0.1)"]
    arms = compose("sweep", [*words, "strategy.num_shots=choice(0,4)"]).arms
    spaces = {arm.choice["strategy"]: set(arm.space) for arm in arms}
    assert spaces["prompting"] == {"strategy.num_shots"}
    assert spaces["lora"] == {*DEFAULT_SPACE, "optimizer.weight_decay"}


def test_a_range_that_no_arm_uses_is_refused() -> None:
    words = ("strategy=prompting", "optimizer.lr=interval(1e-5,1e-3)")
    with pytest.raises(SpaceError) as error:
        compose("sweep", [*words, "strategy.num_shots=choice(0,4)"])
    (line,) = map(str, error.value.problems)
    assert line.startswith("optimizer.lr: Prompting has no use for it, got interval(1e-5,1e-3).")
    assert compose("sweep", ["strategy=prompting", "optimizer.lr=1e-5"]).space == {}
