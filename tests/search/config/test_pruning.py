from __future__ import annotations

import copy

import pytest

from search.config import Composition, compose
from search.config.free import compose_free
from search.config.resume import compose_again

FRACTION = "search.pruner.min_fraction"


ASHA = "search/pruner=asha"


def composed(*overrides: str) -> Composition:
    return compose("sweep", ["study=x", "model=tiny", ASHA, *overrides])


@pytest.mark.parametrize(
    ("words", "share"),
    [
        (("strategy=lora",), 0.7),
        (("strategy=qlora",), 0.7),
        (("strategy=ia3",), 0.7),
        (("strategy=prompt_tuning",), 0.7),
        (("strategy=bitfit",), 0.7),
        (("strategy=full",), 0.35),
        (("strategy=feature_extraction",), 0.35),
        (("strategy=from_scratch",), 0.35),
        (("strategy=full", "search/pruner=median"), 0.35),
        (("strategy=lora", "search/pruner=median"), 0.7),
        (("strategy=lora", f"{FRACTION}=0.35"), 0.35),
        (("strategy=full", f"{FRACTION}=0"), 0),
    ],
)
def test_the_first_share_follows_from_the_strategy(words: tuple[str, ...], share: float) -> None:
    assert composed(*words).tree["search"]["pruner"]["min_fraction"] == share


@pytest.mark.parametrize("options", ["full,lora", "lora,full"])
def test_with_several_strategies_the_most_careful_one_counts(options: str) -> None:
    arms = composed(f"strategy=choice({options})").arms
    assert [arm.tree["search"]["pruner"]["min_fraction"] for arm in arms] == [0.7, 0.7]


def test_without_pruning_there_is_no_share() -> None:
    assert "min_fraction" not in composed("search/pruner=none").tree["search"]["pruner"]


def test_forecast_needs_no_share_of_its_own_for_a_strategy() -> None:
    words = (f"strategy={name}" for name in ("lora", "full", "feature_extraction"))
    pruners = [compose("sweep", ["study=x", each]).tree["search"]["pruner"] for each in words]
    assert {pruner["_target_"] for pruner in pruners} == {"search.pruner.forecast.Forecast"}
    assert {pruner["min_fraction"] for pruner in pruners} == {0.3}


def test_a_free_study_has_a_share_too() -> None:
    words = ["study=x", "search.direction=minimize", "x=interval(0,1)", ASHA]
    assert compose_free(words).tree["search"]["pruner"]["min_fraction"] == 0.35


def test_a_stored_study_keeps_its_share_and_its_rungs() -> None:
    words = ["study=x", "model=tiny", "strategy=lora", "trainer.epochs=2", ASHA]
    stored = copy.deepcopy(compose("sweep", words).as_dict())
    stored["arms"][0]["tree"]["search"]["pruner"] |= {"min_fraction": 0.35, "first_rung": 1}
    again = compose_again(words, Composition.from_dict(stored))
    pruner = again.tree["search"]["pruner"]
    assert (pruner["min_fraction"], pruner["first_rung"]) == (0.35, 1)
    assert set(again.kept) == {
        f"{FRACTION}=0.35 (a new study: 0.7)",
        "search.pruner.first_rung=1 (a new study: null)",
    }


def test_a_study_of_today_goes_on_without_a_word() -> None:
    words = ["study=x", "model=tiny", "strategy=lora", "trainer.epochs=2", ASHA]
    again = compose_again(words, compose("sweep", words))
    assert again.kept == ()
    assert again.tree["search"]["pruner"]["min_fraction"] == 0.7
