from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from search.config import Composition, compose, compose_again

WORDS = ("model=tiny", "logger=none", "trainer.epochs=1")
ARMS = "strategy=choice(lora,full)"


def stored(*words: str) -> Composition:
    """Return a composition as the storage returns it."""
    return Composition.from_dict(compose("sweep", [*WORDS, *words]).as_dict())


def test_a_named_setting_has_the_value_of_the_command() -> None:
    before = stored("trainer.patience=3", "search.keep=2")
    now = compose_again(["trainer.patience=4"], before)
    assert now.tree["trainer"]["patience"] == 4
    assert now.tree["search"]["keep"] == 2
    assert now.earlier == (*WORDS, "search.keep=2") and now.kept == ()
    assert now.words == (*WORDS, "search.keep=2", "trainer.patience=4")


def test_what_earlier_commands_named_is_no_difference() -> None:
    words = ("strategy=choice(full,lora)", "optimizer.lr[full]=3e-5", "search/sampler=random")
    before = stored(*words, "search.num_trials=5")
    now = compose_again(["search.num_trials=9"], before)
    assert now.earlier == (*WORDS, *words) and now.kept == ()
    again = compose_again([*WORDS, *words, "study=s"], Composition.from_dict(now.as_dict()))
    assert again.earlier == ("search.num_trials=9",)


def test_a_default_that_has_changed_is_a_difference() -> None:
    before = stored("strategy=full")
    before.tree["search"]["keep"] = 2  # as if that had been the default
    now = compose_again(["search.num_trials=9"], before)
    assert now.kept == ("search.keep=2 (a new study: 3)",)


def test_without_the_words_of_an_earlier_version_every_difference_is_listed() -> None:
    values = compose("sweep", [*WORDS, "strategy=full", "search.keep=2"]).as_dict()
    del values["words"]
    now = compose_again(["search.num_trials=9"], Composition.from_dict(values))
    assert set(now.earlier) == {*WORDS, "strategy=full"}  # stored with each arm
    assert now.kept == ("search.keep=2 (a new study: 3)",)


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("cautious_brier", []),  # what `auto` stood for when the study began
        ("metric", ["trainer.select=metric (a new study: auto)"]),
    ],
)
def test_what_auto_stood_for_is_no_difference(rule: str, lines: list[str]) -> None:
    before = stored()
    before.tree["trainer"]["select"] = rule
    assert [line for line in compose_again([], before).kept if "select" in line] == lines


def test_a_named_option_that_the_study_has_changes_nothing() -> None:
    before = stored("strategy=full", "strategy.lr=7e-5")
    assert compose_again(["strategy=full"], before).tree["strategy"] == before.tree["strategy"]


def test_another_option_brings_its_own_values() -> None:
    now = compose_again(["strategy=full"], stored("strategy.rank=4"))
    assert now.tree["strategy"] == compose("sweep", ["strategy=full"]).tree["strategy"]


def test_a_key_of_an_option_that_is_not_named_is_known() -> None:
    now = compose_again(["strategy.num_shots=4"], stored("strategy=prompting"))
    assert now.tree["strategy"]["num_shots"] == 4
    assert "strategy.num_shots" not in now.space


def test_ranges_that_are_not_named_stay() -> None:
    before = stored("trainer.epochs=range(2,9)", "data.batch_size=4")
    now = compose_again([], before)
    assert (now.space, now.tree["data"]) == (before.space, before.tree["data"])
    again = compose_again(["trainer.epochs=range(1,3)"], before)
    assert again.space == {**before.space, "trainer.epochs": "range(1,3)"}
    assert again.changed == ("trainer.epochs=range(1,3), was range(2,9)",)
    assert now.changed == ()


def test_arms_stay_with_their_order_and_their_own_values() -> None:
    before = stored("strategy=choice(full,lora)", "optimizer.lr[full]=3e-5")
    now = compose_again([], before)
    assert now == before
    assert "strategy=choice(full,lora)" in now.earlier
    named = compose_again([ARMS, "optimizer.lr[lora]=1e-4"], before)
    assert [arm.choice for arm in named.arms] == [arm.choice for arm in before.arms]
    assert [arm.tree["optimizer"]["lr"] for arm in named.arms] == [
        1e-4 if arm.choice["strategy"] == "lora" else 3e-5 for arm in named.arms
    ]


def test_an_experiment_names_what_it_changes() -> None:
    now = compose_again(["experiment=smoke"], stored("trainer.patience=3"))
    assert now.tree["strategy"]["lr"] == 3e-3
    assert now.tree["trainer"]["patience"] == 3


def test_the_same_experiment_changes_nothing() -> None:
    before = stored("experiment=smoke", "strategy.lr=1e-3")
    assert compose_again(["experiment=smoke"], before) == before
    assert compose_again([], before).tree == before.tree


def test_a_study_of_an_earlier_version_has_the_options_of_its_classes() -> None:
    values = compose("sweep", [*WORDS, "search/sampler=random", "strategy=full"]).as_dict()
    del values["options"], values["words"]
    now = compose_again(["strategy=full", "search.num_trials=9"], Composition.from_dict(values))
    assert now.options["search/sampler"] == "random"
    assert "search/sampler=random (a new study: bayes)" in now.kept


def test_a_mistake_is_still_reported() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.epohcs"):
        compose_again(["trainer.epohcs=3"], stored())
